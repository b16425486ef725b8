# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own driver of the e1000, run by testpmd behind the interposer: a driver that we did not write, at native speed.

That driver makes some ten thousand register accesses before it is up, and a thousand at each start of its port, each of
them a round trip here: milliseconds apiece on a machine that is busy with something else. So one boot serves several
checks, the daemon looks for the next access a while before it sleeps, and limits are only there for what hangs.
"""
import contextlib
import os
import re
import shutil

import pytest
from conftest import and_exhaustively, rounds
from harness.interposer import BDF, Hugepages, Testpmd, behind_interposer
from harness.vmux import Vmux, wait_until
from harness.wire import has_right_sums, mac_bytes, read_pcap, udp_frame, vlan_of, write_pcap

pytestmark = [
    pytest.mark.testpmd,
    pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)"),
]

NOBODY, GROUP, OTHER_GROUP = "02:00:00:00:00:99", "01:00:5e:00:00:01", "01:00:5e:00:00:07"


@pytest.fixture
def daemon(rig):
    made = rig.vmux("--poller-spin-us", 500)
    made.add_port("a", "--doorbell", "poll")
    made.add_port("b", "--doorbell", "poll")
    return made


@contextlib.contextmanager
def programs(*each):
    """Starts them; ends them as a user would, and tells their stories when a test fails."""
    running = []
    try:
        for name, sockets, options in each:
            running.append(Testpmd(name, sockets, **options))
        yield running
    except BaseException:
        for one in running:
            print(one.story())
        raise
    finally:
        statuses = [one.stop() for one in running]
    assert statuses == [0] * len(running)


@contextlib.contextmanager
def two(daemon, **options):
    with programs(("a", [daemon.socket("a")], options), ("b", [daemon.socket("b")], options)) as pair:
        yield pair


@contextlib.contextmanager
def replay(daemon, frames, captured):
    """a sends the frames of a file through its e1000, b writes what its e1000 receives into another."""
    source = captured.with_name("in.pcap")
    write_pcap(source, frames)
    with programs(("a", [daemon.socket("a")], {"vdevs": [f"net_pcap0,rx_pcap={source}"]}),
                  ("b", [daemon.socket("b")], {"vdevs": [f"net_pcap0,tx_pcap={captured}"]})) as (a, b):
        a.nic, b.nic = a.port(BDF), b.port(BDF)
        yield a, b


def mac_of(daemon, name):
    return next(port["mac"] for port in daemon.ctl("port", "list") if port["name"] == name)


def frames_for(destination, count=40, **how):
    return [udp_frame(destination, "02:00:00:00:00:55", b"frame %03d " % number + b"x" * number * 30, **how)
            for number in range(count)]


def test_driver_finds_its_card(daemon):
    with programs(("a", [daemon.socket("a")], {})) as (one,):
        text = one.run("show port info 0")
        assert "Driver name: net_e1000_em" in text
        assert "Link status: up" in text
        assert f"MAC address: {mac_of(daemon, 'a').upper()}" in text


def test_two_cards_in_one_process(daemon):
    with programs(("both", [daemon.socket("a"), daemon.socket("b")], {})) as (both,):
        both.run("set fwd rxonly")
        both.run("start tx_first")  # each port sends 32 frames to the other
        for port in (0, 1):
            both.wait_for(lambda seen: (seen["RX-packets"], seen["TX-packets"]) == (32, 32), "32 frames each way", port=port)


def test_a_device_that_the_interposer_shows_is_passed_on(daemon, tmp_path):
    """A second vmux holds the card behind the interposer and passes it through. The descriptor of such a card is good in that process
    only: whoever mapped it elsewhere died of its first access."""
    relay = Vmux(tmp_path / "relay", "-d", BDF, "-s", tmp_path / "relay" / "a.sock", "-m", "passthrough",
                 wrap=lambda command: behind_interposer([daemon.socket("a")], command)).start()
    try:
        with programs(("both", [relay.socket("a"), daemon.socket("b")], {})) as (both,):
            assert "Driver name: net_e1000_em" in both.run("show port info 0")
            both.run("set fwd rxonly")
            both.run("start tx_first")
            for port in (0, 1):
                both.wait_for(lambda seen: (seen["RX-packets"], seen["TX-packets"]) == (32, 32), "32 frames each way", port=port)
        assert "all its registers go by message" in relay.log()
    finally:
        assert relay.stop() == 0, relay.log()


@pytest.mark.parametrize("pages", and_exhaustively(["none"], ["huge"]))
def test_two_programs_joined_by_the_switch_count_the_same(daemon, pages):
    with Hugepages(192 if pages == "huge" else 0) as enough:
        if not enough:
            pytest.skip("the kernel has no 2 MB pages to give")
        eal = ("-m", "128", "--in-memory") if pages == "huge" else ("--no-huge", "-m", "128")
        with two(daemon, eal=eal) as (a, b):
            for one in (a, b):
                one.run("set fwd rxonly")
            b.run("start")
            expected_bytes = 0
            for round_number, size in enumerate((64, 1514), start=1):
                a.run(f"set txpkts {size}")
                a.run("start tx_first 10")
                sent = a.wait_for(lambda seen, n=round_number: seen["TX-packets"] == 320 * n, "320 frames sent")
                received = b.wait_for(lambda seen, n=round_number: seen["RX-packets"] == 320 * n, "320 frames received")
                a.run("stop")
                expected_bytes += 320 * (size + 4)  # the card counts the FCS
                assert sent["TX-bytes"] == received["RX-bytes"] == expected_bytes
                assert daemon.stats("a")["counters"]["rx_frames"] == daemon.stats("b")["counters"]["tx_frames"] == 320 * round_number


@pytest.mark.exhaustive
def test_forwarding_modes(daemon):
    with two(daemon) as (a, b):
        b.run(f"set eth-peer 0 {mac_of(daemon, 'a')}")
        a.run(f"set eth-peer 0 {mac_of(daemon, 'b')}")
        a.run("set fwd rxonly")
        for number, mode in enumerate(("mac", "macswap", "io"), start=1):
            b.run(f"set fwd {mode}")
            b.run("start")
            a.run("start tx_first 4")
            b.wait_for(lambda seen, n=number: (seen["RX-packets"], seen["TX-packets"]) == (128 * n, 128 * n), f"{mode}: 128 frames turned round")
            if mode != "io":  # there the frames keep b's address, and the switch sends none back to where it came from
                a.wait_for(lambda seen, n=number: seen["RX-packets"] == 128 * n, f"{mode}: 128 frames back")
            a.run("stop")
            b.run("stop")


def test_traffic_in_bulk_flows_without_faults(daemon):
    with two(daemon) as (a, b):
        a.run("set fwd txonly")
        b.run("set fwd rxonly")
        b.run("start")
        a.run("start")
        b.wait_for(lambda seen: seen["RX-packets"] > 100000, "100000 frames")
        a.run("stop")
        sent = a.statistics()["TX-packets"]
        received = b.wait_for(lambda seen: seen["RX-packets"] + seen["RX-missed"] == sent, "all that was sent, received or missed")
        assert received["RX-errors"] == 0
        assert daemon.stats("a")["counters"]["rx_frames"] == sent
        for name in ("a", "b"):
            model = daemon.stats(name)["model"]
            assert (model["tx.guest_fault"], model["rx.guest_fault"], model["tx.unsupported"]) == (0, 0, 0)


def test_checksums_are_the_cards_work(daemon, tmp_path):
    with replay(daemon, frames_for(NOBODY, right=False), tmp_path / "out.pcap") as (a, b):
        for command in (f"port stop {a.nic}", f"csum set ip hw {a.nic}", f"csum set udp hw {a.nic}", f"port start {a.nic}",
                        f"set eth-peer {a.nic} {mac_of(daemon, 'b')}", "set fwd csum"):
            a.run(command)
        b.run("start")
        a.run("start")
        b.wait_for(lambda seen: seen["RX-packets"] == 40, "40 frames", port=b.nic)

        # The same frames with their wrong sums, and b's card is the judge.
        source = a.port("net_pcap0")
        for command in ("stop", "set fwd io", f"port stop {source}", f"port start {source}"):
            a.run(command)
        for command in ("stop", f"port stop {b.nic}", f"port config {b.nic} rx_offload ipv4_cksum on",
                        f"port start {b.nic}", "set fwd csum", "start"):
            b.run(command)
        a.run("start")
        b.wait_for(lambda seen: seen["TX-packets"] == 80, "40 frames more written down", port=b.port("net_pcap0"))
        judged = re.search(r"Bad-ipcsum: (\d+) +Bad-l4csum: (\d+)", b.run("show fwd stats all"))
        assert judged and judged.groups() == ("40", "0")  # net_e1000_em asks the card for the IP header's only (RXCSUM)
    frames = read_pcap(tmp_path / "out.pcap")[:40]
    assert len(frames) == 40
    assert all(has_right_sums(frame) for frame in frames)
    assert all(b"frame %03d " % number in frame for number, frame in enumerate(frames))


@pytest.mark.parametrize("strips", [False, True], ids=["kept", "stripped"])
def test_vlan_tag_is_put_in_and_taken_out_by_the_card(daemon, tmp_path, strips):
    daemon.remove_port("a"), daemon.remove_port("b")
    for name in ("a", "b"):
        daemon.add_port(name, "--trunk", "100")
    with replay(daemon, frames_for(mac_of(daemon, "b")), tmp_path / "out.pcap") as (a, b):
        for command in (f"port stop {a.nic}", f"tx_vlan set {a.nic} 100",
                        f"vlan set strip on {a.nic}",  # CTRL.VME: without it the card inserts none either
                        f"port start {a.nic}",
                        f"set eth-peer {a.nic} {mac_of(daemon, 'b')}", "set fwd mac"):
            a.run(command)
        b.run(f"port stop {b.nic}")
        b.run(f"vlan set strip {'on' if strips else 'off'} {b.nic}")
        b.run(f"port start {b.nic}")
        b.run("start")
        a.run("start")
        b.wait_for(lambda seen: seen["RX-packets"] == 40, "40 frames", port=b.nic)
    frames = read_pcap(tmp_path / "out.pcap")
    assert [vlan_of(frame) for frame in frames] == [None if strips else 100] * 40
    tag = 0 if strips else 4
    # Short frames are padded on their way.
    assert all(frame[14 + tag:].startswith(want[14:]) for frame, want in zip(frames, frames_for(mac_of(daemon, "b"))))


def test_receive_filters(daemon, tmp_path):
    """The same frames again and again, under one setting of b after the other. The frame for b itself comes last each time:
    when it is there, the ones before it have been judged."""
    groups = {mac: frames_for(mac, count=8) for mac in (NOBODY, GROUP, OTHER_GROUP)}
    last = frames_for(mac_of(daemon, "b"), count=1)
    settings = (("set promisc {} on", [NOBODY, GROUP, OTHER_GROUP]),
                ("set promisc {} off", []),
                ("set allmulti {} on", [GROUP, OTHER_GROUP]),
                ("set allmulti {} off", []),
                (f"mcast_addr add {{}} {GROUP}", [GROUP]),
                (f"mcast_addr remove {{}} {GROUP}", []))
    expected = []
    with replay(daemon, sum(groups.values(), []) + last, tmp_path / "out.pcap") as (a, b):
        source = a.port("net_pcap0")
        b.run("start")
        a.run("set fwd io")
        for setting, arriving in settings:
            b.run(setting.format(b.nic))
            expected += sum((groups[mac] for mac in arriving), []) + last
            a.run("start")
            b.wait_for(lambda seen, n=len(expected): seen["RX-packets"] >= n, setting, port=b.nic)
            for command in ("stop", f"port stop {source}", f"port start {source}"):  # its file from the beginning
                a.run(command)
        assert b.statistics(b.nic)["RX-packets"] == len(expected)
    assert [frame[:6] for frame in read_pcap(tmp_path / "out.pcap")] == [frame[:6] for frame in expected]


def test_stops_resets_and_starts_with_reattachments(daemon, request):
    """DPDK's net_e1000_em has no dev_reset: rte_eth_dev_reset() refuses by itself and asks nothing of the card. Taking the
    device out of the program and probing it anew is the harder test of the same: the whole VFIO life of a device. What the
    first of those leaves open must not become more with any other."""
    with two(daemon) as (a, b):
        b.run("set fwd rxonly")
        b.run("start")
        a.run("set fwd rxonly")
        open_after_first = None
        for number in range(rounds(request.config, 50)):
            assert "Done" in a.run("port stop 0")
            requests = daemon.stats("a")["client"]["requests"]
            assert "Failed to reset port 0. diag=-95" in a.run("port reset 0")
            assert daemon.stats("a")["client"]["requests"] == requests
            if number % 5 == 0:
                assert "Device is detached" in a.run("port detach 0")
                wait_until(lambda: not daemon.is_connected("a"), "vmux to notice that the device is closed")
                assert "Port 0 is attached" in a.run(f"port attach {BDF}")
            assert "Done" in a.run("port start 0")
            now_open = [held_by(process) for process in (a.process, daemon.process)]
            open_after_first = open_after_first or now_open
            if now_open != open_after_first:  # vmuxctl's connection may just be closing
                wait_until(lambda: [held_by(process) for process in (a.process, daemon.process)] == open_after_first,
                           f"as much to be open as after the first start, {open_after_first}; it was {now_open}", 20)
        assert "Link status: up" in a.run("show port info 0")
        a.run("start tx_first")
        b.wait_for(lambda seen: seen["RX-packets"] == 32, "frames after the last start")


def held_by(process):
    """Open descriptors of a process, and its shared mappings of devices and memory files."""
    with open(f"/proc/{process.pid}/maps") as maps:
        shared = sum(line.split()[1].endswith("s") for line in maps)
    return len(os.listdir(f"/proc/{process.pid}/fd")), shared


def test_killed_program_leaves_the_port_for_the_next(daemon):
    one = Testpmd("killed", [daemon.socket("a")])
    one.kill()
    one.stop()
    with programs(("next", [daemon.socket("a")], {})) as (after,):
        assert "Link status: up" in after.run("show port info 0")
