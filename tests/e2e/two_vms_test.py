# SPDX-License-Identifier: BSD-3-Clause
"""Two VMs on one switch: the main job."""
import pytest
from conftest import and_exhaustively
from harness.traffic import give_address, iperf, mbits, ping, protocol_errors, tcp_both_ways, udp_arrives, wait_for_peer


def test_ping_both_ways_loses_nothing(pair):
    assert ping(pair.a, pair.address_b, count=20).loss == 0
    assert ping(pair.b, pair.address_a, count=20).loss == 0


@pytest.mark.parametrize("size", [0, 1, 17, 18, 1472, 1473, 4000, 20000])
def test_ping_of_any_size_is_answered(pair, size):
    assert ping(pair.a, pair.address_b, count=3, size=size).loss == 0


def test_switch_knows_both_macs(pair):
    table = {entry["mac"]: entry["port"] for entry in pair.vmux.ctl("switch", "show", "default")["mac_table"]}
    mac_a = pair.a.check("cat /sys/class/net/eth0/address").strip()
    mac_b = pair.b.check("cat /sys/class/net/eth0/address").strip()
    assert table.get(mac_a) == "a"
    assert table.get(mac_b) == "b"


@pytest.mark.parametrize("options", ["", "-R"], ids=["a-to-b", "b-to-a"])
def test_tcp_flows(pair, options):
    assert mbits(iperf(pair.a, pair.b, pair.address_b, options=options)) > 1


def test_tcp_flows_both_ways_at_once(pair):
    tcp_both_ways(pair.a, pair.b, pair.address_b)


@pytest.mark.parametrize("options", ["", "-R"], ids=["a-to-b", "b-to-a"])
def test_udp_arrives(pair, options):
    udp_arrives(lambda: iperf(pair.a, pair.b, pair.address_b, seconds=2, options=f"-u -b 2M {options}"))


def test_counters_grow_with_traffic(pair):
    before = pair.vmux.stats("a")["counters"]
    assert ping(pair.a, pair.address_b, count=50, interval=0.01).loss == 0
    after = pair.vmux.stats("a")["counters"]
    assert after["rx_frames"] - before["rx_frames"] >= 50
    assert after["tx_frames"] - before["tx_frames"] >= 50


def test_multicast_and_broadcast_arrive(pair):
    assert ping(pair.a, "ff02::1%eth0", count=5, interval=0.2).received >= 5
    broadcast = pair.b.check("sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0")
    assert "= 0" in broadcast
    assert ping(pair.a, "10.77.0.255", count=5, interval=0.2, extra="-b").received >= 5


def test_nothing_was_corrupted(pair):
    iperf(pair.a, pair.b, pair.address_b)
    for guest in (pair.a, pair.b):
        assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)


@pytest.mark.parametrize("kernel", and_exhaustively(["6.12"], ["6.1", "7.2"]))
def test_kernel_with_either_doorbell(pair, kernel):
    """One VM of each kernel, with a polled and a trapping port, both to VM a."""
    poll, trap = f"k{kernel}poll".replace(".", ""), f"k{kernel}trap".replace(".", "")
    sockets = [pair.vmux.add_port(poll, "--doorbell", "poll"), pair.vmux.add_port(trap, "--doorbell", "trap")]
    guest = pair.rig.guest("kernel", kernel=kernel, sockets=sockets)
    try:
        guest.start()
        assert guest.check("uname -r").startswith(kernel)
        for interface, address in (("eth0", "10.77.0.9"), ("eth1", "10.77.0.10")):
            give_address(guest, f"{address}/24", interface)
            wait_for_peer(guest, pair.address_a)
            assert ping(guest, pair.address_a, count=10).loss == 0
            assert mbits(iperf(guest, pair.a, pair.address_a)) > 1
            assert mbits(iperf(guest, pair.a, pair.address_a, options="-R")) > 1
            guest.check(f"ip link set {interface} down; ip addr flush dev {interface}")
    finally:
        pair.rig.forget(guest)
        pair.vmux.remove_port(poll)
        pair.vmux.remove_port(trap)
