# SPDX-License-Identifier: BSD-3-Clause
"""The E810 in stock guests: Linux's ice without a package (safe mode), and with a small one of our own (full mode)."""
import re

import pytest
from harness import e810 as harness
from harness.e810 import A, B, QUEUES, card, frames_of_queues, script, statistics
from harness.traffic import iperf, ping, send_file, tcp_both_ways, wait_for_peer
from harness.vmux import wait_until


@pytest.fixture(scope="module", params=harness.KERNELS, ids="linux-{}".format)
def e810_net(request, tmp_path_factory):
    from conftest import Rig
    made = Rig(tmp_path_factory.mktemp("e810"))
    yield harness.boot_pair(made, request.param)
    made.close()


@pytest.fixture
def safe(e810_net):
    """The pair as it has booted: tests in safe mode come first."""
    assert not e810_net.is_full
    harness.make_ready(e810_net)
    yield e810_net
    harness.assert_content(e810_net)


@pytest.fixture
def full(e810_net):
    if not e810_net.is_full:
        harness.make_full(e810_net)
    harness.make_ready(e810_net)
    yield e810_net
    harness.assert_content(e810_net)


def test_safe_mode(safe):
    """Link, identity, traffic both ways over one queue."""
    name = card(safe.a)
    assert "Entering Safe Mode" in safe.a.check("dmesg")
    text = safe.a.check(f"ethtool {name}")
    assert "Speed: 100000Mb/s" in text and "Link detected: yes" in text, text
    assert re.search(r"driver: ice\n.*firmware-version: 3.20 0x80000001 1.3429.0", safe.a.check(f"ethtool -i {name}"), re.S)
    for size in (0, 18, 1472, 1473, 20000):
        assert ping(safe.a, B, count=3, interval=0.1, size=size).loss == 0, size
    send_file(safe.a, safe.b, B, megabytes=2)
    send_file(safe.b, safe.a, A, megabytes=2)
    moved = safe.vmux.stats("a")["model"]
    assert moved["rx0.frames"] > 1000 and moved["tx0.frames"] > 1000 and moved["rx1.frames"] == moved["tx1.frames"] == 0, moved


def test_full_mode(full):
    """The package is taken; all queues move frames, whole ones."""
    assert "The DDP package was successfully loaded: vMux test package version 1.3.77.0" in full.a.check("dmesg")
    assert re.search(rf"Current.*Combined:\s+{full.queues}\n", full.a.check(f"ethtool -l {card(full.a)}"), re.S)
    before = frames_of_queues(full.a, "rx")
    tcp_both_ways(full.a, full.b, B, streams=4 * QUEUES)
    grown = [now - then for then, now in zip(before, frames_of_queues(full.a, "rx"))]
    assert [count > 5 for count in grown].count(True) >= full.queues // 2 + 1, grown
    features = full.a.check(f"ethtool -k {card(full.a)}")
    for feature in ("rx-checksumming", "tx-checksumming", "tcp-segmentation-offload", "tx-udp-segmentation", "rx-vlan-offload",
                    "tx-vlan-offload", "rx-vlan-filter", "receive-hashing"):
        assert re.search(rf"^\s*{feature}: on", features, re.M), (feature, features)
    send_file(full.a, full.b, B, megabytes=4)
    send_file(full.b, full.a, A, megabytes=4)


def test_jumbo_frames(full):
    for guest in (full.a, full.b):
        script(guest, f"until_true change_mtu {card(guest)} 9702")
    wait_for_peer(full.a, B)
    for size in (9674, 9675, 40000):  # just one frame, and more
        assert ping(full.a, B, count=3, interval=0.1, size=size).loss == 0, size
    send_file(full.b, full.a, A, megabytes=4)


def received_from_streams(net):
    before = frames_of_queues(net.a, "rx")
    iperf(net.a, net.b, B, seconds=1, options="-R -P 16")
    return [after - then for then, after in zip(before, frames_of_queues(net.a, "rx"))]


def test_hashes_spread_flows_over_queues(full):
    """ethtool -x and -X: table and key."""
    name, tool = card(full.a), "ethtool-6.1" if full.kernel == "6.1" else "ethtool"
    said = full.a.check(f"ethtool -x {name}")
    assert f"with {full.queues} RX ring" in said, said
    key = re.search(r"(?:[0-9a-f]{2}:){51}[0-9a-f]{2}", said)[0]
    other = ":".join(reversed(key.split(":")))
    try:
        full.a.check(f"{tool} -X {name} hkey {other}")  # the table becomes the usual one
        full.a.check(f"{tool} -X {name} weight" + " 0" * (full.queues // 2) + " 1" * (full.queues // 2))
        assert other in full.a.check(f"ethtool -x {name}")
        received = received_from_streams(full)[:full.queues]
        half = full.queues // 2
        assert min(received[half:]) > 50 and max(received[:half]) < 10, received
    finally:
        full.a.check(f"{tool} -X {name} default")


def test_rules_send_flows_to_a_queue_or_nowhere(full):
    """ethtool -N and -n."""
    name, last = card(full.a), full.queues - 1
    full.a.check(f"ethtool -N {name} flow-type tcp4 src-port 5201 action {last} loc 1")
    assert f"Direct to queue {last}" in full.a.check(f"ethtool -n {name}")
    received = received_from_streams(full)
    assert received[last] > 50 and max(received[:last]) < 10, received
    full.a.check(f"ethtool -N {name} delete 1")
    assert sum(count > 10 for count in received_from_streams(full)) >= full.queues // 2 + 1

    def is_refused():  # nobody listens there: VM a says so, unless it never hears of it
        return "refused" in full.b.run(f"nc -w 3 {A} 5301 </dev/null").output

    assert is_refused()
    full.a.check(f"ethtool -N {name} flow-type tcp4 dst-port 5301 action -1 loc 2")
    assert not is_refused()
    full.a.check(f"ethtool -N {name} delete 2")
    assert is_refused()
    assert full.vmux.stats("a")["model"]["flows_refused"] == 0


def test_vlans(full):
    """Tags stripped and inserted by the card, and in the frames when that is off; another VLAN is not heard."""
    for guest, address in ((full.a, "10.78.2.1"), (full.b, "10.78.2.2")):
        name = card(guest)
        guest.check(f"ip link add link {name} name vlan5 type vlan id 5 && ip addr add {address}/24 dev vlan5 && ip link set vlan5 up")
    try:
        wait_for_peer(full.a, "10.78.2.2")
        for setting in ("on", "off", "on"):
            full.a.check(f"ethtool -K {card(full.a)} rxvlan {setting} txvlan {setting}")
            assert ping(full.a, "10.78.2.2", count=3, interval=0.1, size=4000).loss == 0, setting
    finally:
        for guest in (full.a, full.b):
            guest.check("ip link del vlan5")


def test_settings_of_rings_interrupts_and_channels(full):
    """ethtool -G, -C and -L: set, read back, and traffic goes on."""
    name = card(full.a)
    full.a.check(f"ethtool -G {name} rx 512 tx 1024")
    assert re.search(r"Current.*RX:\s+512\n.*TX:\s+1024\n", full.a.check(f"ethtool -g {name}"), re.S)
    full.a.check(f"ethtool -C {name} adaptive-rx off adaptive-tx off rx-usecs 100 tx-usecs 200")
    said = full.a.check(f"ethtool -c {name}")
    assert re.search(r"rx-usecs:\s+100$", said, re.M) and re.search(r"tx-usecs:\s+200$", said, re.M), said
    full.a.check(f"ethtool -L {name} combined {full.queues // 2}")
    wait_for_peer(full.a, B)
    received = received_from_streams(full)
    assert min(received[:full.queues // 2]) > 50 and not any(received[full.queues // 2:]), received
    full.a.check(f"ethtool -L {name} combined {full.queues}; ethtool -C {name} adaptive-rx on adaptive-tx on")
    wait_for_peer(full.a, B)


def test_addresses_and_promiscuity(full):
    name = card(full.a)
    assert ping(full.b, f"ff02::1%{card(full.b)}", count=3, interval=0.2).received >= 3
    assert ping(full.a, B, count=3, interval=0.1).loss == 0
    before = full.vmux.stats("a")["model"]["commands"]
    full.a.check(f"ip link set {name} promisc on; ip link set {name} allmulticast on; ip link set {name} promisc off; ip link set {name} allmulticast off")
    full.a.check(f"ip link set {name} address 02:00:00:77:02:01")
    wait_for_peer(full.a, B)
    assert full.vmux.stats("a")["model"]["commands"] > before


def test_statistics(full):
    before = statistics(full.a)
    assert ping(full.a, B, count=40, interval=0.02).loss == 0

    def counted():
        now = statistics(full.a)
        return all(now[key] - before[key] >= 40 for key in ("rx_unicast", "tx_unicast", "rx_unicast.nic", "tx_unicast.nic"))

    wait_until(counted, "statistics of station and port to show the pings", pause=0.5)


def test_self_test(full):
    assert "PASS" in full.a.check(f"ethtool -t {card(full.a)} online")


def test_reset_counters_without_a_driver(full):
    """Two resets by hand: GLGEN_RSTAT counts them, by kind. The driver is none the worse for it."""
    slot = full.a.check("basename $(dirname $(ls -d /sys/bus/pci/drivers/ice/*/net))").strip()
    full.a.check("modprobe -r ice")
    device = f"/sys/bus/pci/devices/{slot}"
    full.a.check(f"echo 1 >{device}/enable")
    bar = int(full.a.check(f"head -n 1 {device}/resource").split()[0], 16)

    def state():
        return int(full.a.check(f"busybox devmem {bar + 0xb8188:#x} 32"), 16)

    before = state()
    for bit, kind, shift in ((1, 1, 4), (2, 2, 6)):
        full.a.check(f"busybox devmem {bar + 0xb8190:#x} 32 {bit}")
        wait_until(lambda: state() & 3 == 0, "the reset to be over")
        assert state() >> 2 & 3 == kind
        assert state() >> shift & 3 == (before >> shift & 3) + 1
    full.a.check(f"echo 0 >{device}/enable")
    harness.make_ready(full)
