# SPDX-License-Identifier: BSD-3-Clause
"""Receive interrupts of net_iavf: a DPDK program with four queues sleeps, and the vector of the queue that a frame takes wakes it."""
import signal
import socket
import subprocess
from types import SimpleNamespace

import pytest
from conftest import Rig
from harness.sleeper import Sleeper
from harness.wire import ip_frame, raw_socket

pytestmark = pytest.mark.testpmd

TAP, SOURCE = "vmuxsleep1", "02:00:00:00:00:55"
QUEUES = 4
SO_RCVBUFFORCE = 33  # asm-generic/socket.h


@pytest.fixture(scope="module", params=["poll", "trap"])
def asleep(tmp_path_factory, request):
    """With its doorbells polled, re-arming a vector is a write to memory; with trapping ones, a message."""
    rig = Rig(tmp_path_factory.mktemp("asleep"))
    daemon = rig.vmux("--poller-spin-us", 500)
    daemon.ctl("uplink", "add", "tap", "--backend", "tap", "--device", TAP)
    path = daemon.add_port("a", "--doorbell", request.param, model="iavf")
    with open(f"/proc/sys/net/ipv6/conf/{TAP}/disable_ipv6", "w") as file:
        file.write("1")  # the host's own frames would wake the program as well
    subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
    wire = raw_socket(TAP, 0x0800)
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    wire.settimeout(120)
    with open(rig.directory / "sleeper.log", "wb") as log:
        program = Sleeper([path], queues=QUEUES, log=log)
        yield SimpleNamespace(daemon=daemon, program=program, wire=wire)
        status = program.stop()  # the driver may crash while it closes its port: see harness.pmd.ends_well()
        assert status in (0, -signal.SIGSEGV), (rig.directory / "sleeper.log").read_text()
    wire.close()
    rig.close()


def counted(shown, what):
    return [queue[what] for queue in shown["ports"][0]["queues"]]


def gained(before, after, what):
    return [late - early for early, late in zip(counted(before, what), counted(after, what))]


def frame(asleep, flow):
    return ip_frame(asleep.program.show()["ports"][0]["mac"], SOURCE, b"flow %03d" % flow + bytes(40), ports=(1000 + flow, 80))


def echo(asleep, sent):
    """The next frame that comes back; the card's own way to the host turned its addresses round."""
    while True:
        got, (_, _, kind, _, _) = asleep.wire.recvfrom(2048)
        if kind != socket.PACKET_OUTGOING:
            assert got == sent[6:12] + sent[:6] + sent[12:]
            return


def test_program_sleeps_until_the_vector_of_a_frames_queue_wakes_it(asleep):
    """One frame at a time: it comes in by one queue, whose vector fires, and no other."""
    start = asleep.program.show()
    assert start["ports"][0]["driver"] == "net_iavf"
    used, strays = set(), 0
    for flow in range(400):  # the driver's key is a random one
        if flow >= 24 and len(used) == QUEUES:
            break
        before = asleep.program.show()
        sent = frame(asleep, flow)
        asleep.wire.send(sent)
        echo(asleep, sent)
        after = asleep.program.show()
        frames = gained(before, after, "frames")
        assert sorted(frames) == [0] * (QUEUES - 1) + [1]
        queue = frames.index(1)
        used.add(queue)
        assert gained(before, after, "echoed") == frames
        # The wake for the frame; another for nothing may come, if the frame was found while the vector was being armed, and come
        # so late that it is counted with the next frame's.
        wakes, empty = gained(before, after, "wakes"), gained(before, after, "empty_wakes")
        assert wakes[queue] >= 1 and wakes[queue] - empty[queue] <= 1
        assert all(count == nothing for number, (count, nothing) in enumerate(zip(wakes, empty)) if number != queue)
        strays += sum(wakes) - wakes[queue]
    assert strays <= flow / 2, f"{strays} wakes by vectors of other queues in {flow} frames"
    assert used == set(range(QUEUES))
    assert asleep.daemon.stats("a")["model"]["interrupts"] > 24


def test_what_came_while_it_could_not_look_wakes_it(asleep):
    """No frame is left lying whose interrupt came between two looks."""
    before = asleep.program.show()
    flows = [frame(asleep, flow) for flow in range(100)]
    asleep.program.pause()
    for one in flows:
        asleep.wire.send(one)
    asleep.program.go_on()
    got = set()
    while len(got) < len(flows):
        one, (_, _, kind, _, _) = asleep.wire.recvfrom(2048)
        if kind != socket.PACKET_OUTGOING:
            got.add(one)
    assert got == {one[6:12] + one[:6] + one[12:] for one in flows}
    after = asleep.program.show()
    assert sum(gained(before, after, "frames")) == sum(gained(before, after, "echoed")) == len(flows)
