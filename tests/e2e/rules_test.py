# SPDX-License-Identifier: BSD-3-Clause
"""Rules of a switch, shares of an uplink, service tags: each as an operator gives it, with stock guests and the host's own VLAN drivers."""
import time

from capture_test import read, running, vmuxctl
from harness.traffic import iperf, mbits, ping, wait_for_peer
from harness.vmux import wait_until


def hits(vmux, name):
    return next(rule["frames"] for rule in vmux.ctl("rule", "list") if rule["name"] == name)


def test_rules_hold_a_running_guest_and_say_what_they_dropped(pair, tmp_path):
    """One way in, one out; the doctor and the capture name them; without them all is as before."""
    vmux, file = pair.vmux, tmp_path / "rules.pcapng"
    assert ping(pair.a, pair.address_b, count=2).loss == 0
    try:
        vmux.ctl("rule", "add", "no-ping", "--port", "a", "--protocol", "icmp", "--action", "drop")
        with vmuxctl(vmux, "capture", "default", "--dropped", "-w", file) as capture:
            wait_until(lambda: running(vmux), "the capture to run")
            assert ping(pair.a, pair.address_b, count=3, extra="-W 1").received == 0
            capture.send_signal(2)
            assert capture.wait(90) == 0
        assert [row for row in read(file, "frame.interface_name", "frame.comment", only="icmp")] == [["a", "dropped: rule"]] * 3
        assert hits(vmux, "no-ping") == 3 and vmux.stats("a")["counters"]["drop_rule"] == 3
        assert mbits(iperf(pair.a, pair.b, pair.address_b, seconds=1)) > 1  # TCP passes
        vmux.ctl("rule", "set", "no-ping", "port=b", "direction=out")  # the same, seen from the other end
        assert ping(pair.a, pair.address_b, count=2, extra="-W 1").received == 0
        assert hits(vmux, "no-ping") == 5 and vmux.stats("b")["counters"]["drop_rule"] == 2
        vmux.ctl("rule", "add", "but-from-a", "--priority", "200", "--direction", "out", "--src-ip", pair.address_a)
        assert ping(pair.a, pair.address_b, count=2).loss == 0
    finally:
        vmux.ctl("rule", "flush")
    assert vmux.ctl("rule", "list") == []
    assert ping(pair.a, pair.address_b, count=2).loss == 0


def test_a_flow_is_marked_copied_and_led_elsewhere(pair, tmp_path):
    """The class of service that a guest did not ask for, a copy of one flow alone for an uplink, and all of another for it."""
    vmux, file = pair.vmux, tmp_path / "dscp.pcapng"
    vmux.ctl("uplink", "add", "probe", "--backend", "sink")

    def probed():
        return next(uplink["counters"]["tx_frames"] for uplink in vmux.ctl("uplink", "list") if uplink["name"] == "probe")

    try:
        vmux.ctl("rule", "add", "voice", "--protocol", "icmp", "--port", "a", "--set-dscp", "46", "--mirror", "probe")
        with vmuxctl(vmux, "capture", "b", "--direction", "out", "--filter", "icmp", "--count", "3", "-w", file) as capture:
            wait_until(lambda: running(vmux), "the capture to run")
            assert ping(pair.a, pair.address_b, count=3).loss == 0
            assert capture.wait(90) == 0
        assert read(file, "ip.dsfield.dscp", only="icmp") == [["46"]] * 3  # and b's kernel found the header's checksum right
        assert probed() == 3  # pings, and not the answers, nor the ARP in front of them
        vmux.ctl("rule", "set", "voice", "mirror=", "set_dscp=", "redirect=probe")
        before, seen = probed(), hits(vmux, "voice")
        assert ping(pair.a, pair.address_b, count=2, extra="-W 1").received == 0
        assert hits(vmux, "voice") == seen + 2 and probed() >= before + 2  # it is in the network again, and hears broadcasts
    finally:
        vmux.ctl("rule", "flush")
        vmux.ctl("uplink", "remove", "probe")
    wait_for_peer(pair.a, pair.address_b)


def test_a_customers_vlan_reaches_the_provider_behind_a_service_tag(pair):
    """QinQ: a tags by 802.1Q, and b's kernel, which is the provider's, finds that behind 802.1ad."""
    vmux = pair.vmux
    vmux.ctl("port", "set", "a", "qinq=100")
    vmux.ctl("port", "set", "b", "trunk=100", "service_tags=true")
    pair.a.check("modprobe 8021q; ip link add link eth0 name eth0.7 type vlan id 7; ip link set eth0.7 up; ip addr add 10.83.7.1/24 dev eth0.7")
    pair.b.check("modprobe 8021q; ip link add link eth0 name eth0.s type vlan proto 802.1ad id 100; ip link set eth0.s up; "
                 "ip link add link eth0.s name eth0.c type vlan id 7; ip link set eth0.c up; ip addr add 10.83.7.2/24 dev eth0.c")
    try:
        wait_for_peer(pair.a, "10.83.7.2")
        assert ping(pair.a, "10.83.7.2", count=5, size=1400).loss == 0
        assert ping(pair.b, "10.83.7.1", count=5).loss == 0
        stations = vmux.ctl("switch", "show", "default")["mac_table"]
        assert {one["vlan"] for one in stations} == {100}
    finally:
        pair.a.check("ip link del eth0.7")
        pair.b.check("ip link del eth0.c; ip link del eth0.s")
        vmux.ctl("port", "set", "a", "qinq=")
        vmux.ctl("port", "set", "b", "trunk=", "service_tags=")
    wait_for_peer(pair.a, pair.address_b)


def test_senders_share_an_uplink_and_lose_nothing(rig):
    """Generators that always have more: what each gets is its part of the limit."""
    vmux, names = rig.vmux(), ("g1", "g2", "g3")
    vmux.ctl("uplink", "add", "out", "--backend", "sink", "--limit-out", "80M,burst=64K", "--fair-share", "true")
    for name in names:
        vmux.ctl("uplink", "add", name, "--backend", "generator", "--device", f"size=500,to=02:00:00:73:6e:6b,from=02:00:00:00:00:0{name[1]}")

    def counted():
        return {uplink["name"]: uplink["counters"] for uplink in vmux.ctl("uplink", "list")}

    time.sleep(0.5)
    start, before = time.monotonic(), counted()
    time.sleep(2)
    after, seconds = counted(), time.monotonic() - start
    sent = {name: after[name]["rx_bytes"] - before[name]["rx_bytes"] for name in names}
    assert sum(sent.values()) <= 10_000_000 * seconds * 1.02 + 200_000
    assert min(sent.values()) > 0.8 * max(sent.values()), sent  # a machine that is busy elsewhere leaves pauses, after which somebody is first
    assert all(after[name]["rx_held"] > 0 for name in names)
    assert {key: value for one in after.values() for key, value in one.items() if key.startswith("drop_") and value} == {}
