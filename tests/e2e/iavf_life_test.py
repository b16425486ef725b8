# SPDX-License-Identifier: BSD-3-Clause
"""The iavf NIC's link, driver, channels and function go and come, again and again. Each round ends with an answered ping."""
import contextlib

import pytest
from harness.iavf import A, B, card, script, set_address, set_channels
from harness.traffic import ping, wait_for_listener, wait_for_peer
from harness.vmux import wait_until


@contextlib.contextmanager
def load(net):
    """UDP both ways in several flows, for as long as this is open; in the end it still flows both ways."""
    server = net.b.spawn("iperf3 -s -p 5300")
    wait_for_listener(net.b, 5300)

    def flows_from(then):
        def look():
            now = net.vmux.stats("a")["counters"]
            return all(now[way] - then[way] > 100 for way in ("rx_frames", "tx_frames")) or sender.done()
        wait_until(look, "load to flow both ways")
        return not sender.done()

    try:
        for _ in range(3):  # iperf3 says hello for a UDP stream once, and may be too late for that
            sender = net.a.spawn(f"iperf3 -c {B} -p 5300 -u -b 1M -l 1200 -P 3 --bidir -t 1000")
            if flows_from(net.vmux.stats("a")["counters"]):
                break
        yield
        assert flows_from(net.vmux.stats("a")["counters"]), sender.output()
    finally:
        sender.kill("KILL")
        server.kill("KILL")


def rounds(guest, count, body, timeout=540):
    """Runs a loop's body `count` times inside the guest."""
    said = script(guest, f"n=$(card iavf); for round in $(seq 1 {count}); do\n{body}\necho done: $round; done", timeout)
    assert said.count("done: ") == count, said


BACK = f"until_true has_link $n && until_true answers {B} || exit 1"
COMES_BACK = f"""until_true card iavf || exit 1
  n=$(card iavf); ip addr add {A}/24 dev $n && until_true ip link set $n up || exit 1
  {BACK}"""


def test_link_goes_down_and_up(iavf):
    # "Busy" is the driver's word for a step before that is not over yet.
    rounds(iavf.a, iavf.rounds(50), f"ip link set $n down && until_true ip link set $n up || exit 1\n{BACK}")
    assert ping(iavf.a, B, count=5).loss == 0


@pytest.mark.reset_behind_the_driver
@pytest.mark.every_kernel
def test_function_level_resets_under_load(iavf):
    """By sysfs; the driver finds out by itself. It is asked for statistics so that it looks now and not in two seconds."""
    count, before = iavf.rounds(20), iavf.vmux.stats("a")["model"]["resets"]
    with load(iavf):
        rounds(iavf.a, count, f"echo 1 >$(readlink -f /sys/class/net/$n/device)/reset || exit 1\n"
                              f"ethtool -S $n >/dev/null\n{BACK}")
    assert iavf.vmux.stats("a")["model"]["resets"] - before >= count
    assert ping(iavf.a, B, count=5).loss == 0


@pytest.mark.every_kernel
def test_ethtool_reset_is_not_for_this_driver(iavf):
    """No driver of this function offers it (ethtool_ops.reset): the kernel refuses, and the function hears nothing of it."""
    before = iavf.vmux.stats("a")["model"]["resets"]
    status, said = iavf.a.run(f"ethtool --reset {card(iavf.a)} all")
    assert status != 0 and "Operation not supported" in said, said
    assert iavf.vmux.stats("a")["model"]["resets"] == before


def test_driver_is_unbound_and_bound_with_a_reset_between(iavf):
    rounds(iavf.a, 3, f"""d=$(basename $(readlink -f /sys/class/net/$n/device))
  echo $d >/sys/bus/pci/drivers/iavf/unbind && echo 1 >/sys/bus/pci/devices/$d/reset || exit 1
  echo $d >/sys/bus/pci/drivers/iavf/bind || exit 1
  {COMES_BACK}""")


@pytest.mark.every_kernel
def test_driver_is_reloaded(iavf):
    rounds(iavf.a, iavf.rounds(20), f"rmmod iavf && modprobe iavf || exit 1\n{COMES_BACK}")
    assert ping(iavf.a, B, count=5).loss == 0


def change_channels(guest, *counts):
    script(guest, "n=$(card iavf); " + " && ".join(f"until_true change_channels $n {count} && {{ {BACK}; }}" for count in counts), 540)


def test_channels_change_under_load(iavf):
    """ethtool -l and -L. On Linux 6.1 fewer channels come without load: when its driver is done with its reset it wakes all queues that
    the stack had (netif_device_attach()), sends by rings that are no more, and panics; the stack hears of the new number later. It is
    the driver's own order of things, whatever the device does, and ended with Linux 6.5 (d2806d960e83)."""
    if iavf.kernel == "6.1":
        for _ in range(iavf.rounds(2)):
            change_channels(iavf.a, 1)
            with load(iavf):
                change_channels(iavf.a, 3, 4)
    else:
        with load(iavf):
            for _ in range(iavf.rounds(4)):
                change_channels(iavf.a, 1, 3, 2, 4)
    set_channels(iavf.a, 4)
    assert ping(iavf.a, B, count=5).loss == 0


def test_another_address_is_kept_through_a_reset(iavf):
    name, mac = card(iavf.a), "02:12:34:56:78:9a"
    before = iavf.a.check(f"cat /sys/class/net/{name}/address").strip()
    try:
        set_address(iavf.a, mac)
        wait_for_peer(iavf.a, B)
        script(iavf.a, f"until_true ethtool -G {name} rx 256; until_true answers {B}")
        assert iavf.a.check(f"cat /sys/class/net/{name}/address").strip() == mac
    finally:
        set_address(iavf.a, before)
        script(iavf.a, f"until_true ethtool -G {name} rx 512")
    wait_for_peer(iavf.a, B)
