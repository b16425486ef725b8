# SPDX-License-Identifier: BSD-3-Clause
"""Servers and the testpmd programs that drive their ports, for the benchmarks that put DPDK's drivers beside each other."""
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("VMUX_BUILD", TOP / "build/release")) / "bin"  # bench/compare names the one to measure
sys.path.insert(0, str(TOP / "lab"))
from children import die_with_parent, end_in_order  # noqa: E402,F401  (benchmarks take these from here)
from hugepages import Hugepages  # noqa: E402,F401
from testpmd import Testpmd, TestpmdError  # noqa: E402,F401

DRIVER_CPU, SERVER_CPU = 0, 1
HUGEPAGES = 320
SETTLE, WINDOW = 0.3, 1.0  # seconds
OURS, REFERENCE = "ours", "reference"
ALIKE = 1.6  # of two distances between the CPUs that count as the same
TRIES = 6  # to take a pair of samples while they are
GENERATOR_MAC, SINK_MAC = "02:00:00:67:65:6e", "02:00:00:73:6e:6b"
MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"]
OPTIONS = ["--nb-cores=1", "--rxd=1024", "--txd=1024", "--burst=32", "--total-num-mbufs=16384", "--portmask=0x{mask:x}"]


class BenchError(Exception):
    """The benchmark cannot go on."""


def say(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def start_vmux(flags, log, sockets):
    """The daemon, once these are there."""
    with open(log, "wb") as output:
        server = subprocess.Popen([str(BIN / "vmux"), *flags], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  preexec_fn=die_with_parent)
    deadline = time.monotonic() + 10
    while not all(path.exists() for path in sockets):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise BenchError(f"vmux did not start:\n{log.read_text()}")
        time.sleep(0.05)
    return server


class Rpc:
    """vMux's RPC socket: a program that were started for each look would take its time from what is measured."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rw")

    def __call__(self, method, **params):
        self.file.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise BenchError(f"vmux: {method}: {answer['error']['message']}")
        return answer["result"]


class Memory:
    """How each EAL gets its memory: hugepages if there are any."""

    def __init__(self, huge):
        self.eal = ["--in-memory", "--single-file-segments", "-m", "160"] if huge else ["--no-huge", "--single-file-segments", "-m", "192"]
        self.text = "2 MB pages" if huge else "4 KiB pages, since no hugepages could be had"


def testpmd(name, main, ports, memory, eal, wrap=lambda command: command):
    eal = ["-l", f"{DRIVER_CPU},{SERVER_CPU}", "--main-lcore", str(main), *memory.eal, *eal]
    return Testpmd(name, eal, [option.format(mask=(1 << ports) - 1) for option in OPTIONS], wrap)


def behind_interposer(sockets):
    """Where the program finds the devices that are served on these, and what its command line begins with."""
    bdfs = [f"0000:40:{number // 8:02x}.{number % 8}" for number in range(len(sockets))]
    return bdfs, [str(BIN / "vmux-vfio-run"), *(f"--device={bdf}={path}" for bdf, path in zip(bdfs, sockets)), "--"]


class Side:
    """One server and one program that drives its ports."""

    def __init__(self, ports):
        self.ports, self.driver = ports, None
        self.processes = []

    def freeze(self, frozen):
        for process in self.processes:
            process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def received(self):
        """Frames that the driver has received, on all its ports."""
        return sum(self.driver.statistics(port)["RX-packets"] for port in range(self.ports))

    def drain(self):
        self.driver.run("set fwd rxonly")
        self.driver.run("start")
        time.sleep(0.1)
        self.driver.run("stop")


class Kept:
    """The daemon of a keeper. A keeper that saw its daemon stand still would kill it: it is stopped first, and goes on last."""

    def __init__(self, keeper, rpc):
        self.keeper, self.pid = keeper, rpc("keeper.status")["active"]

    def send_signal(self, number):
        if number == signal.SIGSTOP:
            self.keeper.send_signal(number)
        os.kill(self.pid, number)
        if number != signal.SIGSTOP:
            time.sleep(0.01)
            self.keeper.send_signal(number)


class Vmux(Side):
    def __init__(self, directory, model, ports, memory, flags, is_kept=False):
        super().__init__(ports)
        self.generates = False
        sockets = [directory / f"vm{number}.sock" for number in range(ports)]
        rpc = directory / "rpc.sock"
        self.log = directory / "vmux.log"
        self.server = start_vmux([*(["--keeper"] if is_kept else []), "--rpc", str(rpc), "--poller-cpus", str(SERVER_CPU), "--doorbell", "poll", *flags], self.log, [rpc])
        self.rpc = Rpc(rpc)
        for number, path in enumerate(sockets):
            self.rpc("port.add", name=f"vm{number}", model=model, socket=str(path), mac=MACS[number])
        bdfs, wrap = behind_interposer(sockets)
        allow = [word for bdf in bdfs for word in ("-a", bdf)]
        self.driver = testpmd("ours", SERVER_CPU, ports, memory, allow, lambda command: [*wrap, *command])
        self.processes = [Kept(self.server, self.rpc) if is_kept else self.server, self.driver.process]

    def begin(self, case, size):
        if case == "to host":
            self.rpc("uplink.add", name="far", backend="sink")
        elif case != "vm to vm":
            self.rpc("uplink.add", name="far", backend="generator", device=f"size={size},to={MACS[0]},from={GENERATOR_MAC}")

    def end(self, case):
        if case == "vm to vm":
            self.drain()
        else:
            self.rpc("uplink.remove", name="far")

    def from_guest(self):
        return self.rpc("uplink.list")[0]["counters"]["tx_frames"]

    def story(self):
        return f"--- vmux\n{self.log.read_text()[-4000:]}\n--- testpmd\n{self.driver.story() if self.driver else ''}"

    def close(self):
        self.freeze(False)
        if self.driver:
            self.driver.stop()
        self.server.terminate()
        self.server.wait(10)


class Vhost(Side):
    def __init__(self, directory, ports, memory):
        super().__init__(ports)
        paths = [directory / f"vhost{number}.sock" for number in range(ports)]
        server = [word for number, path in enumerate(paths) for word in ("--vdev", f"net_vhost{number},iface={path},queues=1")]
        self.server = testpmd("vhost", DRIVER_CPU, ports, memory, ["--no-pci", *server])
        driver = [word for number, path in enumerate(paths)
                  for word in ("--vdev", f"net_virtio_user{number},path={path},queues=1,queue_size=1024,mac={MACS[number]}")]
        try:
            self.driver = testpmd("virtio", SERVER_CPU, ports, memory, ["--no-pci", *driver])
        except BaseException:
            self.server.kill()
            raise
        self.processes = [self.server.process, self.driver.process]

    def begin(self, case, size):
        self.server.run(f"set txpkts {size}")
        self.server.run("set fwd " + {"to host": "rxonly", "to guest": "txonly"}.get(case, "io"))
        self.server.run("start")

    def end(self, case):
        if case in ("both", "vm to vm"):
            self.drain()
        self.server.run("stop")

    def from_guest(self):
        return self.server.statistics(0)["RX-packets"]

    def story(self):
        return f"--- vhost\n{self.server.story()}\n--- virtio\n{self.driver.story()}"

    def close(self):
        self.freeze(False)
        self.driver.stop()
        self.server.stop()


def frames_per_second(side, count):
    """From two looks: the middle of each counts as its time."""
    looks = []
    for pause in (SETTLE, WINDOW):
        time.sleep(pause)
        before = time.monotonic()
        frames = count()
        looks.append((frames, (before + time.monotonic()) / 2))
    (first, start), (last, end) = looks
    return (last - first) / (end - start)


def distance():
    """Nanoseconds that a cache line takes from one of the two CPUs to the other and back."""
    told = subprocess.run([str(BIN / "vmux-bench"), "distance", str(DRIVER_CPU), str(SERVER_CPU)], stdout=subprocess.PIPE, check=True)
    return float(told.stdout.split()[0])


def alike(distances):
    """Two halves of a core, two cores of one cache, and two caches are a factor of two and more apart from each other."""
    return max(distances) <= ALIKE * min(distances)


class Pair:
    """A sample of each side, taken while the CPUs were as far from each other: a virtual machine's host moves them, and a
    frame is lines that change cores. Nothing is sorted out by its result: a pair is taken again when they moved."""

    def __init__(self, takes):
        """`takes`: for each side, in order, what takes its sample. Both sides are frozen before and after."""
        for _ in range(TRIES):
            self.samples, self.distances = {}, [distance()]
            for name, take in takes.items():
                self.samples[name] = take()
                self.distances.append(distance())
                if not alike(self.distances):
                    break
            if len(self.samples) == len(takes) and alike(self.distances):
                break
        for name, take in takes.items():  # they never stood still: what there is has to do
            if name not in self.samples:
                self.samples[name] = take()

    @property
    def stood_still(self):
        return alike(self.distances)

    @property
    def ratio(self):
        return self.samples[OURS] / self.samples[REFERENCE]


def pairs_by_distance(pairs):
    """[(ns, [pair, ...])], those that moved last, as (None, ...)."""
    groups = []
    for pair in sorted(pairs, key=lambda pair: min(pair.distances)):
        if not pair.stood_still:
            continue
        if not groups or not alike([min(groups[-1][1][0].distances), *pair.distances]):
            groups.append((0, []))
        groups[-1][1].append(pair)
    named = [(statistics.median(ns for pair in group for ns in pair.distances), group) for _, group in groups]
    moved = [pair for pair in pairs if not pair.stood_still]
    return named + ([(None, moved)] if moved else [])


def ratios_by_distance(pairs):
    """'1.43 at 92 ns (3), 1.04 at 480 ns (2)': the median of so many pairs."""
    return ", ".join(f"{statistics.median(pair.ratio for pair in group):.2f} " + (f"at {ns:.0f} ns" if ns else "while they moved") +
                     f" ({len(group)})" for ns, group in pairs_by_distance(pairs))


def clock_hertz():
    """Of the time stamp counter, as near as Linux tells; vmux-bench measures it."""
    with open("/proc/cpuinfo") as info:
        return next((float(line.split(":", 1)[1]) * 1e6 for line in info if line.startswith("cpu MHz")), 0.0)


def machine(**more):
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(), **more}
