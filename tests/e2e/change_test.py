# SPDX-License-Identifier: BSD-3-Clause
"""Ports, switches and uplinks come and go while others carry traffic."""
from harness.traffic import BackgroundPing, give_address, ping, wait_for_listener, wait_for_peer
from harness.vmux import wait_until

ROUNDS = 10


def test_ports_and_uplinks_are_added_and_removed_under_traffic(pair):
    serving = pair.b.spawn("iperf3 -s -1 -p 5202")
    wait_for_listener(pair.b, 5202)
    sending = pair.a.spawn(f"iperf3 -c {pair.address_b} -p 5202 -t 1000")

    def flows():
        """One stream, from the beginning to the end: nothing but itself would set it up again."""
        assert not sending.done(), sending.output()
        before = pair.vmux.stats("a")["counters"]
        wait_until(lambda: all(pair.vmux.stats("a")["counters"][way] - before[way] > 20 for way in ("rx_frames", "tx_frames")),
                   "the stream to flow")

    flows()
    for number in range(ROUNDS):
        pair.vmux.ctl("switch", "add", f"extra{number}")
        pair.vmux.add_port(f"here{number}")
        pair.vmux.add_port(f"there{number}", "--switch", f"extra{number}")
        pair.vmux.ctl("uplink", "add", "sink", "--backend", "null")
        pair.vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", "vmuxchange0")
        assert {"sink", "host"} <= {uplink["name"] for uplink in pair.vmux.ctl("uplink", "list")}
        pair.vmux.ctl("uplink", "remove", "host")
        pair.vmux.ctl("uplink", "remove", "sink")
        pair.vmux.remove_port(f"there{number}")
        pair.vmux.remove_port(f"here{number}")
        pair.vmux.ctl("switch", "remove", f"extra{number}")
        assert not pair.vmux.socket(f"here{number}").exists()
        flows()
    sending.kill("KILL")
    serving.wait()


def test_port_of_a_running_vm_is_removed_and_only_that_vm_notices(pair):
    guest = pair.rig.guest("leaver", sockets=[pair.vmux.add_port("leaver")])
    try:
        guest.start()
        give_address(guest, "10.77.0.50/24")
        wait_for_peer(guest, pair.address_a)
        beside = BackgroundPing(pair.a, pair.address_b, count=60)
        pair.vmux.remove_port("leaver")
        assert beside.lost() == 0
        assert "leaver" not in {port["name"] for port in pair.vmux.ctl("port", "list")}
    finally:
        guest.kill()
        pair.rig.forget(guest)
    assert ping(pair.a, pair.address_b).loss == 0


def test_eight_vms_on_one_switch(rig):
    vmux = rig.vmux()
    guests = [rig.guest(f"vm{n}", memory=192, sockets=[vmux.add_port(f"vm{n}")]) for n in range(8)]
    rig.boot(*guests)
    for number, guest in enumerate(guests):
        give_address(guest, f"10.82.0.{number + 1}/24")
    for number, guest in enumerate(guests):
        neighbour = f"10.82.0.{(number + 1) % 8 + 1}"
        wait_for_peer(guest, neighbour)
        assert ping(guest, neighbour, count=5).loss == 0
    senders = [BackgroundPing(guest, f"10.82.0.{(number + 4) % 8 + 1}", count=30, interval=0.1)
               for number, guest in enumerate(guests)]
    assert [sender.lost() for sender in senders] == [0] * 8
    assert len({entry["mac"] for entry in vmux.ctl("switch", "show", "default")["mac_table"]}) == 8
