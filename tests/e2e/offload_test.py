# SPDX-License-Identifier: BSD-3-Clause
"""Offloads on and off, jumbo frames: what arrives is what was sent."""
import contextlib

import pytest
from conftest import and_exhaustively
from harness.traffic import check_restart, give_address, iperf, mbits, ping, protocol_errors, send_file, wait_for_peer
from harness.vmux import wait_until

FEATURES = {
    "all-on": "rx on tx on sg on tso on gso on gro on",
    "no-tso": "rx on tx on sg on tso off gso off gro on",
    "no-tx-checksum": "rx on tx off tso off",
    "no-rx-checksum": "rx off tx on sg on tso on",
    "all-off": "rx off tx off sg off tso off gso off gro off",
}


@contextlib.contextmanager
def features(guest, wanted):
    check_restart(guest, f"ethtool -K eth0 {wanted}")
    try:
        yield
    finally:
        check_restart(guest, f"ethtool -K eth0 {FEATURES['all-on']}")


def tso_count(guest):
    """Segmentations that the driver asked the NIC for."""
    line = guest.check("ethtool -S eth0 | grep tx_tcp_seg_good")
    return int(line.split(":")[1])


@pytest.mark.parametrize("sender, receiver", and_exhaustively(
    [*((sender, "all-on") for sender in FEATURES), ("all-on", "all-off")],
    [(sender, receiver) for receiver in ("no-rx-checksum", "all-off") for sender in FEATURES if (sender, receiver) != ("all-on", "all-off")]))
def test_file_arrives_whole(pair, sender, receiver):
    with features(pair.a, FEATURES[sender]), features(pair.b, FEATURES[receiver]):
        wait_for_peer(pair.a, pair.address_b)
        send_file(pair.a, pair.b, pair.address_b, megabytes=4)
    for guest in (pair.a, pair.b):
        errors = protocol_errors(guest)
        assert set(errors.values()) == {0}, errors


def test_tso_is_really_used(pair):
    with features(pair.a, FEATURES["all-on"]):
        wait_for_peer(pair.a, pair.address_b)
        before = tso_count(pair.a)
        send_file(pair.a, pair.b, pair.address_b)
        assert tso_count(pair.a) > before


def test_receiver_sees_only_frames_of_the_mtu(pair):
    """What b's stack gets are frames as a wire would carry them, however large a's super-frames were."""
    with features(pair.a, FEATURES["all-on"]), features(pair.b, "gro off"):
        wait_for_peer(pair.a, pair.address_b)
        capture = pair.b.spawn("tcpdump -i eth0 -n -c 400 -p 'greater 1515'")
        wait_until(lambda: "listening" in capture.output(), "tcpdump to listen")
        send_file(pair.a, pair.b, pair.address_b)
        capture.kill("INT")
        assert "0 packets captured" in capture.wait().output


@pytest.mark.parametrize("options", ["", "-R"], ids=["a-to-b", "b-to-a"])
def test_udp_checksums_hold_in_software(pair, options):
    """The sender leaves the checksum to the NIC, the receiver verifies every one itself."""
    with features(pair.a, "tx on rx off"), features(pair.b, "tx on rx off"):
        wait_for_peer(pair.a, pair.address_b)
        iperf(pair.a, pair.b, pair.address_b, seconds=1, options=f"-u -b 5M -l 1200 {options}")
        for guest in (pair.a, pair.b):
            assert protocol_errors(guest).get("Udp.InCsumErrors", 0) == 0


def test_ipv6_tcp_with_offloads(pair):
    pair.a.check("ip -6 addr add fd77::1/64 dev eth0 nodad")
    pair.b.check("ip -6 addr add fd77::2/64 dev eth0 nodad")
    wait_for_peer(pair.a, "fd77::2")
    assert mbits(iperf(pair.a, pair.b, "fd77::2", options="-6")) > 1
    errors = protocol_errors(pair.b)
    assert set(errors.values()) == {0}, errors


@pytest.mark.parametrize("mtu", and_exhaustively([9000, 16110], [2000, 4000]))
def test_jumbo_frames(pair, mtu):
    for guest, address in ((pair.a, pair.address_a), (pair.b, pair.address_b)):
        give_address(guest, f"{address}/24", mtu=mtu)
    wait_for_peer(pair.a, pair.address_b)
    biggest = mtu - 28  # IPv4 and ICMP headers
    assert ping(pair.a, pair.address_b, count=5, size=biggest, extra="-M do").loss == 0
    assert ping(pair.b, pair.address_a, count=5, size=biggest, extra="-M do").loss == 0
    send_file(pair.a, pair.b, pair.address_b, megabytes=4)


def test_frame_longer_than_the_receiver_takes_is_dropped_and_hurts_nobody(pair):
    give_address(pair.a, f"{pair.address_a}/24", mtu=9000)
    wait_for_peer(pair.a, pair.address_b)
    assert ping(pair.a, pair.address_b, count=3, size=8000, extra="-M do -W 1").received == 0
    assert ping(pair.a, pair.address_b, count=5).loss == 0
