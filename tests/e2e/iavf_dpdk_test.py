# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf on our iavf: stock, native, behind the interposer. One testpmd has both ports, so that each of its ways through a
ring (scalar, SSE, AVX2, AVX-512) meets frames that it has sent itself, and what the driver makes of each is known frame by frame."""
import contextlib
import re
import shutil
import struct
from types import SimpleNamespace

import pytest
from conftest import and_exhaustively, in_use, rounds
from harness.pmd import QUEUES, Loop, Taps, ends_well
from harness.vmux import Vmux
from harness.wire import ADDRESSES, ip_frame, mac_bytes, packed_addresses, sums_are_right, toeplitz, transport_of, vlan_of

pytestmark = [
    pytest.mark.testpmd,
    pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)"),
]

SOMEONE, NOBODY, GROUP, ALL = "02:00:00:00:00:55", "02:00:00:00:00:99", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"
KEY = bytes(range(1, 105, 2))
GOOD = {"IP_CKSUM_GOOD", "L4_CKSUM_GOOD"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """Two ports for those tests that share a program, and two of each variant for those that start their own."""
    made = Vmux(tmp_path_factory.mktemp("dpdk"), "--poller-spin-us", 500).start()
    for name in ("near", "far"):
        made.add_port(name, model="iavf")
    for variant in ("e810", "xl710"):
        made.ctl("switch", "add", variant)
        for end in ("near", "far"):
            made.add_port(f"{variant}-{end}", "--variant", variant, "--switch", variant, model="iavf")
    with in_use(made):
        yield made
    assert made.is_alive(), made.log()
    assert made.stop() == 0, made.log()


@contextlib.contextmanager
def started(daemon, directory, near="e810-near", far="e810-far", **how):
    """A Loop; ends as a user would end it, and tells its story when a test fails."""
    made = Loop(daemon, directory, near, far, **how)
    try:
        with in_use(made):
            yield made
    except BaseException:
        print(made.story())
        made.kill()
        raise
    assert ends_well(made), made.story()


@pytest.fixture(scope="module")
def shared(daemon, tmp_path_factory):
    with started(daemon, tmp_path_factory.mktemp("loop"), "near", "far") as made:
        made.restart(made.far, f"port config {made.far} rss-hash-key ipv4-udp {KEY.hex()}")
        yield made


@pytest.fixture
def loop(shared):
    """`shared` with RSS by addresses and ports, whatever the test before did."""
    shared.end()
    shared.run("port config all rss all")
    yield shared


def model(daemon, port):
    return daemon.stats(port)["model"]


def hash_of(version, addresses=None, ports=(4000, 4001), key=KEY):
    return toeplitz(key, packed_addresses(version, addresses or ADDRESSES[version]) + (struct.pack("!HH", *ports) if ports else b""))


def flows(destination, count, **how):
    """UDP flows that differ by their source ports."""
    return [ip_frame(destination, SOMEONE, b"flow %04d" % number, ports=(1000 + number, 80), **how) for number in range(count)]


def source_port(frame):
    return struct.unpack("!H", frame[34:36])[0]


def set_table(loop, queue_of):
    for first in range(0, 64, 16):  # testpmd's words are short
        entries = ",".join(f"({entry},{queue_of(entry)})" for entry in range(first, first + 16))
        assert "failed" not in loop.run(f"port config {loop.far} rss reta {entries}").lower()


def read_key(loop, port):
    return bytes.fromhex(re.search(r"RSS key:\s+([0-9A-F]+)", loop.run(f"show port {port} rss-hash key")).group(1))


def test_driver_finds_its_card(daemon, loop):
    text = loop.run(f"show port info {loop.far}")
    for line in ("Driver name: net_iavf", "Link status: up", "Link speed: 100 Gbps", "Redirection table size: 64", "Hash key size in bytes: 52",
                 "Maximum configurable length of RX packet: 9728", f"MAC address: {loop.far_mac.upper()}"):
        assert line in text


PATHS = [(64, "Using bulk Rx callback", "Using Basic Tx callback"), (128, "Using Vector Rx", "Using Vector Tx"),
         (256, "Using avx2 Vector Rx", "Using avx2 Vector Tx"), (512, "Using AVX512 OFFLOAD Vector Rx", "Using AVX512 Vector Tx")]


@pytest.mark.parametrize("variant", and_exhaustively(["e810"], ["xl710"]), ids=["flexible", "legacy"])
@pytest.mark.parametrize("bits, receives, sends", PATHS, ids=["scalar", "sse", "avx2", "avx512"])
def test_ways_through_the_rings(daemon, tmp_path, variant, bits, receives, sends):
    """Each frame arrives as it was sent, and its descriptor says what it is: hash, queue, type, length, checksums."""
    with open("/proc/cpuinfo") as info:
        if bits == 512 and "avx512bw" not in info.read():
            pytest.skip("this CPU has no AVX-512")
    with started(daemon, tmp_path, f"{variant}-near", f"{variant}-far", eal=(f"--force-max-simd-bitwidth={bits}",),
                 options=["--rss-udp", "--rxd=128"]) as loop:
        assert f"{receives} " in loop.greeting and f"{sends} " in loop.greeting
        assert ("request RXDID[22]" in loop.greeting) == (variant == "e810")
        assert ("set rx_pkt_burst as legacy" in loop.greeting) == (variant == "xl710")
        key = read_key(loop, loop.far)
        loop.run(f"set promisc {loop.far} off")
        cases = []  # frame, packet type, flags, hash or None
        for number in range(48):
            how = {"payload": bytes([number]) * (number * 30 % 1400), "version": 6 if number % 3 == 0 else 4, "ports": (number, 5 * number)}
            right_ip, right_l4 = number % 4 != 1, number % 5 != 2
            frame = ip_frame(loop.far_mac, SOMEONE, right_ip=right_ip, right_l4=right_l4, **how)
            says_good = right_ip or variant == "e810" or bits == 64  # the driver's legacy vectors then say nothing of L4
            flags = {"IP_CKSUM_GOOD" if right_ip or how["version"] == 6 else "IP_CKSUM_BAD", "L4_CKSUM_GOOD" if right_l4 else "L4_CKSUM_BAD"}
            flags -= set() if says_good else {"L4_CKSUM_GOOD"}
            cases.append((frame, f"L3_IPV{how['version']}_EXT_UNKNOWN", flags, hash_of(how["version"], ports=how["ports"], key=key)))
        arp = mac_bytes(ALL) + mac_bytes(SOMEONE) + b"\x08\x06" + bytes(46)
        cases += [(arp, "L2_ETHER_ARP", set(), None)] * 3
        frames = [case[0].ljust(60, b"\0") for case in cases]
        got = loop.send(frames)
        assert sorted(bytes_ for _, bytes_ in got) == sorted(frames)
        expected = {frame: case for frame, case in zip(frames, cases)}
        for record, frame in got:
            _, ptype, flags, value = expected[frame]
            assert record.length == len(frame)
            assert ptype in record.ptype
            assert record.flags >= flags and not record.flags & {"IP_CKSUM_BAD", "L4_CKSUM_BAD"} - flags
            assert record.hash == value
            assert record.queue == (0 if value is None else value % 64 % QUEUES)
        # More than the rings hold, so that each descriptor is used, and used again; at once never more than they hold.
        many = flows(loop.far_mac, 600)
        for first in range(0, 600, 100):
            part = many[first:first + 100]
            assert sorted(frame for _, frame in loop.send(part)) == sorted(frame.ljust(60, b"\0") for frame in part)
    for end in ("near", "far"):  # the driver asks for nothing that is not there, and makes no mistake
        seen = model(daemon, f"{variant}-{end}")
        assert (seen["guest_fault"], seen["refused"], seen["admin_faults"]) == (0, 0, 0), seen


def test_checksums_of_frames_are_kept_for_a_driver_that_asks(daemon, tmp_path):
    """KEEP_CRC: of what it is told has been stored the driver takes four bytes off, be the frame in one buffer or in two."""
    with started(daemon, tmp_path, options=["--mbuf-size=1152"]) as loop:
        loop.restart(loop.near, f"port config {loop.near} tx_offload multi_segs on")  # its frames come in two buffers as well
        loop.restart(loop.far, f"port config {loop.far} rx_offload keep_crc on")
        assert "KEEP_CRC" in loop.run(f"show port {loop.far} rx_offload configuration")
        frames = [ip_frame(loop.far_mac, SOMEONE, bytes([number]) * (20 + 29 * number)) for number in range(49)]
        got = loop.send(frames)
        assert sorted(frame for _, frame in got) == sorted(frames)
        assert [record.length for record, _ in got] == [len(frame) for _, frame in got]
        assert {record.segments for record, _ in got} == {1, 2}
    assert model(daemon, "e810-far")["refused"] == 0


def test_flows_are_spread_over_the_queues_by_their_hash(daemon, loop):
    """256 flows: the queue that each takes is that of the table, and the counters of the card agree."""
    before = model(daemon, "far")
    got = loop.send(flows(loop.far_mac, 256))
    expected = [0] * QUEUES
    for record, frame in got:
        assert record.hash == hash_of(4, ports=(source_port(frame), 80))
        assert record.queue == record.hash % 64 % QUEUES
        expected[record.queue] += 1
    after = model(daemon, "far")
    assert [after[f"rx{queue}.frames"] - before[f"rx{queue}.frames"] for queue in range(QUEUES)] == expected
    assert all(expected)


def test_four_queues_send(daemon, loop):
    before = model(daemon, "near")
    parts = [[ip_frame(loop.far_mac, SOMEONE, bytes([queue]) * 20, ports=(queue, number)) for number in range(10 * (queue + 1))]
             for queue in range(QUEUES)]
    got = loop.send(parts)
    assert sorted(frame for _, frame in got) == sorted(frame for part in parts for frame in part)
    after = model(daemon, "near")
    assert [after[f"tx{queue}.frames"] - before[f"tx{queue}.frames"] for queue in range(QUEUES)] == [10, 20, 30, 40]


def test_rss_by_addresses_alone_leaves_ports_out(loop):
    loop.run("port config all rss ip")
    got = loop.send(flows(loop.far_mac, 8) + [ip_frame(loop.far_mac, SOMEONE, b"6" * 20, l4="tcp", version=6, ports=(7, 8))])
    assert {record.hash for record, _ in got} == {hash_of(4, ports=None), hash_of(6, ports=None)}


def test_rss_key_and_table_can_be_changed_while_frames_flow(loop):
    other = bytes(reversed(KEY))
    frames = flows(loop.far_mac, 64)
    try:
        loop.run(f"port config {loop.far} rss-hash-key ipv4-udp {other.hex()}")
        assert read_key(loop, loop.far) == other
        for record, frame in loop.send(frames):
            assert record.hash == hash_of(4, ports=(source_port(frame), 80), key=other)
        set_table(loop, lambda entry: 3 if entry % 2 else 1)
        for record, _ in loop.send(frames):
            assert record.queue == (3 if record.hash % 2 else 1)
    finally:
        set_table(loop, lambda entry: entry % QUEUES)
        loop.run(f"port config {loop.far} rss-hash-key ipv4-udp {KEY.hex()}")


@contextlib.contextmanager
def rule(loop, text):
    said = loop.run(f"flow create {loop.far} {text}")
    assert re.search(r"Flow rule #\d+ created", said), said
    try:
        yield
    finally:
        assert "error" not in loop.run(f"flow flush {loop.far}").lower()


UDP_80 = "ingress pattern eth / ipv4 / udp dst is 80 / end actions"


def queues_of(loop, frames, **how):
    return [record.queue for record, _ in loop.send(frames, **how)]


@pytest.mark.parametrize("pattern, frame", [
    ("eth / ipv4 src is 10.9.0.1 dst is 10.9.0.2 / end", {}),
    ("eth / ipv4 / udp src is 4000 dst is 4001 / end", {}),
    ("eth / ipv4 dst is 10.9.0.2 / tcp dst is 4001 / end", {"l4": "tcp"}),
    ("eth / ipv6 src is fd00::9:1 dst is fd00::9:2 / end", {"version": 6}),
    ("eth / ipv6 dst is fd00::9:2 / udp dst is 4001 / end", {"version": 6}),
    ("eth / ipv6 / tcp src is 4000 / end", {"version": 6, "l4": "tcp"}),
], ids=["ipv4", "ipv4-udp", "ipv4-tcp", "ipv6", "ipv6-udp", "ipv6-tcp"])
def test_flow_rule_leads_what_matches_to_a_queue(loop, pattern, frame):
    usual = hash_of(frame.get("version", 4)) % 64 % QUEUES
    wanted = (usual + 1) % QUEUES
    match = ip_frame(loop.far_mac, SOMEONE, b"x" * 20, **frame)
    other = ip_frame(loop.far_mac, SOMEONE, b"x" * 20, addresses=ADDRESSES[frame.get("version", 4)][::-1], ports=(4001, 4000), **frame)
    usual_other = queues_of(loop, [other])
    with rule(loop, f"ingress pattern {pattern} actions queue index {wanted} / end"):
        assert queues_of(loop, [match]) == [wanted]
        assert queues_of(loop, [other]) == usual_other
    assert queues_of(loop, [match]) == [usual]


def test_flow_rule_drops(daemon, loop):
    last = ip_frame(loop.far_mac, SOMEONE, b"last", ports=(9, 81))
    with rule(loop, f"{UDP_80} drop / end"):
        got = loop.send(flows(loop.far_mac, 20) + [last], arriving=1)
        assert [frame[:len(last)] for _, frame in got] == [last]
    assert len(loop.send(flows(loop.far_mac, 20))) == 20


def test_flow_rule_marks_and_leads_to_a_queue(loop):
    with rule(loop, f"{UDP_80} queue index 2 / mark id 0xbeef42 / end"):
        got = loop.send(flows(loop.far_mac, 10) + [ip_frame(loop.far_mac, SOMEONE, b"other", ports=(9, 81))])
        for record, frame in got:
            is_match = frame[36:38] == b"\0\x50"
            assert record.mark == (0xbeef42 if is_match else None)
            assert record.queue == 2 or not is_match


def test_flow_rule_marks_alone(loop):
    """The queue is that of RSS."""
    with rule(loop, f"{UDP_80} mark id 7 / end"):
        for record, _ in loop.send(flows(loop.far_mac, 16)):
            assert (record.mark, record.queue) == (7, record.hash % 64 % QUEUES)


def test_flow_rule_spreads_over_a_group_of_queues(loop):
    with rule(loop, f"{UDP_80} rss queues 2 3 end / end"):
        got = loop.send(flows(loop.far_mac, 64))
        assert {record.queue for record, _ in got} == {2, 3}
        assert all(record.queue == 2 + record.hash % 2 for record, _ in got)


def test_flow_rule_chooses_what_is_hashed(loop):
    """rss types: by the source address alone, then the same for both directions of a flow."""
    source = packed_addresses(4, ADDRESSES[4])[:4]
    with rule(loop, "ingress pattern eth / ipv4 / end actions rss types ipv4 l3-src-only end key_len 0 queues end / end"):
        ping = ip_frame(loop.far_mac, SOMEONE, b"x" * 30)[:23] + b"\x01" + ip_frame(loop.far_mac, SOMEONE, b"x" * 30)[24:]
        assert [record.hash for record, _ in loop.send([ping])] == [toeplitz(KEY, source)]
    loop.run("port config all rss all")
    both = [ip_frame(loop.far_mac, SOMEONE, b"x" * 20), ip_frame(loop.far_mac, SOMEONE, b"x" * 20, addresses=ADDRESSES[4][::-1], ports=(4001, 4000))]
    with rule(loop, "ingress pattern eth / ipv4 / udp / end actions rss func symmetric_toeplitz types ipv4-udp end key_len 0 queues end / end"):
        hashes = [record.hash for record, _ in loop.send(both)]
        assert hashes[0] == hashes[1] != hash_of(4)


def tagged(destination, vlan, payload=b"tagged" * 5):
    return ip_frame(destination, SOMEONE, payload, tags=[(0x8100, 3 << 13 | vlan)])


@pytest.mark.parametrize("variant", ["e810", "xl710"], ids=["second dialect", "first dialect"])
def test_vlans_are_filtered_stripped_and_inserted(daemon, tmp_path, variant):
    with started(daemon, tmp_path, f"{variant}-near", f"{variant}-far", options=["--rss-udp"]) as loop:
        frames = [tagged(loop.far_mac, vlan) for vlan in (100, 101, 102)] + [ip_frame(loop.far_mac, SOMEONE, b"untagged" * 5)]
        # As they are; then without their tags, which the descriptors tell.
        assert {(record.vlan, vlan_of(frame)) for record, frame in loop.send(frames)} == {(None, 100), (None, 101), (None, 102), (None, None)}
        loop.run(f"vlan set strip on {loop.far}")
        got = loop.send(frames)
        assert {(record.vlan, vlan_of(frame)) for record, frame in got} == {(3 << 13 | vlan, None) for vlan in (100, 101, 102)} | {(None, None)}
        assert {frame for record, frame in got if record.vlan} == {frames[0][:12] + frames[0][16:]}
        assert all(("VLAN_STRIPPED" in record.flags) == (record.vlan is not None) for record, _ in got)
        # Only those that are on the list.
        loop.run(f"vlan set filter on {loop.far}")
        loop.run(f"rx_vlan add 101 {loop.far}")
        assert {record.vlan for record, _ in loop.send(frames, arriving=2)} == {3 << 13 | 101, None}
        loop.run(f"rx_vlan add 102 {loop.far}")
        loop.run(f"rx_vlan rm 101 {loop.far}")
        assert {record.vlan for record, _ in loop.send(frames, arriving=2)} == {3 << 13 | 102, None}
        loop.run(f"rx_vlan rm 102 {loop.far}")
        loop.run(f"vlan set strip off {loop.far}")
        # The near card puts a tag in. (With a filter on, these would not arrive.)
        loop.run(f"vlan set filter off {loop.far}")
        loop.restart(loop.near, f"tx_vlan set {loop.near} 77")
        got = loop.send([frames[-1]] * 3, mode="mac")
        assert [(vlan_of(frame), frame[16:]) for _, frame in got] == [(77, frames[-1][12:])] * 3


@pytest.mark.parametrize("commands, arriving, undo", [
    (["set promisc {far} on"], [NOBODY], []),  # groups are another mode
    (["set promisc {far} on", "set allmulti {far} on"], [NOBODY, GROUP], ["set allmulti {far} off"]),
    (["set allmulti {far} on"], [GROUP], ["set allmulti {far} off"]),
    (["mcast_addr add {far} " + GROUP], [GROUP], ["mcast_addr remove {far} " + GROUP]),
    (["mac_addr add {far} " + NOBODY], [NOBODY], ["mac_addr remove {far} " + NOBODY]),
    ([], [], []),
], ids=["promisc", "promisc and allmulti", "allmulti", "a group", "a second address", "none"])
def test_receive_filters(loop, commands, arriving, undo):
    """The frame for the card itself comes last: when it is there, the ones before it have been judged."""
    frames = [ip_frame(mac, SOMEONE, bytes([number]) * 20) for mac in (NOBODY, GROUP) for number in range(8)]
    frames.append(ip_frame(loop.far_mac, SOMEONE, b"last" * 5))
    expected = [frame for frame in frames[:-1] if any(frame.startswith(mac_bytes(mac)) for mac in arriving)] + frames[-1:]
    try:
        for command in [f"set promisc {loop.far} off", *commands]:
            loop.run(command.format(far=loop.far))
        assert [frame for _, frame in loop.send(frames, arriving=len(expected))] == expected
    finally:
        for command in [*undo, f"set promisc {loop.far} on"]:
            loop.run(command.format(far=loop.far))


def xstats(loop, port):
    return {name: int(value) for name, value in re.findall(r"^([rt]x_\w+): (\d+)$", loop.run(f"show port xstats {port}"), re.M)}


def test_both_sides_count_the_same(daemon, loop):
    frames = [ip_frame(mac, SOMEONE, b"x" * 50 * number) for mac, count in ((loop.far_mac, 20), (GROUP, 7), (ALL, 5)) for number in range(1, count + 1)]
    size = sum(map(len, frames))
    ports = {"near": loop.near, "far": loop.far}
    before = {end: daemon.stats(end)["counters"] for end in ports}
    for what in ("stats", "xstats"):
        loop.run(f"clear port {what} all")
    loop.run(f"set allmulti {loop.far} on")
    loop.send(frames)
    loop.run(f"set allmulti {loop.far} off")
    sent, received = loop.statistics(loop.near), loop.statistics(loop.far)
    assert (sent["TX-packets"], sent["TX-bytes"], sent["TX-errors"]) == (32, size, 0)
    assert (received["RX-packets"], received["RX-bytes"], received["RX-missed"]) == (32, size, 0)
    near, far = xstats(loop, loop.near), xstats(loop, loop.far)
    for kind, count in (("unicast", 20), ("multicast", 7), ("broadcast", 5)):
        assert near[f"tx_{kind}_packets"] == far[f"rx_{kind}_packets"] == count
    assert (near["tx_bytes"], far["rx_bytes"]) == (size, size + 4 * 32)  # the card counts each FCS that it receives
    assert far["rx_dropped_packets"] == near["tx_error_packets"] == 0
    grown = {end: {key: value - before[end][key] for key, value in daemon.stats(end)["counters"].items()} for end in ports}
    assert (grown["near"]["rx_frames"], grown["near"]["rx_bytes"]) == (32, size)
    assert (grown["far"]["tx_frames"], grown["far"]["tx_bytes"]) == (32, size)


def test_long_frames_take_as_many_buffers_as_they_need(daemon, tmp_path):
    """9014 bytes in buffers of 2 KB, sent in pieces too: the scalar way, and the vector way that gathers."""
    with started(daemon, tmp_path) as loop:
        said = "".join(loop.restart(port, f"port config mtu {port} 9000", *more)
                       for port, more in ((loop.near, [f"port config {loop.near} tx_offload multi_segs on"]), (loop.far, [])))
        assert "error" not in said.lower()
        assert "Using avx2 Vector Scattered Rx" in loop.text and "Using Basic Tx callback" in loop.text
        frames = [ip_frame(loop.far_mac, SOMEONE, bytes([number]) * size, ports=(number, 80))
                  for number, size in enumerate((18, 1472, 2006, 2007, 4054, 4055, 8972))]
        got = loop.send(frames)
        assert sorted(frame for _, frame in got) == sorted(frames)
        for record, frame in got:
            assert record.length == len(frame)
            assert record.segments == (len(frame) + 2047) // 2048
            assert record.flags >= GOOD
        assert xstats(loop, loop.far)["rx_dropped_packets"] == 0
        # Longer than the far card takes: dropped there, and counted.
        loop.restart(loop.far, f"port config mtu {loop.far} 1500")
        assert len(loop.send([frames[-1], frames[0]], arriving=1)) == 1


@pytest.fixture(scope="module")
def taps(daemon, tmp_path_factory):
    """Another program, on the same switch: an iavf and an e1000."""
    daemon.add_port("peer", model="iavf")
    daemon.add_port("em", "--doorbell", "poll", model="e1000")
    made = Taps(daemon, tmp_path_factory.mktemp("taps"), ["peer", "em"])
    macs = {port["name"]: port["mac"] for port in daemon.ctl("port", "list")}
    made.iavf, made.e1000 = SimpleNamespace(number=0, mac=macs["peer"]), SimpleNamespace(number=1, mac=macs["em"])
    with in_use(made):
        yield made
    assert ends_well(made), made.story()


MIXED = [{"l4": l4, "version": version, "payload": bytes([size % 251]) * size, "ports": (size, 80)}
         for l4 in ("tcp", "udp") for version in (4, 6) for size in (30, 100, 999, 1400)]


def test_two_programs_talk_through_the_switch_iavf_with_iavf_and_e1000(loop, taps):
    """Any driver to any other: what one has sent is what the other receives."""
    to_iavf, to_e1000 = ([ip_frame(card.mac, SOMEONE, **how) for how in MIXED] for card in (taps.iavf, taps.e1000))
    loop.run(f"set promisc {loop.far} off")
    to_loop = [ip_frame(loop.far_mac, SOMEONE, **how) for how in MIXED]
    streams = (loop.source, loop.near)
    assert taps.catch(0, len(MIXED), lambda: loop.launch(to_iavf, streams=streams)) == to_iavf
    assert taps.catch(1, len(MIXED), lambda: loop.launch(to_e1000, streams=streams)) == to_e1000
    assert taps.catch(0, len(MIXED), lambda: taps.send(1, to_iavf)) == to_iavf
    assert taps.catch(1, len(MIXED), lambda: taps.send(0, to_e1000)) == to_e1000
    for number in (0, 1):
        mark = len(loop.text)
        loop.launch([])
        taps.send(number, to_loop)
        loop.await_records(mark, len(MIXED))
        loop.end()
        assert sorted(record.length for record in loop.records(mark)) == sorted(map(len, to_loop))
    taps.end()
    loop.run(f"set promisc {loop.far} on")


@contextlib.contextmanager
def offloads(loop, *commands):
    loop.restart(loop.near, *(command.format(near=loop.near) for command in commands))
    try:
        yield
    finally:
        loop.restart(loop.near, *(f"csum set {what} sw {loop.near}" for what in ("ip", "udp", "tcp")), f"tso set 0 {loop.near}")


CSUM = ("csum set ip hw {near}", "csum set udp hw {near}", "csum set tcp hw {near}")


@pytest.mark.parametrize("receiver", ["iavf", "e1000"])
def test_checksums_are_the_cards_work(loop, taps, receiver):
    card = getattr(taps, receiver)
    frames = [ip_frame(card.mac, SOMEONE, right_ip=False, right_l4=False, **how) for how in MIXED]
    loop.run(f"set eth-peer {loop.near} {card.mac}")
    with offloads(loop, *CSUM):
        got = taps.catch(card.number, len(frames), lambda: loop.launch(frames, "csum", (loop.source, loop.near)))
    right = [ip_frame(card.mac, loop.near_mac, **how) for how in MIXED]
    assert got == right


@pytest.mark.parametrize("receiver", ["iavf", "e1000"])
@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_long_tcp_is_cut_by_the_card(loop, taps, receiver, version):
    """TSO: 800 bytes a segment; numbers go on, flags are where they belong, sums are right."""
    card = getattr(taps, receiver)
    payload = bytes(number * 7 % 251 for number in range(5000))
    long = ip_frame(card.mac, SOMEONE, payload, l4="tcp", version=version, flags=0x19, right_ip=False, right_l4=False)  # FIN PSH ACK
    loop.run(f"set eth-peer {loop.near} {card.mac}")
    with offloads(loop, *CSUM, "tso set 800 {near}"):
        got = taps.catch(card.number, 7, lambda: loop.launch([long], "csum", (loop.source, loop.near)))
    parts = [transport_of(frame) for frame in got]
    assert all(sums_are_right(frame) for frame in got)
    assert [len(segment) - 20 for _, segment in parts] == [800] * 6 + [200]
    assert b"".join(segment[20:] for _, segment in parts) == payload
    assert [struct.unpack("!I", segment[4:8])[0] for _, segment in parts] == [1000 + 800 * number for number in range(7)]
    assert [segment[13] for _, segment in parts] == [0x10] * 6 + [0x19]
    if version == 4:
        assert [struct.unpack("!H", ip[4:6])[0] for ip, _ in parts] == list(range(1, 8))


def test_many_stops_starts_and_resets(daemon, loop, request):
    for _ in range(rounds(request.config, 50)):
        assert "Done" in loop.run(f"port stop {loop.far}")
        assert "Done" in loop.run(f"port reset {loop.far}")
        assert "Done" in loop.run(f"port start {loop.far}")
    frames = flows(loop.far_mac, 32)
    assert sorted(frame for _, frame in loop.send(frames)) == sorted(frame.ljust(60, b"\0") for frame in frames)
    assert model(daemon, "far")["guest_fault"] == 0
