# SPDX-License-Identifier: BSD-3-Clause
"""The work: iperf3 and sockperf between a client's place and a VM, one phase after the other; and what they report.

The functions named parse_* are pure: text in, numbers out."""
import json
import re
import time
from typing import NamedTuple

from .rundir import Trouble, is_figure

SERVER_LOG = "/tmp/vmux-bench-iperf3.log"
MOST_RTTS = 20000  # kept of a phase; the percentiles are sockperf's own, of all


# The server is not up yet, or is still ending the test before this one.
NOT_READY = re.compile(r"error.*(server is busy|control message|control socket|unable to connect)")


class Kind(NamedTuple):
    title: str
    tool: str
    options: str


KINDS = {
    "idle": Kind("no traffic", "", ""),
    "tcp": Kind("TCP to the VM", "iperf3", ""),
    "tcp-reverse": Kind("TCP from the VM", "iperf3", "-R"),
    "udp": Kind("UDP to the VM", "iperf3", "-u"),
    "udp-reverse": Kind("UDP from the VM", "iperf3", "-u -R"),
    "rtt-tcp": Kind("TCP round trips", "sockperf", "--tcp"),
    "rtt-udp": Kind("UDP round trips", "sockperf", ""),
    "ping": Kind("ping", "ping", ""),
}
DEFAULT_KINDS = ("idle", "tcp", "tcp-reverse", "udp", "udp-reverse", "rtt-tcp", "rtt-udp", "ping")


class Failed(Exception):
    """A phase gave no figures: why."""


def parse_iperf(text):
    """iperf3 -J: {"seconds": [(end, Mbit/s, lost)], "mbits", "lost_percent", "retransmits"}, of what was received."""
    try:
        # Where nothing was counted some versions divide by it and print nan, which is not JSON.
        started = re.sub(r"(:\s*)-?(?:nan|inf)\b", r"\1null", text[text.index("{") :])
        report, _ = json.JSONDecoder(parse_constant=lambda _: None).raw_decode(started)
    except (ValueError, RecursionError):
        raise Failed(f"iperf3 gave no report: {text.strip()[-200:] or 'it said nothing'}") from None
    if "error" in report:
        raise Failed(f"iperf3: {report['error']}")
    start, end = _object(report, "start", "test_start"), _object(report, "end")
    total = end.get("sum_received") or end.get("sum")
    if not isinstance(total, dict):
        raise Failed("iperf3's report has no sum")
    seconds = _received_seconds(report, start)
    result = {"mbits": _figure(total, "bits_per_second") / 1e6, "seconds": seconds}
    if start.get("protocol") == "UDP":
        lost = total.get("lost_percent", _part(end, "sum").get("lost_percent"))
        if not is_figure(lost):
            raise Failed("iperf3 counted no datagram: its report has no share that was lost")
        result["lost_percent"] = lost
        # Before 3.16, the sum "received" of a sender is what was sent.
        if not seconds:
            result["mbits"] = _figure(_object(end, "sum"), "bits_per_second") / 1e6 * (1 - lost / 100)
        else:
            result["mbits"] = sum(row[1] for row in seconds) / len(seconds)
    else:
        repeated = _part(end, "sum_sent").get("retransmits", 0)
        result["retransmits"] = repeated if is_figure(repeated) else 0
    return result


def _part(of, name):
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _object(report, *path):
    for at, name in enumerate(path):
        report = report.get(name)
        if not isinstance(report, dict):
            raise Failed(f"iperf3's report has no {'.'.join(path[: at + 1])}")
    return report


def _figure(of, name):
    if not is_figure(of.get(name)):
        raise Failed(f"iperf3's report has {of.get(name)!r} for {name}")
    return of[name]


def _received_seconds(report, start):
    if start.get("protocol") == "UDP" and not start.get("reverse"):
        text = report.get("server_output_text")
        return parse_iperf_server_text(text if isinstance(text, str) else "")
    rows = []
    intervals = report.get("intervals")
    for interval in intervals if isinstance(intervals, list) else ():
        part = _part(interval, "sum") if isinstance(interval, dict) else {}
        needed = [part.get(name) for name in ("seconds", "end", "bits_per_second")]
        if not part.get("omitted") and all(map(is_figure, needed)) and needed[0] > 0.5:
            lost = part.get("lost_percent", 0.0)
            rows.append((needed[1], needed[2] / 1e6, lost if is_figure(lost) else 0.0))
    return rows


UNITS = {"": 1e-6, "K": 1e-3, "M": 1.0, "G": 1e3}
SERVER_LINE = re.compile(
    r"^\[\s*(\d+|SUM)\]\s+([\d.]+)-([\d.]+)\s+sec\s+[\d.]+ \w+\s+([\d.]+) ([KMG]?)bits/sec\s+[\d.]+ ms\s+(\d+)/(\d+) \("
)


def parse_iperf_server_text(text):
    """The receiver's lines of a UDP test, as --get-server-output brings them: [(end, Mbit/s, lost percent)]. Streams are added up."""
    rows = {}
    for line in text.splitlines():
        found = SERVER_LINE.match(line)
        if not found or line.rstrip().endswith("receiver"):
            continue
        stream, begin, end, rate, unit, lost, total = found.groups()
        if stream == "SUM" or float(end) - float(begin) < 0.5:
            continue
        row = rows.setdefault(float(end), [0.0, 0, 0])
        row[0] += float(rate) * UNITS[unit]
        row[1] += int(lost)
        row[2] += int(total)
    return [(end, rate, 100 * lost / total if total else 0.0) for end, (rate, lost, total) in sorted(rows.items())]


def parse_sockperf(text):
    """sockperf ping-pong --full-rtt: {"count", "mean_us", "percentiles": [(percent, us)]}."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    observations = re.search(r"Total (\d+) observations", text)
    mean = re.search(r"====> avg-(?:latency|rtt)=([\d.]+)", text)
    rows = [(float(percent), float(value)) for percent, value in re.findall(r"percentile ([\d.]+) =\s*([\d.]+)", text)]
    if observations:  # the largest of a few thousand is no 99.999th percentile
        rows = [(percent, value) for percent, value in rows if int(observations.group(1)) * (100 - percent) >= 100]
    if not observations or not mean or not rows:
        said = [line for line in text.splitlines() if "ERROR" in line or "error" in line or "No messages" in line]
        raise Failed(f"sockperf gave no figures: {(said or text.strip().splitlines() or ['it said nothing'])[-1][:200]}")
    for name, percent in (("MAX", 100.0), ("MIN", 0.0)):
        found = re.search(rf"<{name}> observation =\s*([\d.]+)", text)
        if found:
            rows.append((percent, float(found.group(1))))
    return {"count": int(observations.group(1)), "mean_us": float(mean.group(1)), "percentiles": sorted(set(rows))}


def parse_sockperf_log(text):
    """Lines `packet, sent (s), received (s), rtt (us)` of --full-log: when the first was sent (seconds after the program's start,
    which takes two seconds to warm up), and [(seconds since then, us)]."""
    rows = []
    for line in text.splitlines():
        words = line.split(",")
        try:
            rows.append((float(words[1]), float(words[3])))
        except (IndexError, ValueError):
            continue
    first = rows[0][0] if rows else 0.0
    return first, [(sent - first, rtt) for sent, rtt in rows]


def parse_ping(text):
    """ping, of iputils or busybox: {"count", "mean_us", "percentiles", "rtts": [us]}."""
    rtts = sorted(float(value) * 1000 for value in re.findall(r"time=([\d.]+) ms", text))
    if not rtts:
        raise Failed(f"no answer to ping: {(text.strip().splitlines() or ['it said nothing'])[-1][:200]}")
    return {
        "count": len(rtts),
        "mean_us": sum(rtts) / len(rtts),
        "percentiles": percentiles(rtts),
        "rtts": [float(v) * 1000 for v in re.findall(r"time=([\d.]+) ms", text)],
    }


def percentiles(ordered):
    """Of sorted numbers: the same points as sockperf prints, as far as there are observations enough."""
    points = [0, 25, 50, 75, 90, 99, 99.9, 99.99, 100]
    kept = [point for point in points if point in (0, 100) or len(ordered) * (100 - point) / 100 >= 1]
    return [(float(point), ordered[min(len(ordered) - 1, int(len(ordered) * point / 100))]) for point in kept]


class Work:
    """Phases of traffic from `client` to `server` (places, see access.py); `server` is None if the user started the servers."""

    def __init__(self, run, client, server, address, options):
        self.run, self.client, self.server, self.address, self.options = run, client, server, address, options
        self.sockperf = {}  # where a place has it, if not on its PATH
        self.started = []
        self.usable = set()

    # -- what is there -------------------------------------------------------------------------------------------------

    def prepare(self, kinds):
        """Finds the tools and starts the servers; the kinds that can be measured, and a word about each that cannot."""
        tools = {KINDS[kind].tool for kind in kinds}
        usable = self.usable = {tool for tool in sorted(tools) if self._is_there(tool)}
        if "iperf3" in usable and self.server:
            self._serve(f"iperf3 -s -p {self.options.iperf_port} --logfile {SERVER_LOG}")
        if "sockperf" in usable and self.server:
            program = self._program("sockperf", self.server)
            self._serve(f"{program} server -p {self.options.sockperf_port} --tcp")
            self._serve(f"{program} server -p {self.options.sockperf_port + 1}")
        if self.server and usable & {"iperf3", "sockperf"}:
            time.sleep(0.5)
        return [kind for kind in kinds if KINDS[kind].tool in usable]

    def _is_there(self, tool):
        if not tool:
            return True
        for place in filter(None, (self.client, self.server if tool != "ping" else None)):
            if not place.has(self._program(tool, place).split()[0]):
                self.run.missing(
                    f"{tool} is not installed in {place.name}",
                    f"there: apt-get install {'iputils-ping' if tool == 'ping' else tool}",
                )
                return False
        return True

    def _program(self, tool, place):
        return self.sockperf.get(place.name, tool) if tool == "sockperf" else tool

    def _serve(self, line):
        self.started.append(self.server.start(line))

    def close(self):
        for task in self.started:
            task.end()
        if self.started:
            self.server.run(f"rm -f {SERVER_LOG}", 10)

    # -- phases --------------------------------------------------------------------------------------------------------

    def measure(self, kind, number, seconds):
        """One phase; its record, which is also in the run's phases.jsonl."""
        start = self.run.now()
        record = {"phase": kind, "round": number, "start": round(start, 3)}
        try:
            record.update(self._work(kind, seconds, start, f"{kind}-{number}"))
        except (Failed, Trouble) as problem:
            record["failed"] = str(problem)
        except OSError as problem:
            record["failed"] = f"{problem.filename or kind}: {problem.strerror or problem}"
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
            # What a tool says may be of a kind that nobody has seen: the other phases are worth no less.
            record["failed"] = f"the answer makes no sense ({type(problem).__name__}: {problem}); see raw/{kind}-{number}*"
        record.setdefault("end", round(self.run.now(), 3))
        self.run.phase(record)
        return record

    def burn(self, seconds):
        """TCP to the VM with nothing noted."""
        self.client.run(
            f"iperf3 -c {self.address} -p {self.options.iperf_port} -t {seconds} -P {self.options.streams}", seconds + 40
        )

    def _work(self, kind, seconds, start, name):
        tool = KINDS[kind].tool
        if tool == "iperf3":
            return self._iperf(kind, seconds, start, name)
        if tool == "sockperf":
            return self._sockperf(kind, seconds, start, name)
        if tool == "ping":
            return self._ping(kind, seconds, start, name)
        time.sleep(seconds)
        return {}

    def _iperf(self, kind, seconds, start, name):
        options = self.options
        flags = f"{KINDS[kind].options} -P {options.streams}"
        if "udp" in kind:
            flags += f" -b {options.udp_rate}" + ("" if "-R" in flags else " --get-server-output")
        line = f"iperf3 -J -c {self.address} -p {options.iperf_port} -t {seconds} {flags}"
        for patience in (1, 2, 4, 0):
            start = self.run.now()
            answer = self.client.run(line, seconds + 40)
            if self.server and '"error"' in answer.output:  # of a try that is repeated, too: it may have been more than that
                log = self.server.run(f"tail -n 50 {SERVER_LOG}").output
                self._keep(f"{name}-error-{patience}.txt", f"{answer.output}\n--- the server's log ---\n{log}")
            if not patience or not NOT_READY.search(answer.output):
                break
            time.sleep(patience)
        self._keep(name + ".json", answer.output)
        result = {"start": round(start, 3), **parse_iperf(answer.output or answer.errors)}
        for end, mbits, lost in result["seconds"]:
            values = {"mbits": mbits}
            if "udp" in kind:
                values["lost_percent"] = lost
            self.run.sample("throughput", kind, values, start + end)
        result["seconds"] = [row[1] for row in result["seconds"]]
        return {"start": result.pop("start"), "throughput": result}

    def _sockperf(self, kind, seconds, start, name):
        port = self.options.sockperf_port + (kind == "rtt-udp")
        program, log = self._program("sockperf", self.client), "/tmp/vmux-bench-rtt.csv"
        # sockperf counts its warm-up of 0.4 s and its end into the time.
        line = (
            f"rm -f {log}; {program} ping-pong -i {self.address} -p {port} {KINDS[kind].options} -t {seconds + 1} "
            f"-m {self.options.message_size} --full-rtt --full-log {log}"
        )
        answer = self.client.run(line, seconds + 40)
        self._keep(name + ".txt", answer.output + answer.errors)
        result = parse_sockperf(answer.output + answer.errors)
        every = max(1, result["count"] // MOST_RTTS)
        first, rows = parse_sockperf_log(self.client.run(f"awk 'NR % {every} == 0' {log}; rm -f {log}", 60).output)
        self._keep(name + ".csv", "".join(f"{sent:.6f},{rtt}\n" for sent, rtt in rows))
        begin = start + first
        times = {"start": round(begin, 3), "end": round(begin + rows[-1][0], 3)} if rows else {}
        return {**times, "latency": {**result, "seconds": self._per_second(kind, begin, rows)}}

    def _ping(self, kind, seconds, start, name):
        answer = self.client.run(f"ping -c {max(2, int(seconds / 0.05))} -i 0.05 {self.address}", seconds + 40)
        self._keep(name + ".txt", answer.output + answer.errors)
        result = parse_ping(answer.output + answer.errors)
        rows = [(number * 0.05, rtt) for number, rtt in enumerate(result.pop("rtts"))]
        return {"latency": {**result, "seconds": self._per_second(kind, start, rows)}}

    def _per_second(self, kind, start, rows):
        """The median of each second's round trips; a last second that is not whole is left out."""
        buckets = {}
        for sent, rtt in rows:
            buckets.setdefault(int(sent), []).append(rtt)
        if len(buckets) > 1 and rows[-1][0] - max(buckets) < 0.5:
            buckets.pop(max(buckets))
        medians = []
        for second, rtts in sorted(buckets.items()):
            rtts.sort()
            medians.append(rtts[len(rtts) // 2])
            self.run.sample(
                "latency", kind, {"median_us": medians[-1], "p99_us": rtts[int(len(rtts) * 0.99)]}, start + second + 1
            )
        return medians

    def _keep(self, name, text):
        self.run.raw(name).write_text(text, encoding="utf-8")


def choose(text):
    """A list of phases as a user types it."""
    kinds = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise Trouble(f"no phase named {', '.join(unknown) or repr(text)}; there are: {', '.join(KINDS)}")
    return kinds
