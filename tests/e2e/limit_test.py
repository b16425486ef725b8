# SPDX-License-Identifier: BSD-3-Clause
"""Limits of ports and uplinks. No machine is too slow for these: what passes may be less than a limit lets, and never is more."""
import time

from harness.traffic import give_address, iperf, mbits, ping, protocol_errors, send_file, tcp_both_ways, wait_for_peer
from harness.vmux import wait_until

SLACK = 1.02


def test_a_generator_is_held_to_the_rate(rig):
    """And a sink: what it is not given is counted."""
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "gen", "--backend", "generator", "--device", "size=1000,to=02:00:00:00:00:77")
    vmux.ctl("uplink", "add", "sink", "--backend", "sink")

    def counted():
        return {uplink["name"]: uplink["counters"] for uplink in vmux.ctl("uplink", "list")}

    def passes(uplink, what, setting, at_most):
        """`at_most` per second of the counter, and a second's worth passes some time."""
        vmux.ctl("uplink", "set", uplink, setting)
        time.sleep(0.1)  # the burst
        start, before = time.monotonic(), counted()[uplink][what]
        wait_until(lambda: counted()[uplink][what] - before > at_most, f"{setting} of {uplink}")
        passed = counted()[uplink][what] - before
        assert passed <= at_most * (time.monotonic() - start) * SLACK + at_most / 50, setting

    passes("gen", "rx_bytes", "limit_in=400M,burst=64K", 50_000_000)
    assert counted()["gen"]["rx_held"] > 0 and counted()["sink"]["drop_limited"] == 0
    passes("sink", "tx_frames", "limit_out=20kpps", 20_000)
    assert counted()["sink"]["drop_limited"] > 0
    passes("sink", "tx_bytes", "limit_out=80M", 10_000_000)
    vmux.ctl("uplink", "set", "gen", "limit_in=")
    vmux.ctl("uplink", "set", "sink", "limit_out=")
    before = counted()["sink"]["drop_limited"]
    wait_until(lambda: counted()["sink"]["tx_frames"] > 0, "frames to flow")
    assert counted()["sink"]["drop_limited"] == before


def test_what_a_guest_sends_beyond_waits_and_is_whole(pair):
    vmux, megabytes, megabits = pair.vmux, 4, 20
    try:
        vmux.ctl("port", "set", "a", f"limit_in={megabits}M,burst=64K")
        before = vmux.stats("a")["counters"]
        start = time.monotonic()
        send_file(pair.a, pair.b, pair.address_b, megabytes=megabytes)
        assert time.monotonic() - start >= (megabytes * 1_048_576 - 2 * 65536) * 8 / (megabits * 1e6) / SLACK
        after = vmux.stats("a")["counters"]
        assert after["rx_held"] > before["rx_held"]
        assert {name: after[name] - before[name] for name in after if name.startswith("drop_") and after[name] != before[name]} == {}
        send_file(pair.b, pair.a, pair.address_a, megabytes=megabytes)  # the other way nothing is limited
    finally:
        vmux.ctl("port", "set", "a", "limit_in=")


def test_what_a_guest_gets_beyond_is_dropped_and_tcp_goes_on(pair):
    vmux = pair.vmux
    try:
        vmux.ctl("port", "set", "b", "limit_out=2M,burst=16K")
        before = vmux.stats("b")["counters"]
        assert mbits(iperf(pair.a, pair.b, pair.address_b, seconds=2, options="-u -b 20M -l 1000")) < 3
        after = vmux.stats("b")["counters"]
        assert after["drop_limited"] > before["drop_limited"] and after["rx_held"] == before["rx_held"]
        vmux.ctl("port", "set", "b", "limit_out=20M")
        send_file(pair.a, pair.b, pair.address_b, megabytes=1)
    finally:
        vmux.ctl("port", "set", "b", "limit_out=")
    wait_for_peer(pair.a, pair.address_b)
    assert ping(pair.a, pair.address_b, count=5).loss == 0


def test_a_storm_is_cut_and_what_has_a_receiver_is_not(pair):
    vmux = pair.vmux
    try:
        vmux.ctl("port", "set", "a", "limit_flood=10pps")
        before = vmux.stats("a")["counters"]
        nobody = pair.address_a.rsplit(".", 1)[0] + ".200"  # whose address no switch knows
        pair.a.check(f"ip neigh replace {nobody} lladdr 02:00:00:00:0b:ad dev eth0; ping -q -i 0.002 -c 1000 -w 30 {nobody} >/dev/null; true")
        after = vmux.stats("a")["counters"]
        assert after["drop_storm"] - before["drop_storm"] > 300  # of 1000, 64 at once and some in 30 s at most
        send_file(pair.a, pair.b, pair.address_b, megabytes=1)
        assert vmux.stats("a")["counters"]["drop_storm"] == after["drop_storm"]
    finally:
        vmux.ctl("port", "set", "a", "limit_flood=")


def test_tenants_of_a_group_do_not_hear_each_other(pair):
    vmux = pair.vmux
    try:
        for name in "ab":
            vmux.ctl("port", "set", name, "isolation=tenants")
        assert ping(pair.a, pair.address_b, count=2, extra="-W 1").received == 0
        assert vmux.stats("b")["counters"]["drop_isolated"] > 0
        vmux.ctl("port", "set", "b", "isolation=")
        wait_for_peer(pair.a, pair.address_b)
    finally:
        for name in "ab":
            vmux.ctl("port", "set", name, "isolation=")
    wait_for_peer(pair.a, pair.address_b)


MODELS = {"iavf": "iavf", "virtio-net": "virtio_net", "e810": "ice"}  # and their drivers


def test_cards_with_several_queues_keep_what_may_not_pass_yet(rig):
    """The part of a burst that waits is taken again, from the queue in which it is, and in order."""
    vmux = rig.vmux()
    sockets = {guest: [vmux.add_port(f"{guest}-{model}", "--limit-in", "10M,burst=4K", model=model) for model in MODELS]
               for guest in ("c", "d")}
    guests = [rig.guest(name, cpus=2, memory=384, sockets=paths) for name, paths in sockets.items()]
    rig.boot(*guests)
    for number, driver in enumerate(MODELS.values()):
        for host, guest in enumerate(guests, 1):
            guest.check(f"modprobe {driver}")
            give_address(guest, f"10.88.{number}.{host}/24", wait_until(lambda: card_of(guest, driver), f"a card of {driver}"))
    for guest in guests:
        guest.check("echo 1 >/proc/sys/net/ipv4/conf/all/arp_filter")  # each address answers on its own card
    for number, model in enumerate(MODELS):
        wait_for_peer(guests[0], f"10.88.{number}.2")
        tcp_both_ways(*guests, f"10.88.{number}.2", streams=4)
        send_file(*guests, f"10.88.{number}.2", megabytes=1)
        for name in ("c", "d"):
            stats = vmux.stats(f"{name}-{model}")
            assert stats["counters"]["rx_held"] > 0, stats
            assert stats["counters"]["drop_malformed"] == 0, stats
    for guest in guests:
        assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)


def card_of(guest, driver):
    return guest.run(f"cd /sys/class/net; for i in *; do case $(readlink $i/device/driver) in */{driver}) echo $i;; esac; done").output.strip()
