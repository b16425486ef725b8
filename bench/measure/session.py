# SPDX-License-Identifier: BSD-3-Clause
"""One run from its first phase to its page: the sampler beside the traffic, progress on the terminal, an end in any case."""
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import summary
from .access import end_process, start_process
from .report import flame, page
from .rundir import Recorded, Trouble, write
from .sampling import profile, sources
from .summary import number
from .traffic import KINDS

# Counted where the kernel has them: IOMMU work, and what KVM does for its VMs.
TRACEPOINTS = (
    "iommu:map",
    "iommu:unmap",
    "iommu:io_page_fault",
    "intel_iommu:qi_submit",
    "intel_iommu:cache_tag_flush_range",
    "intel_iommu:cache_tag_flush_all",
    "intel_iommu:cache_tag_flush_range_np",
    "kvm:kvm_exit",
    "kvm:kvm_mmio",
    "kvm:kvm_msi_set_irq",
    "kvm:kvm_pi_irte_update",
    "kvm:kvm_userspace_exit",
)
EVENTS = Path("/sys/kernel/tracing/available_events")
START_SECONDS = 60  # at most, until counters inside a VM have begun


class Sampler(threading.Thread):
    """Reads every source once a second. A source that fails for good is named and left out; the others go on."""

    def __init__(self, run, things, progress):
        super().__init__(daemon=True)
        self.run_directory, self.things, self.progress, self.ending = run, list(things), progress, threading.Event()

    def run(self):
        tick = 0
        while True:
            self.take()
            self.progress.tick()
            tick += 1
            # At whole seconds of the run, however long the reading took.
            if self.ending.wait(max(0.05, tick - self.run_directory.now())):
                return
            tick = max(tick, int(self.run_directory.now()))

    def take(self):
        for thing in list(self.things):
            try:
                thing.sample(self.run_directory, self.run_directory.now())
            except (OSError, ValueError, LookupError, TypeError, AttributeError, subprocess.SubprocessError) as problem:
                self.things.remove(thing)
                self.run_directory.missing(
                    f"{type(thing).__name__}: stopped at {self.run_directory.now():.0f} s: {problem}",
                    "the samples until then are kept",
                )

    def end(self):
        self.ending.set()
        self.join()
        self.take()


class Progress:
    """What is going on: a line that is drawn again each second on a terminal, a line a phase elsewhere."""

    def __init__(self, quiet=False):
        self.quiet, self.live = quiet, not quiet and sys.stderr.isatty()
        self.total, self.done, self.started, self.now = 0.0, 0.0, time.monotonic(), ("", 0.0, 0.0)

    def say(self, text):
        if not self.quiet:
            print(("\r\033[K" if self.live else "") + text, file=sys.stderr, flush=True)

    def begin(self, title, seconds):
        self.now = (title, time.monotonic(), seconds)
        self.tick()

    def tick(self):
        title, since, seconds = self.now
        if not self.live or not title:
            return
        passed = min(seconds, time.monotonic() - since) if seconds else 0
        share = min(1.0, (self.done + passed) / self.total) if self.total else 0
        left = max(0, self.total - self.done - passed)
        bar = "█" * int(share * 24) + "░" * (24 - int(share * 24))
        clock = f"{passed:3.0f} of {seconds:.0f} s" if seconds else f"{time.monotonic() - since:3.0f} s"
        columns = shutil.get_terminal_size().columns
        print(
            f"\r\033[K{bar} {share * 100:3.0f} %  about {left:.0f} s left   {title}  {clock}"[: columns + 4],
            end="",
            file=sys.stderr,
            flush=True,
        )

    def end(self, line=None):
        self.done += self.now[2]
        self.now = ("", 0.0, 0.0)
        if line:
            self.say(line)
        elif self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPUs, {model}, Linux {platform.release()}"


def host_sources(run, processes, options, vmuxctl):
    """Everything that can be read on this machine; what cannot is noted with what would mend it."""
    things = [sources.HostCpu(), sources.Interrupts(), sources.Interfaces()]
    if processes:
        things.append(sources.Threads(processes))
    wanted = [sources.KvmExits(processes)]
    if options.rpc and not options.no_vmux:
        wanted.append(sources.VmuxPorts(vmuxctl, options.rpc))
    wanted += [sources.QemuTrace(path) for path in options.qemu_trace]
    for thing in wanted:
        problem = thing.missing()
        if problem:
            run.missing(*problem)
        else:
            things.append(thing)
    return things


class Tracepoints:
    """`perf stat` of the whole machine for as long as the run lasts."""

    def __init__(self, run):
        self.run, self.process, self.source = run, None, None

    def start(self):
        if not shutil.which("perf"):
            return self.run.missing("tracepoints of the IOMMU and of KVM: perf is not installed", "apt-get install linux-perf")
        try:
            known = set(EVENTS.read_text(encoding="utf-8").split())
        except OSError:
            return self.run.missing(
                f"tracepoints of the IOMMU and of KVM: {EVENTS} is not readable",
                "run as root; mount -t tracefs none /sys/kernel/tracing",
            )
        events = [event for event in TRACEPOINTS if event in known]
        if not events:
            return self.run.missing(
                "tracepoints: this kernel has none of the IOMMU or of KVM", "a kernel with CONFIG_IOMMU_SUPPORT and CONFIG_KVM"
            )
        path = self.run.raw("perf-stat.csv")
        offset = self.run.now() - float(sources.read("/proc/uptime").split()[0])
        self.source = sources.PerfStat(path, "host", offset)
        with open(path, "wb") as file:
            self.process = start_process(["/bin/sh", "-c", sources.perf_stat_line(events)], stdout=file, stderr=file)
        return None

    def end(self):
        if self.process:
            end_process(self.process, signal.SIGINT)


class GuestLogs:
    """The loops inside the VMs, and their files here."""

    def __init__(self, run):
        self.run, self.tasks, self.sources = run, [], []

    def add(self, place, path=None):
        offset = self._clock(place)
        if offset is None:
            return self.run.missing(
                f"CPU and interrupts of {place.title}: it has no /proc/uptime", "a Linux VM, whose /proc can be read"
            )
        path = path or self.run.raw(f"guest-{place.name.replace(' ', '-')}.log")
        self.tasks.append(place.stream(sources.GUEST_LOOP, path))
        self.sources.append(sources.GuestLog(path, place.title, offset))
        return None

    def add_tracepoints(self, place, path=None):
        """The tracepoints of session.TRACEPOINTS inside the VM: what its own IOMMU does, if it has one."""
        listed = place.run(f"mount -t tracefs none /sys/kernel/tracing 2>/dev/null; cat {EVENTS}", 20).output.split()
        events = [event for event in TRACEPOINTS if event in listed]
        offset = self._clock(place)
        if not events or offset is None or not place.has("perf"):
            return self.run.missing(
                f"tracepoints inside {place.title}",
                "there, as root: apt-get install linux-perf; mount -t tracefs none /sys/kernel/tracing",
            )
        path = path or self.run.raw(f"perf-stat-{place.name.replace(' ', '-')}.csv")
        self.tasks.append(place.stream(sources.perf_stat_line(events), path))
        self.sources.append(sources.PerfStat(path, place.title, offset))
        self._wait_for_words(path)
        return None

    @staticmethod
    def _wait_for_words(path):
        """perf has many events to open, and an emulated VM takes seconds for it: a phase before that would have no counts."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not (path.exists() and path.stat().st_size):
            time.sleep(0.1)

    def _clock(self, place):
        """What the run's clock is ahead of the place's uptime; None if that cannot be told."""
        before = self.run.now()
        answer = place.run("cat /proc/uptime", 20)
        try:
            return (before + self.run.now()) / 2 - float(answer.output.split()[0])
        except (ValueError, IndexError):
            return None

    def end(self):
        for task in self.tasks:
            task.end()


def result_line(record):
    title = KINDS[record["phase"]].title if record["phase"] in KINDS else record["phase"]
    head = f"{title + ', round ' + str(record['round']):<28}"
    if "failed" in record:
        return f"{head}failed: {record['failed']}"
    if "throughput" in record:
        found = record["throughput"]
        more = (
            f", {number(found['lost_percent'])} % lost"
            if "lost_percent" in found
            else f", {found.get('retransmits', 0)} retransmits"
        )
        return f"{head}{number(found['mbits'])} Mbit/s{more}"
    if "latency" in record:
        points = dict((percent, value) for percent, value in record["latency"]["percentiles"])
        return f"{head}{number(points.get(50.0, record['latency']['mean_us']))} us median" + (
            f", {number(points[99.0])} us p99" if 99.0 in points else ""
        )
    return head + "done"


def perform(run, work, things, processes, options, progress):
    """All phases of all rounds. Returns how it ended; a ctrl-C (or SIGTERM) ends the phases, not the run's writing."""
    tracepoints = Tracepoints(run)
    sampler = None
    status = "complete"
    try:
        kinds = work.prepare(options.phases)
        tracepoints.start()
        sampler = Sampler(run, [*things, *([tracepoints.source] if tracepoints.source else [])], progress)
        sampler.start()
        plan = [(kind, number) for number in range(1, options.rounds + 1) for kind in kinds if kind != "idle" or number == 1]
        progress.total = len(plan) * options.seconds + (options.profile_seconds if options.profile else 0)
        records = []
        for kind, number_of in plan:
            progress.begin(f"{KINDS[kind].title}, round {number_of} of {options.rounds}", options.seconds)
            records.append(work.measure(kind, number_of, options.seconds))
            progress.end(result_line(records[-1]))
        if options.profile:
            try:
                take_profile(run, work, processes, options, progress)
            except (OSError, ValueError, Trouble) as problem:
                run.missing(f"a profile: {problem}", "the figures of the phases are kept; --no-profile leaves it out")
        if not records or all("failed" in record for record in records):
            status = "nothing could be measured"
    except KeyboardInterrupt:
        status = "interrupted"
        progress.end("interrupted: writing what was measured ...")
    except Trouble as problem:
        status = "failed"
        progress.end(f"failed: {problem}")
        run.missing(f"the rest of the run: {problem}", "what was measured before is kept")
    finally:
        tracepoints.end()
        if sampler:
            sampler.end()
    return status


def take_profile(run, work, processes, options, progress):
    problem = profile.missing()
    if problem:
        return run.missing(*problem)
    if "iperf3" not in work.usable:
        return run.missing("a profile: it is taken while iperf3 runs, and iperf3 is missing", "see above")
    progress.begin("profile", options.profile_seconds)
    recorder = profile.Recorder(run, processes, options.profile_frequency, options.call_graph)
    recorder.start()
    start = run.now()
    try:
        # Its figures are not counted among the others: being looked at costs.
        work.burn(options.profile_seconds)
    finally:
        run.describe(profile=[round(start, 3), round(run.now(), 3)])
        folded = recorder.stop()
    progress.end(f"{'profile':<28}{sum(folded.values()) if folded else 0} samples")
    return None


def write_results(path):
    """summary.json, summary.txt, flame.svg and report.html, from what lies in a run's directory; the text."""
    run = Recorded(path)
    rows = summary.rows_of(run)
    text = summary.text_of(run, rows)
    write(
        run.path / "summary.json",
        json.dumps({"title": run.title, "status": run.about.get("status"), "rows": rows}, indent=1) + "\n",
    )
    write(run.path / "summary.txt", text)
    folded = profile.read_folded(run.path / "profile.folded")
    if folded:
        write(run.path / "flame.svg", flame.svg(folded, run.title))
    write(run.path / "report.html", page.run_page(run, rows))
    return text
