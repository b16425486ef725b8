# SPDX-License-Identifier: BSD-3-Clause
"""Two VMs whose queue pairs are spread over two pollers."""
import pytest
from harness.iavf import A, B, card, script
from harness.traffic import iperf, ping, protocol_errors, send_file, tcp_both_ways, wait_for_peer
from harness.vmux import wait_until

pytestmark = pytest.mark.two_pollers


def queues_with_frames(vmux, port, direction):
    model = vmux.stats(port)["model"]
    return [number for number in range(4) if model.get(f"{direction}{number}.frames", 0) > 50]


def test_streams_use_queues_of_both_pollers(iavf):
    """Four and more TCP streams, both ways: queues of both pollers move them, and nothing arrives broken."""
    vmux, a, b = iavf.vmux, iavf.a, iavf.b
    assert (vmux.ctl("port", "show", "a")["pollers"], vmux.ctl("port", "show", "b")["pollers"]) == ([0, 1], [1, 0])

    def both_move_them():
        tcp_both_ways(a, b, B, streams=8)
        lanes = [lane["counters"]["tx_frames"] for port in ("a", "b") for lane in vmux.stats(port)["lanes"]]
        assert len(lanes) == 4
        return min(lanes) > 50 and all({number % 2 for number in queues_with_frames(vmux, port, "rx")} == {0, 1} for port in ("a", "b"))

    wait_until(both_move_them, "queues of both pollers to move frames")
    assert ping(a, B, count=20).loss == 0
    send_file(a, b, B)
    for guest in (a, b):
        assert set(protocol_errors(guest).values()) == {0}


def test_order_within_a_stream_holds(iavf):
    """UDP: iperf3's server counts datagrams that arrive behind a later one."""
    end = iperf(iavf.a, iavf.b, B, options="-u -b 20M -P 4 -l 1000")
    assert end["sum"]["packets"] > 100
    assert all(stream["udp"]["out_of_order"] == 0 for stream in end["streams"])


def test_link_and_driver_go_and_come_under_load(iavf):
    """The other poller's queues are stopped before the driver takes their memory away: nothing is written into it."""
    a, b = iavf.a, iavf.b
    load = a.spawn(f"ping -f -s 1000 {B}")
    script(b, f"""n=$(card iavf)
        for i in 1 2 3; do ip link set $n down && until_true ip link set $n up && until_true answers {A} || exit 1; done
        rmmod iavf && modprobe iavf && until_true card iavf || exit 1
        n=$(card iavf); ip addr add {B}/24 dev $n && until_true ip link set $n up && until_true answers {A} || exit 1""")
    a.check("killall -INT ping")
    load.wait()
    wait_for_peer(b, A)
    assert ping(b, A, count=20).loss == 0
    assert card(b)
