# SPDX-License-Identifier: BSD-3-Clause
"""What is read every second on this machine. A source turns readings into samples; what it cannot read it names, and the rest goes on."""
import json
import os
import re
import subprocess
from pathlib import Path

from ..access import plain_language
from . import procfs

TICK = os.sysconf("SC_CLK_TCK")


def read(path):
    return Path(path).read_text(encoding="utf-8", errors="replace")


def live_rates(before, after, seconds):
    """Rates of the counters that ever counted: with the seconds in which nothing happened, without what this machine never does."""
    return {name: rate for name, rate in procfs.rates(before, after, seconds).items() if after[name] > 0}


class HostCpu:
    """/proc/stat: the machine as a whole, and each CPU."""

    def __init__(self, who="host"):
        self.who, self.before = who, None

    def sample(self, run, t, text=None):
        times = procfs.cpu_times(read("/proc/stat") if text is None else text)
        if self.before:
            shares = procfs.cpu_shares(self.before["cpu"], times["cpu"])
            values = {
                name: shares[name] for name in ("busy", "user", "system", "irq", "softirq", "steal", "guest") if name in shares
            }
            for cpu in sorted(name for name in times if name != "cpu" and name in self.before):
                values[cpu] = procfs.cpu_shares(self.before[cpu], times[cpu]).get("busy", 0)
            if shares:
                run.sample("cpu", self.who, values, t)
        self.before = times


class Interrupts:
    """/proc/interrupts per second: all of them, and each line that moved."""

    def __init__(self, who="host"):
        self.who, self.before, self.at = who, None, 0.0

    def sample(self, run, t, text=None):
        counts = procfs.interrupts(read("/proc/interrupts") if text is None else text)
        if self.before is not None:
            lines = live_rates(self.before, counts, t - self.at)
            run.sample("interrupts", self.who, {"all": sum(lines.values()), **lines}, t)
        self.before, self.at = counts, t


class Interfaces:
    """/proc/net/dev per second."""

    def __init__(self, who="host"):
        self.who, self.before, self.at = who, None, 0.0

    def sample(self, run, t, text=None):
        counts = procfs.flatten(procfs.interface_counters(read("/proc/net/dev") if text is None else text))
        if self.before is not None:
            run.sample("interfaces", self.who, procfs.rates(self.before, counts, t - self.at), t)
        self.before, self.at = counts, t


class Threads:
    """CPU of each thread of the named processes, in percent of one core. Threads of one name and process are added up."""

    def __init__(self, processes):
        self.processes, self.before, self.at = dict(processes), {}, 0.0

    def sample(self, run, t):
        now, seconds = {}, t - self.at
        for pid, label in list(self.processes.items()):
            for key, thread in self._threads(pid):
                now[key] = (label, *thread)
        if self.before and seconds > 0:
            for who, values in self._added_up(now, seconds).items():
                run.sample("thread", who, values, t)
        self.before, self.at = now, t

    def _added_up(self, now, seconds):
        totals = {}
        for key, (label, times, on_cpu, switches) in now.items():
            _, old, old_on_cpu, old_switches = self.before.get(key, (label, procfs.ThreadTimes("", 0, 0, 0), 0, 0))
            tick = 100 / TICK / seconds
            values = {
                "cpu": (on_cpu - old_on_cpu) / 1e7 / seconds,
                "user": (times.user - old.user) * tick,
                "system": (times.system - old.system) * tick,
                "guest": (times.guest - old.guest) * tick,
                "switches": (switches - old_switches) / seconds,
            }
            for who in (f"{label}/{times.name}", label):
                total = totals.setdefault(who, dict.fromkeys(values, 0.0))
                for name, value in values.items():
                    total[name] += value
        return totals

    @staticmethod
    def _threads(pid):
        try:
            tids = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return
        for tid in tids:
            base = f"/proc/{pid}/task/{tid}"
            try:
                times = procfs.thread_times(read(f"{base}/stat"))
                # schedstat counts nanoseconds, stat only clock ticks; a kernel without it leaves the ticks.
                try:
                    on_cpu = int(read(f"{base}/schedstat").split()[0])
                except (OSError, IndexError):
                    on_cpu = (times.user + times.system) * 10**9 // TICK
                yield (pid, tid), (times, on_cpu, procfs.context_switches(read(f"{base}/status")))
            except (OSError, ValueError):
                continue  # it ended while being read


class KvmExits:
    """Exits per second of each VM and their causes, where KVM's debugfs counts them (Documentation/virt/kvm, debugfs "kvm/PID-FD")."""

    ROOT = Path("/sys/kernel/debug/kvm")

    def __init__(self, processes):
        self.processes, self.before, self.at = dict(processes), {}, 0.0

    def missing(self):
        if not any(_uses_kvm(pid) for pid in self.processes):
            return (
                "exits: no measured process runs a VM through KVM (under emulation there are none)",
                "measure on a machine with /dev/kvm",
            )
        if not self.ROOT.is_dir():
            return ("exits: KVM's counters are not readable", "mount -t debugfs none /sys/kernel/debug   (as root)")
        return None

    def sample(self, run, t):
        for pid, label in self.processes.items():
            for directory in self.ROOT.glob(f"{pid}-*"):
                counts = {}
                for file in directory.iterdir():
                    try:
                        counts[file.name] = int(read(file))
                    except (OSError, ValueError):
                        continue  # a directory (one per vCPU), or a histogram
                if directory in self.before:
                    values = live_rates(self.before[directory], counts, t - self.at)
                    run.sample("exits", label, {"exits": 0.0, **values}, t)
                self.before[directory] = counts
        self.at = t


def _uses_kvm(pid):
    try:
        return any("kvm-vm" in os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


class VmuxPorts:
    """vMux's own counters per second, of each port: frames, messages that the VMM sent (accesses that left the VM), DMA maps."""

    LEVELS = ("model.dma.pages_pinned",)  # what there is now, not how often

    def __init__(self, vmuxctl, rpc):
        self.command = [str(vmuxctl), "--json", *(["--rpc", str(rpc)] if rpc else []), "port", "stats"]
        self.before, self.at, self.silent = {}, 0.0, False

    def ask(self):
        done = subprocess.run(
            self.command, capture_output=True, text=True, errors="replace", timeout=5, check=False, env=plain_language()
        )
        if done.returncode != 0:
            raise OSError(done.stderr.strip() or done.stdout.strip() or f"vmuxctl ended with status {done.returncode}")
        try:
            return {
                port["name"]: procfs.flatten({key: port.get(key, {}) for key in ("counters", "model", "client")})
                for port in json.loads(done.stdout)
            }
        except (AttributeError, LookupError, TypeError) as problem:
            raise ValueError(f"the answer to port stats makes no sense ({problem})") from None

    def missing(self):
        try:
            self.ask()
            return None
        except (OSError, subprocess.SubprocessError, ValueError) as problem:
            return (
                f"vMux's counters: {problem}",
                "give the daemon's RPC socket with --rpc PATH (or VMUX_RPC), or --no-vmux if there is none",
            )

    def sample(self, run, t):
        try:
            counts = self.ask()
        except (OSError, subprocess.SubprocessError, ValueError):
            return
        for port, values in counts.items():
            if port in self.before:
                levels = {name: values[name] for name in self.LEVELS if name in values}
                rates = live_rates(self.before[port], values, t - self.at)
                run.sample("vmux", port, {"client.requests": 0.0, **rates, **levels}, t)
        self.before, self.at = counts, t


class Tail:
    """New whole lines of a file that something else writes."""

    def __init__(self, path, from_end=False):
        self.path, self.rest = Path(path), b""
        self.offset = self.path.stat().st_size if from_end and self.path.exists() else 0

    def lines(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError:
            return []
        self.offset += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in whole]


class QemuTrace:
    """Events per second in a trace log of QEMU (`-trace 'vtd_*' -D FILE`)."""

    def __init__(self, path, who="qemu"):
        self.tail, self.who, self.at = Tail(path, from_end=True), who, None
        self.seen = set()

    def missing(self):
        if self.tail.path.exists():
            return None
        return (
            f"QEMU's trace: there is no file {self.tail.path}",
            f"start QEMU with -trace 'vtd_inv_desc_*' -trace vtd_iotlb_page_update -D {self.tail.path}",
        )

    def sample(self, run, t):
        counts = count_trace_events(self.tail.lines())
        self.seen |= set(counts)
        if self.at is not None and self.seen:
            run.sample("qemu-trace", self.who, {name: counts.get(name, 0) / (t - self.at) for name in sorted(self.seen)}, t)
        self.at = t


def count_trace_events(lines):
    """QEMU's log back end: `PID@SECONDS:event args` or `event args`; other lines of the log are not events."""
    counts = {}
    for line in lines:
        head = line.split(" ", 1)[0]
        name = head.rsplit(":", 1)[-1]
        if name.startswith(("vtd_", "amdvi_", "vfio_", "virtio_iommu_", "smmuv3_")):
            counts[name] = counts.get(name, 0) + 1
    return counts


class GuestLog:
    """What a VM's own kernel counts, as GUEST_LOOP writes it into a file."""

    def __init__(self, path, who, offset):
        # offset: what the run's clock is ahead of the VM's uptime
        self.tail, self.who, self.block, self.offset = Tail(path), who, [], offset
        self.cpu, self.interrupts, self.interfaces = HostCpu(who), Interrupts(who), Interfaces(who)

    def sample(self, run, _t):
        for line in self.tail.lines():
            if line.startswith("==="):
                self._take(run, "\n".join(self.block) + "\n")
                self.block = []
            else:
                self.block.append(line)

    def _take(self, run, text):
        parts = text.split("---\n")
        if len(parts) != 4:
            return  # the file was opened in the middle of a block
        at = float(parts[0].split()[0]) + self.offset
        self.cpu.sample(run, at, parts[1])
        self.interrupts.sample(run, at, parts[2])
        self.interfaces.sample(run, at, parts[3])


# A program a second inside the VM, because each costs an emulated guest a hundredth of its CPU.
GUEST_LOOP = (
    "echo --- >/tmp/vmux-bench-line; while :; do cat /proc/uptime /tmp/vmux-bench-line /proc/stat /tmp/vmux-bench-line /proc/interrupts "
    "/tmp/vmux-bench-line /proc/net/dev && echo === || exit; sleep 1; done"
)


def find_processes(wanted):
    """PIDs or names, as {pid: label}; a name takes all processes of that name. What was not found comes second."""
    found, absent = {}, []
    for word in wanted:
        pids = [int(word)] if re.fullmatch("[0-9]{1,9}", word) else _pids_named(word)
        pids = [pid for pid in pids if os.path.isdir(f"/proc/{pid}")]
        if not pids:
            absent.append(word)
        for pid in pids:
            found[pid] = _label(pid)
    return _distinct(found), absent


def _pids_named(name):
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = os.path.basename(read(f"/proc/{pid}/cmdline").split("\0", 1)[0])
            if name in (program, read(f"/proc/{pid}/comm").strip()):
                pids.append(int(pid))
        except OSError:
            continue
    return sorted(pids)


def _label(pid):
    """The program's name; of a QEMU the name of its VM too."""
    try:
        words = read(f"/proc/{pid}/cmdline").split("\0")
    except OSError:
        return str(pid)
    # A program may have been started through its loader (`ld.so --library-path ... PROGRAM`): the VMM is then a later word.
    programs = [os.path.basename(word) for word in words]
    program = (
        next((name for name in programs[:8] if name.startswith("qemu-system")), programs[0]) or read(f"/proc/{pid}/comm").strip()
    )
    if program.startswith("qemu-system") and "-name" in words:
        name = words[words.index("-name") + 1].split(",")[0].removeprefix("guest=")
        return f"qemu {name}"
    return program


def _distinct(labels):
    """Two processes of one label become `x` and `x #2`, in the order of their pids: names that two runs have in common."""
    seen, result = {}, {}
    for pid, label in sorted(labels.items()):
        seen[label] = seen.get(label, 0) + 1
        result[pid] = label if seen[label] == 1 else f"{label} #{seen[label]}"
    return result


def parse_perf_stat(line):
    """`perf stat -I 1000 -x,`: (seconds, event, count), or None. Columns: time, count, unit, event, run time, share, ..."""
    words = line.strip().split(",")
    try:
        return float(words[0]), words[3], float(words[1])
    except (IndexError, ValueError):
        return None  # a comment, or <not counted>, <not supported>


class PerfStat:
    """Kernel tracepoints counted on a whole machine, as perf_stat_line() has them written into a file."""

    def __init__(self, path, who, offset):
        # offset: what the run's clock is ahead of that machine's uptime
        self.tail, self.who, self.offset = Tail(path), who, offset
        self.started, self.before, self.rows = None, 0.0, {}

    def sample(self, run, _t):
        for line in self.tail.lines():
            uptime = re.fullmatch(r"([\d.]+) [\d.]+", line.strip())
            row = parse_perf_stat(line)
            if uptime:
                self.started = float(uptime.group(1)) + self.offset
            elif row:
                self.rows.setdefault(row[0], {})[row[1]] = row[2]
        # The last interval may still be being written.
        for at in sorted(self.rows)[:-1]:
            counts, seconds = self.rows.pop(at), at - self.before
            if self.started is not None and seconds > 0.2:
                run.sample("tracepoints", self.who, {name: count / seconds for name, count in counts.items()}, self.started + at)
            self.before = at


def perf_stat_line(events):
    """A shell command that counts until it is ended, everything to its output; first of all, when it began. What it watches ends with it."""
    watch = "cat /proc/uptime; while kill -0 $PPID 2>/dev/null; do sleep 2; done"
    return f"exec perf stat -a -x, -I 1000 -e {','.join(events)} -- sh -c '{watch}' 2>&1"
