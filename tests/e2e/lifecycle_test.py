# SPDX-License-Identifier: BSD-3-Clause
"""VMs reboot, reload their driver, crash and come back; the others notice nothing."""
import subprocess

import pytest
from conftest import rounds
from harness.traffic import BackgroundPing, give_address, iperf, mbits, ping, wait_for_peer
from harness.vmux import wait_until

DRIVER_RELOADS = 20  # a fifth of them in `make test`


def test_guest_reboots_and_talks_again(pair):
    pair.b.reboot()
    give_address(pair.b, f"{pair.address_b}/24")
    wait_for_peer(pair.b, pair.address_a)
    assert ping(pair.a, pair.address_b).loss == 0
    assert mbits(iperf(pair.a, pair.b, pair.address_b)) > 1


def test_driver_is_unloaded_and_loaded_many_times(pair, request):
    count = rounds(request.config, DRIVER_RELOADS)
    script = f"""for round in $(seq 1 {count}); do
        rmmod e1000 || exit 1
        test ! -e /sys/class/net/eth0 || exit 2
        modprobe e1000 || exit 3
        ip addr add {pair.address_b}/24 dev eth0 && ip link set eth0 up || exit 4
        for try in $(seq 1 40); do ping -c 1 -i 0.2 -w 5 -q {pair.address_a} >/dev/null && break; test $try = 40 && exit 5; done
        echo round $round
    done"""
    output = pair.b.check(script, timeout=500)
    assert output.count("round") == count
    assert "WARNING" not in pair.b.console()
    assert ping(pair.a, pair.address_b).loss == 0


def test_link_goes_down_and_up_under_traffic(pair):
    sending = pair.a.spawn(f"ping -i 0.02 -c 300 {pair.address_b}")
    for _ in range(5):
        pair.b.check("ip link set eth0 down; ip link set eth0 up")
    sending.wait()
    wait_for_peer(pair.a, pair.address_b)
    assert ping(pair.a, pair.address_b).loss == 0


@pytest.fixture
def host_on_the_switch(pair):
    """The host as a third station, so that VM a has someone to talk to while VM b is dead."""
    pair.vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", "vmuxlife0")
    try:
        subprocess.run("ip addr add 10.77.0.100/24 dev vmuxlife0 && ip link set vmuxlife0 up", shell=True, check=True)
        wait_for_peer(pair.a, "10.77.0.100")
        yield "10.77.0.100"
    finally:
        pair.vmux.ctl("uplink", "remove", "host")


def test_killed_vm_comes_back_on_its_socket_while_the_other_keeps_its_traffic(pair, host_on_the_switch):
    ping(pair.b, pair.address_a, count=2)
    busy = pair.b.spawn(f"iperf3 -c {pair.address_a} -t 60")  # so that b dies in the middle of sending
    beside = BackgroundPing(pair.a, host_on_the_switch, count=240)
    pair.b.kill()
    del busy
    wait_until(lambda: not pair.vmux.is_connected("b"), "vmux to see that b's QEMU is gone")
    pair.b.start()
    give_address(pair.b, f"{pair.address_b}/24")
    wait_for_peer(pair.b, pair.address_a)
    assert ping(pair.a, pair.address_b).loss == 0
    assert beside.lost() == 0


def test_vm_is_killed_and_restarted_again_and_again(pair, request):
    for _ in range(rounds(request.config, 5)):
        pair.b.kill()
        pair.b.start()
        give_address(pair.b, f"{pair.address_b}/24")
        wait_for_peer(pair.b, pair.address_a)
    assert mbits(iperf(pair.b, pair.a, pair.address_a)) > 1


def test_second_vm_on_a_socket_in_use_is_refused_or_waits_and_harms_nobody(pair):
    intruder = pair.rig.guest("intruder", sockets=[pair.vmux.socket("a")])
    try:
        intruder.launch()
        assert ping(pair.a, pair.address_b, count=40, interval=0.05).loss == 0
    finally:
        intruder.kill()
        pair.rig.forget(intruder)
    assert ping(pair.a, pair.address_b).loss == 0
    assert pair.vmux.is_connected("a")
