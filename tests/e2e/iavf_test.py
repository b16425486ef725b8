# SPDX-License-Identifier: BSD-3-Clause
"""The iavf NIC in stock guests of three kernels: traffic, and what ethtool makes of the NIC."""
import base64
import re

import pytest
from harness.extremes import marker, record
from harness.iavf import A, B, B_E1000, card, frames_of_queues, script, set_channels, statistics
from harness.stations import records
from harness.traffic import give_address, iperf, ping, protocol_errors, put_program, send_file, tcp_both_ways, udp_arrives, wait_for_peer
from harness.vmux import wait_until
from harness.wire import ip_frame, mac_bytes


@pytest.mark.every_kernel
def test_link_and_identity(iavf):
    text = iavf.a.check(f"ethtool {card(iavf.a)}")
    assert "Speed: 100000Mb/s" in text and "Link detected: yes" in text, text
    assert "driver: iavf" in iavf.a.check(f"ethtool -i {card(iavf.a)}")


@pytest.mark.every_kernel
def test_ping_of_any_size(iavf):
    for size in (0, 18, 1472, 1473, 20000):
        assert ping(iavf.a, B, count=5, size=size).loss == 0, size


@pytest.mark.parametrize("channels", [1, pytest.param(4, marks=pytest.mark.every_kernel)])
def test_streams(iavf, channels):
    """TCP and UDP, both ways at once, over one queue and over four: all of VM a's queues move them, and no other."""
    set_channels(iavf.a, channels)
    try:
        before, then = frames_of_queues(iavf.a, "rx"), {name: iavf.vmux.stats(name) for name in "ab"}
        tcp_both_ways(iavf.a, iavf.b, B, streams=4 * channels)
        for name, doorbell in (("a", "poll"), ("b", iavf.doorbell)):
            now = iavf.vmux.stats(name)
            moved = sum(now["counters"][way] - then[name]["counters"][way] for way in ("rx_frames", "tx_frames"))
            # Tails and the arming of vectors are memory: what leaves the VM is the driver's admin queue and its watchdog. Or all traps.
            leaves = now["client"]["requests"] - then[name]["client"]["requests"]
            assert (leaves > 100 + moved / 100) == (doorbell == "trap"), (name, leaves, moved)
        udp_arrives(lambda: iperf(iavf.a, iavf.b, B, seconds=1, options=f"--bidir -u -b 1M -P {channels}"), ("sum", "sum_bidir_reverse"))
        grown = [after - then > 20 for then, after in zip(before, frames_of_queues(iavf.a, "rx"))]
        assert grown[:channels].count(True) >= (channels + 1) // 2 + channels // 4 and not any(grown[channels:]), grown
        assert set(protocol_errors(iavf.a).values()) == {0}, protocol_errors(iavf.a)
    finally:
        set_channels(iavf.a, 4)


@pytest.mark.every_kernel
def test_files_arrive_whole(iavf):
    send_file(iavf.a, iavf.b, B, megabytes=4)
    send_file(iavf.b, iavf.a, A, megabytes=4)
    for guest in (iavf.a, iavf.b):
        assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)


def test_talks_to_an_e1000(iavf):
    name = card(iavf.b, "e1000")
    give_address(iavf.b, f"{B_E1000}/24", name)
    try:
        wait_for_peer(iavf.a, B_E1000)
        assert ping(iavf.a, B_E1000, count=5, size=4000).loss == 0
        send_file(iavf.a, iavf.b, B_E1000, megabytes=2)
    finally:
        iavf.b.check(f"ip link set {name} down")


def received_from_streams(net):
    """How many frames of 16 TCP streams from VM b each of VM a's queues gets."""
    before = frames_of_queues(net.a, "rx")
    iperf(net.a, net.b, B, seconds=1, options="-R -P 16")
    return [after - then for then, after in zip(before, frames_of_queues(net.a, "rx"))]


def test_hashes_spread_flows_over_queues(iavf):
    """ethtool -x, -X and rx-flow-hash: the driver's own counters and the model's agree on where the flows went."""
    name, tool = card(iavf.a), "ethtool-6.1" if iavf.kernel == "6.1" else "ethtool"
    said = iavf.a.check(f"ethtool -x {name}")
    assert "with 4 RX ring" in said, said
    key = re.search(r"(?:[0-9a-f]{2}:){51}[0-9a-f]{2}", said)[0]
    other_key = ":".join(reversed(key.split(":")))

    def are_used(queues):  # the driver passes on what ethtool tells it when it comes to it
        def look():
            then = [iavf.vmux.stats("a")["model"][f"rx{queue}.frames"] for queue in range(4)]
            received = received_from_streams(iavf)
            now = [iavf.vmux.stats("a")["model"][f"rx{queue}.frames"] for queue in range(4)]
            assert all(b - a >= count for a, b, count in zip(then, now, received)), (then, now, received)
            return [count > 10 for count in received] == [queue in queues for queue in range(4)]
        wait_until(look, f"streams to come by queues {queues} and no other")

    are_used([0, 1, 2, 3])
    try:
        iavf.a.check(f"{tool} -X {name} equal 2")
        are_used([0, 1])
        # Of each stream the addresses alone: one queue for all. (The driver is "busy" while it asks for what was said last.)
        script(iavf.a, f"until_true ethtool -N {name} rx-flow-hash tcp4 sd")
        wait_until(lambda: sorted(count > 10 for count in received_from_streams(iavf)) == [False] * 3 + [True], "streams to take one queue")
        script(iavf.a, f"until_true ethtool -N {name} rx-flow-hash tcp4 sdfn")
        are_used([0, 1])
        iavf.a.check(f"{tool} -X {name} weight 0 0 1 1")
        iavf.a.check(f"{tool} -X {name} hkey {other_key}")
        assert other_key in iavf.a.check(f"ethtool -x {name}")
        are_used([2, 3])
    finally:
        iavf.a.run(f"ethtool -N {name} rx-flow-hash tcp4 sdfn")  # or it is so already
        iavf.a.check(f"{tool} -X {name} equal 4")
        iavf.a.check(f"{tool} -X {name} hkey {key}")


def test_rules_send_flows_to_a_queue_or_nowhere(iavf):
    """ethtool -N and -n. The driver asks for a rule, and for its end, only after ethtool has returned."""
    name = card(iavf.a)

    def lead_to_queue_3():
        received = received_from_streams(iavf)
        return received[3] > 50 and max(received[:3]) < 10

    iavf.a.check(f"ethtool -N {name} flow-type tcp4 src-port 5201 action 3 loc 1")
    assert "Direct to queue 3" in iavf.a.check(f"ethtool -n {name}")
    wait_until(lead_to_queue_3, "all streams to come by queue 3")
    iavf.a.check(f"ethtool -N {name} delete 1")
    wait_until(lambda: sum(count > 10 for count in received_from_streams(iavf)) >= 3, "streams to spread again")

    def is_refused():  # nobody listens there: VM a says so, unless it never hears of it
        return "refused" in iavf.b.run(f"nc -w 5 {A} 5301 </dev/null").output

    wait_until(is_refused, "the flow to arrive")
    iavf.a.check(f"ethtool -N {name} flow-type tcp4 dst-port 5301 action -1 loc 2")
    wait_until(lambda: not is_refused(), "the flow to be dropped")
    iavf.a.check(f"ethtool -N {name} delete 2")
    wait_until(is_refused, "the flow to arrive again")
    assert "Total 0 rules" in iavf.a.check(f"ethtool -n {name}")


def test_traffic_classes(iavf):
    """mqprio splits the queues into two classes, flower leads a port's flows to the second; without a filter all belong to the first."""
    name = card(iavf.a)

    def received():
        before = frames_of_queues(iavf.a, "rx")
        iperf(iavf.b, iavf.a, A, seconds=1, options="-P 16")
        return [after - then for then, after in zip(before, frames_of_queues(iavf.a, "rx"))]

    def come_by_the_first_alone():
        frames = received()
        return min(frames[:2]) > 10 and max(frames[2:]) < 10

    def come_by_the_other():
        frames = received()
        return min(frames[2:]) > 10 and max(frames[:2]) < 100

    def settle():  # the function is reset for either change
        script(iavf.a, f"until_true has_link {name}")
        wait_for_peer(iavf.a, B)

    iavf.a.check(f"modprobe -a sch_mqprio cls_flower sch_ingress && ethtool -K {name} hw-tc-offload on")
    try:
        resets = iavf.vmux.stats("a")["model"]["resets"]
        iavf.a.check(f"tc qdisc add dev {name} root mqprio num_tc 2 map 0 1 queues 2@0 2@2 hw 1 mode channel")
        wait_until(lambda: iavf.vmux.stats("a")["model"]["resets"] > resets, "the classes to be granted")
        settle()
        wait_until(come_by_the_first_alone, "all flows to come by the first class")
        iavf.a.check(f"tc qdisc add dev {name} ingress && tc filter add dev {name} protocol ip parent ffff: prio 1 flower "
                     f"dst_ip {A} ip_proto tcp dst_port 5201 skip_sw hw_tc 1")
        wait_until(come_by_the_other, "the flows to come by the other class")
        iavf.a.check(f"tc filter del dev {name} parent ffff: prio 1")
        wait_until(come_by_the_first_alone, "the flows to come by the first class again")
    finally:
        iavf.a.run(f"tc qdisc del dev {name} ingress; tc qdisc del dev {name} root; ethtool -K {name} hw-tc-offload off")
        settle()
    wait_until(lambda: sum(count > 10 for count in received()) >= 3, "the flows to use all queues again")


def test_statistics_of_the_function(iavf):
    before = statistics(iavf.a)
    assert ping(iavf.a, B, count=40, interval=0.02).loss == 0
    # The driver asks for them when it is asked itself, and has them the next time.
    wait_until(lambda: statistics(iavf.a)["tx_unicast"] - before["tx_unicast"] >= 40, "statistics to arrive", pause=0.2)
    after = statistics(iavf.a)
    assert after["rx_unicast"] - before["rx_unicast"] >= 40
    assert after["tx_errors"] == after["tx_discards"] == 0


def test_rings_of_any_length(iavf):
    """ethtool -g and -G."""
    name = card(iavf.a)
    for rx, tx in ((64, 64), (4096, 4096), (512, 512)):
        script(iavf.a, f"is_set() {{ ethtool -g {name} | grep -A 9 Current | grep -q 'RX:[^0-9]*{rx}$'; }}\n"
                       f"set_rings() {{ is_set || ethtool -G {name} rx {rx} tx {tx}; is_set; }}\n"
                       f"until_true set_rings && until_true answers {B}")
        assert ping(iavf.a, B, count=5, size=9000).loss == 0


def test_interrupt_moderation(iavf):
    """ethtool -c and -C."""
    name = card(iavf.a)
    for setting, said in (("adaptive-rx off adaptive-tx off rx-usecs 0 tx-usecs 0", r"rx-usecs:\s+0$"),
                          ("rx-usecs 500 tx-usecs 500", r"rx-usecs:\s+500$"),
                          ("adaptive-rx on adaptive-tx on", r"Adaptive RX: on\s+TX: on$")):
        iavf.a.check(f"ethtool -C {name} {setting}")
        assert re.search(said, iavf.a.check(f"ethtool -c {name}"), re.M), setting
        assert ping(iavf.a, B, count=5).loss == 0


def test_promiscuous_and_multicast(iavf):
    assert ping(iavf.a, f"ff02::1%{card(iavf.a)}", count=3, interval=0.2).received >= 3
    name = card(iavf.b)
    iavf.b.check(f"ip link set {name} promisc on; ip link set {name} promisc off; "
                 f"ip link set {name} allmulticast on; ip link set {name} allmulticast off")
    assert ping(iavf.a, B, count=3).loss == 0


@pytest.mark.exhaustive
def test_more_multicast_groups_than_its_list_holds(iavf):
    """Each of 320 groups that VM b joins by their addresses is heard, as is the marker behind them."""
    name, source = card(iavf.b), iavf.a.check(f"cat /sys/class/net/{card(iavf.a)}/address").strip()
    groups = [f"01:00:5e:01:{number >> 8:02x}:{number & 0xff:02x}" for number in range(320)]
    frames = b"".join(record(ip_frame(group, source, b"for a group")) for group in groups) + marker(source, 0)
    hear, send = put_program(iavf.b, "frames"), put_program(iavf.a, "frames")
    iavf.a.check(f"echo {base64.b64encode(frames).decode()} | base64 -d >/tmp/frames-of-groups")

    def heard():
        hearing = iavf.b.spawn(f"{hear} hear {name} 1 20000 >/tmp/heard")
        wait_until(lambda: "ready" in hearing.output(), "VM b to hear")
        iavf.a.check(f"{send} exchange 0 1 /proc/self/ns/net lo 1 {card(iavf.a)} </tmp/frames-of-groups >/dev/null")
        hearing.wait()
        frames, _ = records(iavf.b.check("gzip -c /tmp/heard | base64"))
        return {frame[:6].hex(":") for frame, _ in frames if frame[6:12] == mac_bytes(source)}

    iavf.b.check(f"for group in {' '.join(groups)}; do ip maddress add $group dev {name} || exit 1; done")
    try:
        wait_until(lambda: heard() >= set(groups), "all groups to be heard")  # the driver asks for them when it gets to it
    finally:
        iavf.b.check(f"for group in {' '.join(groups)}; do ip maddress del $group dev {name}; done")
