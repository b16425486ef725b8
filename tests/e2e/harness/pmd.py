# SPDX-License-Identifier: BSD-3-Clause
"""One testpmd with two ports of a model: frames of a file leave through the first, cross the switch, and what the second
receives is written into files, one for each of its queues, while testpmd tells what the driver says of each frame."""
import re
import signal
from types import SimpleNamespace

from testpmd import TestpmdError

from .interposer import BDF, Testpmd
from .wire import mac_bytes, read_pcap, write_pcap

QUEUES = 4
RECORD = re.compile(
    r"src=(?P<src>[0-9A-F:]+) - dst=(?P<dst>[0-9A-F:]+) - pool=\S+ - type=0x(?P<type>[0-9a-f]+) - length=(?P<length>\d+)"
    r" - nb_segs=(?P<segments>\d+)(?P<rest>[^\n]*) - Receive queue=0x(?P<queue>[0-9a-f]+)\n +ol_flags: (?P<flags>[^\n]*)")


def _record(found):
    """What the driver said of one frame."""
    rest = found["rest"]

    def number(pattern):
        match = re.search(pattern, rest)
        return int(match.group(1), 16) if match else None

    ptype = re.search(r"hw ptype: ([A-Z0-9_ ]*[A-Z0-9])", rest)
    return SimpleNamespace(
        source=found["src"].lower(), destination=found["dst"].lower(), length=int(found["length"]),
        segments=int(found["segments"]), queue=int(found["queue"], 16), hash=number(r"RSS hash=0x([0-9a-f]+)"),
        mark=number(r"FDIR matched ID=0x([0-9a-f]+)"), vlan=number(r" VLAN tci=0x([0-9a-f]+)"),
        ptype=ptype.group(1).split() if ptype else [],
        flags={flag.replace("RTE_MBUF_F_RX_", "") for flag in found["flags"].split()})


def ends_well(program):
    """True when testpmd ends as a user would end it. The driver may crash on its very last steps: whoever handles its admin
    interrupt can still be at the end of that (enabling it once more) when closing the port frees what is used there, and
    dev_close does not wait for it (DPDK 22.11's net_iavf; the same lines in later versions)."""
    status = program.stop()
    return status == 0 or status == -signal.SIGSEGV and "Shutting down port" in program.text


class Loop(Testpmd):
    """`near` sends, `far` receives: testpmd's numbers of the two ports of the daemon."""

    __test__ = False

    def __init__(self, daemon, directory, near="near", far="far", eal=(), options=(), devargs=""):
        self.inputs = [directory / f"in{number}.pcap" for number in range(QUEUES)]
        self.outputs = [directory / f"out{number}.pcap" for number in range(QUEUES)]
        for path in self.inputs:
            write_pcap(path, [])
        super().__init__("loop", [daemon.socket(near), daemon.socket(far)],
                         eal=("--no-huge", "-m", "256", "--log-level=pmd.net.iavf.driver:debug", *eal),
                         options=[f"--rxq={QUEUES}", f"--txq={QUEUES}", "--total-num-mbufs=8192", *options],
                         vdevs=["net_pcap0," + ",".join(f"rx_pcap={path}" for path in self.inputs),
                                "net_pcap1," + ",".join(f"tx_pcap={path}" for path in self.outputs)], devargs=devargs)
        self.greeting = self.text
        self.near, self.far = self.port(BDF), self.port(BDF.replace(".0", ".1"))
        self.source, self.sink = self.port("net_pcap0"), self.port("net_pcap1")
        macs = {port["name"]: port["mac"] for port in daemon.ctl("port", "list")}
        self.near_mac, self.far_mac = macs[near], macs[far]
        self.run(f"set portlist {self.source},{self.near},{self.far},{self.sink}")
        self.run("set verbose 1")

    def rewind(self, port):
        self.run(f"port stop {port}")
        self.run(f"port start {port}")

    def restart(self, port, *commands):
        """Commands that want a port to be stopped."""
        self.end()
        self.run(f"port stop {port}")
        said = "".join(self.run(command) for command in commands)
        self.run(f"port start {port}")
        return said

    def launch(self, frames, mode="io", streams=None):
        """Each list of `frames` goes through a queue of its own, or all through the first."""
        lists = frames if frames and isinstance(frames[0], list) else [frames]
        for path, part in zip(self.inputs, lists + [[]] * QUEUES):
            write_pcap(path, part)
        self.end()
        self.run("set portlist " + ",".join(map(str, streams or (self.source, self.near, self.far, self.sink))))
        self.run(f"set fwd {mode}")
        self.rewind(self.source)
        self.rewind(self.sink)
        self.begin("start")
        return sum(map(len, lists))

    def send(self, frames, arriving=None, mode="io"):
        """What the far driver said of the `arriving` frames (all, if not given), and those frames: [(record, bytes)], in the
        order of receipt within each queue."""
        mark = len(self.text)
        count = self.launch(frames, mode)
        count = count if arriving is None else arriving
        self.await_records(mark, count)
        self.end()
        self.run(f"port stop {self.sink}")  # closes the files
        records = self.records(mark)
        assert len(records) == count, f"{len(records)} frames arrived, not {count}"
        by_queue = [read_pcap(path) for path in self.outputs]
        self.run(f"port start {self.sink}")
        return [(record, by_queue[record.queue].pop(0)) for record in records]

    def await_records(self, mark, count, timeout=240):
        """Until the far port is said to have received so many; end() then waits for what is said of each."""
        said = re.compile(rf"port {self.far}/queue \d+: received (\d+) packets")
        if not self._read_until(lambda: sum(map(int, said.findall(self.text, mark))) >= count, timeout):
            raise TestpmdError(f"{len(self.records(mark))} frames arrived, not {count}, within {timeout} s:\n{self.said()}")

    def records(self, mark):
        """Of the frames that the far port received since `mark`."""
        said = self.text[mark:].replace(" - RTE_MBUF", " RTE_MBUF")
        parts = re.split(r"port (\d+)/queue \d+: received \d+ packets\n", said)
        return [_record(found) for port, text in zip(parts[1::2], parts[2::2]) if int(port) == self.far for found in RECORD.finditer(text)]


class Taps(Testpmd):
    """A program whose ports each send the frames of a file and write into a file what they receive."""

    __test__ = False

    def __init__(self, daemon, directory, names, eal=("--no-huge", "-m", "192"), options=()):
        self.files = [(directory / f"tap{number}-in.pcap", directory / f"tap{number}-out.pcap") for number in range(len(names))]
        for source, _ in self.files:
            write_pcap(source, [])
        super().__init__("taps", [daemon.socket(name) for name in names], eal=eal, options=["--total-num-mbufs=8192", *options],
                         vdevs=[f"net_pcap{number},rx_pcap={source},tx_pcap={sink}" for number, (source, sink) in enumerate(self.files)])
        self.nics = [self.port(f"{BDF[:-1]}{number}") for number in range(len(names))]
        self.ends = [self.port(f"net_pcap{number}") for number in range(len(names))]
        self.run("set promisc all off")  # what the switch floods would wait in the rings until someone forwards
        self.run("set portlist " + ",".join(f"{nic},{end}" for nic, end in zip(self.nics, self.ends)))

    def catch(self, number, count, send):
        """The `count` frames that port `number` receives when send() is called."""
        self.run("stop")
        self.run(f"port stop {self.ends[number]}")
        self.run(f"port start {self.ends[number]}")
        before = self.statistics(self.ends[number])["TX-packets"]
        self.run("start")
        send()
        self.wait_for(lambda seen: seen["TX-packets"] - before >= count, f"{count} frames", port=self.ends[number])
        self.run("stop")
        self.run(f"port stop {self.ends[number]}")
        frames = read_pcap(self.files[number][1])
        self.run(f"port start {self.ends[number]}")
        assert len(frames) == count, f"{len(frames)} frames, not {count}: lengths {[len(frame) for frame in frames]}"
        return frames

    def send(self, number, frames):
        """Once more: the files begin anew."""
        write_pcap(self.files[number][0], frames)
        self.run("stop")
        self.run(f"port stop {self.ends[number]}")
        self.run(f"port start {self.ends[number]}")
        self.run("start")
