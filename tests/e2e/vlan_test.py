# SPDX-License-Identifier: BSD-3-Clause
"""VLANs: tagged by the guests, and imposed by the switch."""
import pytest
from harness.traffic import give_address, iperf, mbits, ping, wait_for_peer


@pytest.mark.parametrize("hardware", ["on", "off"])
def test_guests_tag_frames_themselves(pair, hardware):
    """The NIC inserts and strips the tag, or the stack does it all."""
    for guest, number in ((pair.a, 1), (pair.b, 2)):
        guest.check(f"ethtool -K eth0 rxvlan {hardware} txvlan {hardware}; modprobe 8021q; "
                    f"ip link add link eth0 name eth0.10 type vlan id 10 && ip link set eth0.10 up && "
                    f"ip addr add 10.79.0.{number}/24 dev eth0.10")
    try:
        wait_for_peer(pair.a, "10.79.0.2")
        assert ping(pair.a, "10.79.0.2", count=10).loss == 0
        assert ping(pair.b, "10.79.0.1", count=5, size=1472, extra="-M do").loss == 0
        assert mbits(iperf(pair.a, pair.b, "10.79.0.2")) > 1
        assert ping(pair.a, pair.address_b, count=5).loss == 0  # untagged beside it
    finally:
        for guest in (pair.a, pair.b):
            guest.check("ip link del eth0.10; ethtool -K eth0 rxvlan on txvlan on")


def test_vlan_filter_keeps_foreign_vlans_out(pair):
    """b has VLAN 11 only; frames of VLAN 12 do not get past its NIC."""
    pair.a.check("modprobe 8021q; for id in 11 12; do ip link add link eth0 name eth0.$id type vlan id $id; "
                 "ip link set eth0.$id up; ip addr add 10.80.$id.1/24 dev eth0.$id; done")
    pair.b.check("modprobe 8021q; ip link add link eth0 name eth0.11 type vlan id 11; ip link set eth0.11 up; "
                 "ip addr add 10.80.11.2/24 dev eth0.11")
    try:
        wait_for_peer(pair.a, "10.80.11.2")
        assert ping(pair.a, "10.80.11.2", count=5).loss == 0
        assert ping(pair.a, "10.80.12.2", count=2, extra="-W 1").received == 0
    finally:
        pair.a.check("ip link del eth0.11; ip link del eth0.12")
        pair.b.check("ip link del eth0.11")


def test_switch_separates_access_ports_and_carries_all_on_a_trunk(rig):
    """One VM, four NICs, each in a network namespace of its own: only the switch can carry a frame between them."""
    vmux = rig.vmux()
    ports = {"blue": ("--vlan", "10"), "blue2": ("--vlan", "10"), "red": ("--vlan", "20"), "trunk": ("--trunk", "10,20")}
    guest = rig.guest("vlans", sockets=[vmux.add_port(name, *options) for name, options in ports.items()])
    rig.boot(guest)
    guest.check("modprobe 8021q; n=0; for name in blue blue2 red trunk; do n=$((n+1)); ip netns add $name; "
                "ip link set eth$((n-1)) netns $name; ip -n $name link set eth$((n-1)) up; "
                "ip -n $name addr add 10.81.0.$n/24 dev eth$((n-1)); done; "
                "for id in 10 20; do ip -n trunk link add link eth3 name eth3.$id type vlan id $id; "
                "ip -n trunk link set eth3.$id up; ip -n trunk addr add 10.81.0.1$id/32 dev eth3.$id; done; "
                "ip -n trunk addr flush dev eth3; "
                "ip -n trunk route add 10.81.0.1 dev eth3.10; ip -n trunk route add 10.81.0.3 dev eth3.20")

    def reaches(source, address, tries):
        return guest.run(f"for i in $(seq {tries}); do ip netns exec {source} ping -c 1 -i 0.2 -w 2 -q {address} && exit 0; done; "
                         f"exit 1", timeout=tries * 5 + 60).status == 0

    # Many tries: the first frames may go while a link is still coming up. Few, when all links have been seen to be up.
    assert reaches("blue", "10.81.0.2", 60)
    assert reaches("trunk", "10.81.0.1", 60)
    assert reaches("trunk", "10.81.0.3", 60)
    assert not reaches("blue", "10.81.0.3", 3)
    assert not reaches("red", "10.81.0.1", 3)
    table = vmux.ctl("switch", "show", "default")["mac_table"]
    assert {10, 20} <= {entry["vlan"] for entry in table}
