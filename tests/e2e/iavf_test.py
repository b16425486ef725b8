# SPDX-License-Identifier: BSD-3-Clause
"""The iavf NIC in stock guests of three kernels: the driver's whole life, and what ethtool makes of it.

One boot serves all: VM a has four CPUs and as many queues, VM b is a peer of its own kernel with an e1000 beside its iavf."""
import re
from types import SimpleNamespace

import pytest
from conftest import Rig
from harness.traffic import give_address, iperf, mbits, ping, protocol_errors, send_file, wait_for_peer
from harness.vmux import wait_until

KERNELS = {"6.1": "7.2", "6.12": "6.1", "7.2": "6.12"}  # VM a's and VM b's
A, B, B_E1000 = "10.77.1.1", "10.77.1.2", "10.77.1.3"


@pytest.fixture(scope="module", params=KERNELS, ids="linux-{}".format)
def net(request, tmp_path_factory):
    made = Rig(tmp_path_factory.mktemp("iavf"))
    vmux = made.vmux()
    a = made.guest("a", kernel=request.param, cpus=4, sockets=[vmux.add_port("a", "--queues", "4", model="iavf")])
    b = made.guest("b", kernel=KERNELS[request.param], cpus=2,
                   sockets=[vmux.add_port("b", "--queues", "2", model="iavf"), vmux.add_port("e")])
    made.boot(a, b)
    b.check("echo 1 >/proc/sys/net/ipv4/conf/all/arp_filter")  # each address answers on its own card
    yield SimpleNamespace(rig=made, vmux=vmux, a=a, b=b, kernel=request.param)
    made.close()


@pytest.fixture
def pair(net):
    for guest, address in ((net.a, A), (net.b, B)):
        set_mtu(guest, 1500)
        give_address(guest, f"{address}/24", card(guest))
    wait_for_peer(net.a, B)
    return net


def card(guest, driver="iavf"):
    """The interface of a driver: names go by the order in which drivers are loaded."""
    return guest.check(f"for i in /sys/class/net/*; do test \"$(basename $(readlink $i/device/driver 2>/dev/null))\" = {driver} "
                       "&& basename $i && exit 0; done; exit 1").strip()


def set_mtu(guest, mtu):
    """The driver resets its function for this, and says "busy" when that takes it more than a few seconds."""
    guest.check(f"ip link set {card(guest)} mtu {mtu} || true")
    wait_until(lambda: f"mtu {mtu} " in guest.check(f"ip link show {card(guest)}"), f"mtu {mtu}")


def numbers(text):
    return {key.strip(): int(value) for key, value in re.findall(r"^\s*([^:\n]+):\s*(\d+)\s*$", text, re.M)}


def kernel_is_content(guest):
    said = guest.check("dmesg")
    bad = [line for line in said.splitlines() if re.search(r"WARNING|BUG:|Call Trace|iavf.*(fail|error|invalid|timeout|Unable)", line, re.I)]
    assert not bad, "\n".join(bad)


def faults(net):
    return {name: net.vmux.stats(name)["model"]["guest_fault"] for name in ("a", "b")}


@pytest.mark.every_kernel
def test_link_and_identity(pair):
    text = pair.a.check(f"ethtool {card(pair.a)}")
    assert "Speed: 100000Mb/s" in text and "Link detected: yes" in text, text
    assert "driver: iavf" in pair.a.check(f"ethtool -i {card(pair.a)}")


@pytest.mark.every_kernel
def test_ping_of_any_size(pair):
    for size in (0, 18, 1472, 1473, 20000):
        assert ping(pair.a, B, count=5, size=size).loss == 0, size


@pytest.mark.every_kernel
def test_files_and_streams_arrive_whole(pair):
    send_file(pair.a, pair.b, B, megabytes=4)
    send_file(pair.b, pair.a, A, megabytes=4)
    assert mbits(iperf(pair.a, pair.b, B, seconds=2, options="-P 4")) > 10
    assert mbits(iperf(pair.a, pair.b, B, seconds=2, options="-P 4 -R")) > 10
    # How much of it is lost is a matter of who got the CPU: that most arrives at this rate is not.
    assert iperf(pair.a, pair.b, B, seconds=2, options="-u -b 1M")["sum"]["lost_percent"] < 50
    for guest in (pair.a, pair.b):
        assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)
    assert faults(pair) == {"a": 0, "b": 0}


def test_talks_to_an_e1000(pair):
    give_address(pair.b, f"{B_E1000}/24", card(pair.b, "e1000"))
    wait_for_peer(pair.a, B_E1000)
    assert ping(pair.a, B_E1000, count=5, size=4000).loss == 0
    pair.b.check(f"ip link set {card(pair.b, 'e1000')} down")


def test_offloads_on_and_off_carry_the_same_bytes(pair):
    for setting in ("tx off rx off sg off tso off gro off", "tx on sg on tso off rx on", "tso on gro on"):
        pair.a.check(f"ethtool -K {card(pair.a)} {setting}")
        send_file(pair.a, pair.b, B, megabytes=2)
        send_file(pair.b, pair.a, A, megabytes=2)
    assert set(protocol_errors(pair.b).values()) == {0}


def test_flows_spread_over_queues(pair):
    def received(guest):
        text = guest.check(f"ethtool -S {card(guest)}")
        return {key: value for key, value in numbers(text).items() if re.fullmatch(r"rx-[0-3]\.packets", key)}

    before = received(pair.a)
    iperf(pair.a, pair.b, B, seconds=2, options="-R -P 16")
    grown = [key for key, value in received(pair.a).items() if value - before[key] > 10]
    assert len(grown) >= 3, (before, received(pair.a))


def test_statistics_of_the_function(pair):
    before = numbers(pair.a.check(f"ethtool -S {card(pair.a)}"))
    assert ping(pair.a, B, count=40, interval=0.02).loss == 0
    # The driver asks for them every two seconds.
    wait_until(lambda: numbers(pair.a.check(f"ethtool -S {card(pair.a)}"))["tx_unicast"] - before["tx_unicast"] >= 40,
               "statistics to arrive", timeout=20, pause=0.5)
    after = numbers(pair.a.check(f"ethtool -S {card(pair.a)}"))
    assert after["rx_unicast"] - before["rx_unicast"] >= 40
    assert after["tx_errors"] == after["tx_discards"] == 0


def test_channels_rings_and_moderation(pair):
    name = card(pair.a)
    for channels in (1, 4):
        pair.a.check(f"ethtool -L {name} combined {channels}", timeout=60)
        wait_until(lambda: pair.a.check(f"ethtool -l {name}").rstrip().endswith(f"\t{channels}"), f"{channels} channels")
        wait_for_peer(pair.a, B)
    for rx, tx in ((64, 64), (4096, 4096), (512, 512)):
        pair.a.check(f"ethtool -G {name} rx {rx} tx {tx}", timeout=60)
        wait_for_peer(pair.a, B)
        assert ping(pair.a, B, count=5, size=9000).loss == 0
    for setting in ("adaptive-rx off adaptive-tx off rx-usecs 0 tx-usecs 0", "rx-usecs 500 tx-usecs 500", "adaptive-rx on adaptive-tx on"):
        pair.a.check(f"ethtool -C {name} {setting}")
        assert ping(pair.a, B, count=5).loss == 0
    text = pair.a.check(f"ethtool -x {name}")
    assert "with 4 RX ring" in text, text


def test_vlans(pair):
    for vid in (10, 20, 30, 40):
        for guest, host in ((pair.a, 1), (pair.b, 2)):
            guest.check(f"ip link add link {card(guest)} name v{vid} type vlan id {vid} && ip link set v{vid} up && "
                        f"ip addr add 10.78.{vid}.{host}/24 dev v{vid}")
    try:
        for setting in ("rxvlan on txvlan on", "rxvlan off txvlan off", "rxvlan on txvlan on"):
            pair.a.check(f"ethtool -K {card(pair.a)} {setting}")
            for vid in (10, 20, 30, 40):
                wait_for_peer(pair.a, f"10.78.{vid}.2")
                assert ping(pair.a, f"10.78.{vid}.2", count=3, size=3000).loss == 0
        pair.b.check("ip link del v40")
        assert pair.a.run("ping -c 2 -W 1 10.78.40.2").status != 0
    finally:
        for guest in (pair.a, pair.b):
            guest.run("for v in v10 v20 v30 v40; do ip link del $v; done")


def test_jumbo_frames(pair):
    for guest in (pair.a, pair.b):
        set_mtu(guest, 9000)
    wait_for_peer(pair.a, B)
    assert ping(pair.a, B, count=5, size=8972, extra="-M do").loss == 0
    send_file(pair.a, pair.b, B, megabytes=4)


def test_promiscuous_and_multicast(pair):
    assert ping(pair.a, f"ff02::1%{card(pair.a)}", count=3, interval=0.2).received >= 3
    pair.b.check(f"ip link set {card(pair.b)} promisc on; ip link set {card(pair.b)} promisc off")
    assert ping(pair.a, B, count=3).loss == 0


def test_another_address_is_kept_through_a_reset(pair):
    name, mac = card(pair.a), "02:12:34:56:78:9a"
    before = pair.a.check(f"cat /sys/class/net/{name}/address").strip()
    pair.a.check(f"ip link set {name} address {mac}")
    wait_for_peer(pair.a, B)
    pair.a.check(f"ethtool -G {name} rx 256")
    wait_for_peer(pair.a, B)
    assert pair.a.check(f"cat /sys/class/net/{name}/address").strip() == mac
    pair.a.check(f"ip link set {name} address {before}")
    wait_for_peer(pair.a, B)


def test_link_down_and_up_fifty_times(pair):
    name = card(pair.a)
    pair.a.check(f"for i in $(seq 1 50); do ip link set {name} down && ip link set {name} up || exit 1; done", timeout=180)
    wait_for_peer(pair.a, B, timeout=40)
    assert ping(pair.a, B, count=5).loss == 0


@pytest.mark.every_kernel
def test_function_level_resets_under_load(pair):
    name = card(pair.a)
    load = pair.a.spawn(f"ping -i 0.02 -s 1400 {B}")
    for _ in range(3):
        before = pair.vmux.stats("a")["model"]["resets"]
        pair.a.check(f"echo 1 >$(readlink -f /sys/class/net/{name}/device)/reset", timeout=60)
        wait_until(lambda: pair.vmux.stats("a")["model"]["resets"] > before, "the function to be reset")
        wait_for_peer(pair.a, B, timeout=40)
    load.kill()
    assert faults(pair)["a"] == 0


@pytest.mark.every_kernel
def test_driver_reloads(pair):
    for _ in range(5):
        pair.a.check("rmmod iavf && modprobe iavf")
        wait_until(lambda: pair.a.run("ls /sys/class/net | grep -q '^eth'").status == 0, "the interface")
        give_address(pair.a, f"{A}/24", card(pair.a))
        wait_for_peer(pair.a, B)
    assert ping(pair.a, B, count=5).loss == 0


@pytest.mark.every_kernel
def test_nothing_was_refused_or_complained_about(pair):
    for name in ("a", "b"):
        model = pair.vmux.stats(name)["model"]
        assert (model["refused"], model["admin_faults"], model["lost_replies"], model["guest_fault"]) == (0, 0, 0, 0), model
    for guest in (pair.a, pair.b):
        kernel_is_content(guest)
