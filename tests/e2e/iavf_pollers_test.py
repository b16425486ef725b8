# SPDX-License-Identifier: BSD-3-Clause
"""Two VMs whose four queue pairs each are spread over two pollers."""
from types import SimpleNamespace

import pytest
from conftest import Rig
from harness.traffic import give_address, iperf, mbits, ping, protocol_errors, send_file, wait_for_peer

A, B = "10.77.1.1", "10.77.1.2"


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("spread"))
    vmux = rig.vmux("--pollers", "2")
    sockets = [vmux.add_port(name, "--queues", "4", "--poller", home, model="iavf") for name, home in (("a", 0), ("b", 1))]
    a, b = (rig.guest(name, sockets=[path], cpus=4) for name, path in zip("ab", sockets))
    rig.boot(a, b)
    for guest, address in ((a, A), (b, B)):
        give_address(guest, f"{address}/24")
    wait_for_peer(a, B)
    yield SimpleNamespace(vmux=vmux, a=a, b=b)
    rig.close()


def queues_with_frames(vmux, port, direction):
    model = vmux.stats(port)["model"]
    return [number for number in range(4) if model[f"{direction}{number}.frames"] > 50]


def test_streams_use_queues_of_both_pollers(spread):
    """Four and more TCP streams, both ways: queues of both pollers move them, and nothing arrives broken."""
    vmux, a, b = spread.vmux, spread.a, spread.b
    assert vmux.ctl("port", "show", "b")["pollers"] == [1, 0]
    assert mbits(iperf(a, b, B, options="-P 4")) > 10
    assert mbits(iperf(a, b, B, options="-P 8 -R")) > 10
    for port in ("a", "b"):
        assert {number % 2 for number in queues_with_frames(vmux, port, "rx")} == {0, 1}
        stats = vmux.stats(port)
        assert len(stats["lanes"]) == 2 and all(lane["counters"]["tx_frames"] > 50 for lane in stats["lanes"])
    assert ping(a, B, count=20).loss == 0
    send_file(a, b, B)
    for guest in (a, b):
        assert set(protocol_errors(guest).values()) == {0}


def test_order_within_a_stream_holds(spread):
    """UDP: iperf3's server counts datagrams that arrive behind a later one."""
    end = iperf(spread.a, spread.b, B, options="-u -b 20M -P 4 -l 1000")
    assert end["sum"]["packets"] > 1000
    assert all(stream["udp"]["out_of_order"] == 0 for stream in end["streams"])


def test_link_and_driver_go_and_come_under_load(spread):
    """The other poller's queues are stopped before the driver takes their memory away: nothing is written into it."""
    a, b = spread.a, spread.b
    load = a.spawn(f"ping -f -s 1000 {B}")
    for _ in range(3):
        b.check("ip link set eth0 down && ip link set eth0 up")
        wait_for_peer(b, A)
    b.check("rmmod iavf && modprobe iavf && "  # the interface follows when the function has answered
            "for i in $(seq 1 100); do test -e /sys/class/net/eth0 && exit 0; sleep 0.1; done; exit 1", timeout=60)
    give_address(b, f"{B}/24")
    wait_for_peer(b, A)
    a.check("killall -INT ping")
    load.wait()
    wait_for_peer(b, A)
    assert ping(b, A, count=20).loss == 0
    assert not [line for line in b.check("dmesg").splitlines() if "BUG" in line or "Call Trace" in line]
    assert spread.vmux.stats("b")["model"]["guest_fault"] == 0
