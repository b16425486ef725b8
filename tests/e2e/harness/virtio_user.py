# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio-user as a vhost-user front end: testpmd between two ports of a switch."""
import testpmd

from .wire import read_pcap, write_pcap

MACS = {"near": "02:00:00:00:77:11", "far": "02:00:00:00:77:12"}


class VirtioUserLoop(testpmd.Testpmd):
    """Frames of a file leave through `near`, cross the switch, and what `far` receives is written into a file."""

    __test__ = False

    def __init__(self, sockets, directory, how):
        self.input, self.output = directory / "in.pcap", directory / "out.pcap"
        write_pcap(self.input, [])
        vdevs = [f"net_pcap0,rx_pcap={self.input}", f"net_pcap1,tx_pcap={self.output}"]
        vdevs += [f"net_virtio_user{number},path={path},mac={mac},queues=1,{how}" for number, (path, mac) in enumerate(zip(sockets, MACS.values()))]
        super().__init__("loop", ["-l", "0,1", "--no-huge", "-m", "256", "--no-pci", *(word for vdev in vdevs for word in ("--vdev", vdev))],
                         ["--total-num-mbufs=8192"])
        try:
            self.near, self.far, self.source, self.sink = map(self.port, ("net_virtio_user0", "net_virtio_user1", "net_pcap0", "net_pcap1"))
            self.greeting = self.text
        except BaseException:
            self.kill()  # or whoever connects next waits for it to go
            raise

    def send(self, frames):
        """What arrives of them, and of what comes twice."""
        write_pcap(self.input, frames)
        self.run(f"set portlist {self.source},{self.near},{self.far},{self.sink}")
        for port in (self.source, self.sink):
            self.run(f"port stop {port}")
            self.run(f"port start {port}")
        self.run("clear port stats all")
        self.begin("start")
        self.wait_for(lambda said: said.get("TX-packets", 0) >= len(frames), f"{len(frames)} frames to arrive", port=self.sink)
        counts = []

        def is_still(said):
            counts.append(said.get("TX-packets", 0))
            return counts[-2:-1] == counts[-1:]
        self.wait_for(is_still, "no more frames to arrive", port=self.sink)
        self.end()
        self.run(f"port stop {self.sink}")  # closes the file
        return read_pcap(self.output)
