# SPDX-License-Identifier: BSD-3-Clause
"""Receive interrupts with stock poll-mode drivers: a program behind the interposer sleeps until a frame wakes it."""
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest
from conftest import Rig
from harness.sleeper import Sleeper
from harness.vmux import wait_until
from harness.wire import mac_bytes, raw_socket

pytestmark = pytest.mark.testpmd

TAP = "vmuxsleep0"
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
ETHERTYPE = 0x88b5  # for experiments (IEEE 802): nothing else speaks it


class Wire:
    """The host's end of a tap uplink, as a raw socket."""

    def __init__(self, name):
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
            file.write("1")  # the host's own frames would wake the program as well
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        self.socket = raw_socket(name, ETHERTYPE)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        self.socket.settimeout(120)
        self.mac = self.socket.getsockname()[4]

    def send(self, destination, payload):
        self.socket.send(mac_bytes(destination) + self.mac + ETHERTYPE.to_bytes(2, "big") + payload.ljust(100, b"."))

    def receive(self):
        """Source address and payload of the next frame that comes back."""
        while True:
            frame, (_, _, kind, _, _) = self.socket.recvfrom(2048)
            if kind != socket.PACKET_OUTGOING:
                return frame[6:12], frame[14:].rstrip(b".")

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def asleep(tmp_path_factory):
    """A program with two cards: net_e1000_em, which has one queue and takes INTx."""
    rig = Rig(tmp_path_factory.mktemp("asleep"))
    daemon = rig.vmux("--poller-spin-us", 500)
    daemon.ctl("uplink", "add", "tap", "--backend", "tap", "--device", TAP)
    sockets = [daemon.add_port(name) for name in "ab"]
    log = open(rig.directory / "sleeper.log", "wb")
    wire = Wire(TAP)
    program = Sleeper(sockets, log=log)
    yield SimpleNamespace(daemon=daemon, program=program, wire=wire)
    status = program.stop()
    wire.close()
    log.close()
    assert status == 0, (rig.directory / "sleeper.log").read_text()
    rig.close()


def gained(before, after, port, what):
    return after["ports"][port]["queues"][0][what] - before["ports"][port]["queues"][0][what]


def test_program_sleeps_while_nothing_comes(asleep):
    before = asleep.program.show()
    time.sleep(1.5)
    after = asleep.program.show()
    assert [port["driver"] for port in after["ports"]] == ["net_e1000_em"] * 2
    assert [gained(before, after, port, "wakes") for port in (0, 1)] == [0, 0]
    assert after["cpu_us"] - before["cpu_us"] < 50_000  # one that polls takes all that it gets


def test_each_frame_wakes_the_program_by_its_own_card(asleep):
    before = asleep.program.show()
    for number in range(20):
        payload = b"frame %d" % number
        mac = before["ports"][number % 2]["mac"]
        asleep.wire.send(mac, payload)
        assert asleep.wire.receive() == (mac_bytes(mac), payload)
        asleep.program.show()  # now it sleeps again
    after = asleep.program.show()
    for port in (0, 1):
        assert gained(before, after, port, "frames") == gained(before, after, port, "echoed") == 10
        # One that wakes it for nothing may come late, and the next frame be found while that one is served: its own wake is empty then.
        assert 10 <= gained(before, after, port, "wakes") <= 20
        assert 0 < gained(before, after, port, "wakes") - gained(before, after, port, "empty_wakes") <= 10


def test_frames_that_came_together_wake_it_once(asleep):
    before = asleep.program.show()
    forwarded = asleep.daemon.stats("a")["counters"]["tx_frames"]
    asleep.program.pause()
    for number in range(300):  # its ring has 512
        asleep.wire.send(before["ports"][0]["mac"], b"frame %d" % number)
    wait_until(lambda: asleep.daemon.stats("a")["counters"]["tx_frames"] == forwarded + 300, "300 frames at the card")
    asleep.program.go_on()
    assert [asleep.wire.receive()[1] for _ in range(300)] == [b"frame %d" % number for number in range(300)]
    after = asleep.program.show()
    assert gained(before, after, 0, "frames") == gained(before, after, 0, "echoed") == 300
    assert 1 <= gained(before, after, 0, "wakes") - gained(before, after, 0, "empty_wakes") <= 2
    assert gained(before, after, 0, "wakes") <= 10
    assert gained(before, after, 1, "wakes") == 0
