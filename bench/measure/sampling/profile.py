# SPDX-License-Identifier: BSD-3-Clause
"""A profile: `perf record` while traffic runs, `perf script` read into stacks, stacks folded (`a;b;c COUNT`)."""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from ..access import end_process, plain_language, start_process
from ..rundir import write

# comm pid/tid [cpu] time: period event:   - a name may hold spaces and slashes ("CPU 0/KVM"), so the numbers are found from the right
HEAD = re.compile(
    r"^(?P<comm>\S.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s+(?:\[\d+\]\s+)?[\d.]+:\s+(?:(?P<period>\d+)\s+)?(?P<event>\S+?):\s*$"
)
FRAME = re.compile(r"^\s+[0-9a-f]+\s+(?P<symbol>.*?)(?:\s+\((?P<dso>[^()]*(?:\([^()]*\))?[^()]*)\))?$")
FIELDS = "comm,pid,tid,time,period,event,ip,sym,dso"


def missing():
    """Why no profile can be taken, and what mends it; None if it can."""
    if not shutil.which("perf"):
        return ("a profile: perf is not installed", "apt-get install linux-perf")
    try:
        level = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    except (OSError, ValueError):
        level = 0
    if os.geteuid() != 0 and level > 1:
        return (
            f"a profile: the kernel allows none to this user (perf_event_paranoid is {level})",
            "run as root, or: sysctl kernel.perf_event_paranoid=1",
        )
    return None


class Recorder:
    """`perf record` of some processes (of the whole machine if none are named), from start() to stop()."""

    def __init__(self, run, processes, frequency, call_graph):
        self.run, self.processes, self.data, self.process = run, processes, run.raw("perf.data"), None
        what = ["-p", ",".join(map(str, processes))] if processes else ["-a"]
        self.command = ["perf", "record", "-q", "-F", str(frequency), "--call-graph", call_graph, "-o", str(self.data), *what]

    def start(self):
        with open(self.run.raw("perf-record.log"), "wb") as log:
            self.process = start_process(self.command, stdout=log, stderr=log)

    def stop(self):
        """Ends the recording; the folded stacks, or None with the reason noted."""
        end_process(self.process, signal.SIGINT, 20)
        folded = self._fold()
        if not folded:
            said = self.run.raw("perf-record.log").read_text(errors="replace").strip().splitlines()
            self.run.missing(
                f"a profile: perf recorded nothing ({said[-1] if said else 'it gave no reason'})",
                f"try by hand: {' '.join(self.command)} -- sleep 1",
            )
            return None
        text = "".join(f"{stack} {count}\n" for stack, count in sorted(folded.items()))
        write(self.run.path / "profile.folded", text)
        return folded

    def _fold(self):
        if not self.data.exists() or self.data.stat().st_size == 0:
            return {}
        script = subprocess.Popen(
            ["perf", "script", "-i", str(self.data), "-F", FIELDS, "--no-inline"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=plain_language(),
        )
        with script:
            return fold(stacks(script.stdout), self.processes)


def stacks(lines):
    """`perf script`: yields (pid, thread, [outermost ... innermost], weight). Weight is 1 for each sample: the clock ticks evenly."""
    head, frames = None, []
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if head:
                yield int(head["pid"]), head["comm"].strip(), frames[::-1], 1
            head, frames = None, []
        elif head is None:
            head, frames = HEAD.match(line), []
        else:
            frames.append(_frame(line))
    if head:
        yield int(head["pid"]), head["comm"].strip(), frames[::-1], 1


def _frame(line):
    found = FRAME.match(line)
    if not found:
        return "[unknown]"
    symbol, dso = found["symbol"].strip(), found["dso"] or ""
    if symbol in ("", "[unknown]"):
        name = dso.rsplit("/", 1)[-1]
        # Translated guest code has no file; without this every stack of an emulated VM would end in "unknown".
        if re.fullmatch(r"perf-\d+\.map", name):
            return "[code that was generated at run time]"  # perf names anonymous executable memory so; in a QEMU it is translated guest code
        return f"[{name}]" if name and name != "[unknown]" else "[no symbol]"
    return symbol + ("_[k]" if dso.startswith("[") and "kernel" in dso or dso.endswith(".ko") else "")


def fold(samples, processes=()):
    """{"process;thread;outer;...;inner": count}. Frames without a name that follow each other are one."""
    folded = {}
    labels = dict(processes)
    for pid, thread, frames, weight in samples:
        path = [labels.get(pid, "other processes"), thread]
        for frame in frames:
            if not (frame.startswith("[no symbol") and path[-1] == frame):
                path.append(frame)
        key = ";".join(part.replace(";", ":") for part in path)
        folded[key] = folded.get(key, 0) + weight
    return folded


def read_folded(path):
    folded = {}
    if Path(path).exists():
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            stack, _, count = line.rpartition(" ")
            if stack and count.isascii() and count.isdigit():
                folded[stack] = folded.get(stack, 0) + int(count)
    return folded
