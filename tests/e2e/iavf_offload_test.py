# SPDX-License-Identifier: BSD-3-Clause
"""The iavf NIC's offloads, on and off: what arrives is what was sent. The receiving stack checks what it can itself."""
import contextlib

import pytest
from harness.iavf import A, B, card, features, script, set_mtu
from harness.traffic import iperf, ping, protocol_errors, put_program, send_file, wait_for_peer
from harness.vmux import wait_until

# rx-fcs gives the stack four bytes more of each frame; the others are not of these frames. Outer tags have a test of
# their own, because the driver does not do both kinds of tags at once.
NOT_HERE = {"rx-fcs", "highdma", "ntuple-filters", "hw-tc-offload", "rx-vlan-filter", "rx-vlan-stag-filter",
            "tx-vlan-stag-hw-insert", "rx-vlan-stag-hw-parse"}
VLANS = (10, 20, 30, 40)


@contextlib.contextmanager
def receiver_checks_itself(guest):
    name = card(guest)
    guest.check(f"ethtool -K {name} rx off")
    try:
        yield
    finally:
        guest.check(f"ethtool -K {name} rx on")


def test_any_offload_on_and_off_carries_the_same_bytes(iavf):
    """Each feature that the driver lets be changed, alone and all together: a megabyte each way, over TCP."""
    name = card(iavf.a)
    states = {feature: is_on for feature, is_on in features(iavf.a, name).items() if feature not in NOT_HERE}
    assert {"rx-checksumming", "tx-checksumming", "scatter-gather", "tcp-segmentation-offload", "receive-hashing",
            "generic-receive-offload", "tx-vlan-offload", "tx-udp_tnl-segmentation", "tx-checksum-sctp"} <= set(states)
    changes = [(f"{feature} {'off' if is_on else 'on'}", f"{feature} {'on' if is_on else 'off'}")
               for feature, is_on in states.items()]
    changes.append(("rx off tx off sg off tso off gso off gro off rxhash off rxvlan off txvlan off",
                    "rx on tx on sg on tso on gso on gro on rxhash on rxvlan on txvlan on"))
    steps = "\n".join(f"ethtool -K {name} {change} >/dev/null 2>&1; turn; ethtool -K {name} {back} >/dev/null 2>&1"
                      for change, back in changes)
    prepare = "test -p /tmp/silence || mkfifo /tmp/silence; dd if=/dev/urandom of=/tmp/sent bs=1k count=1024 2>/dev/null; " \
              "sha256sum </tmp/sent"
    sums = [guest.check(prepare).split()[0] for guest in (iavf.a, iavf.b)]
    take = "nc -l -p {port} <>/tmp/silence >/tmp/got; sha256sum </tmp/got"
    give = "until nc {to} {port} </tmp/sent 2>/dev/null; do sleep 0.05; done"
    with receiver_checks_itself(iavf.b):
        other = iavf.b.spawn(f"for i in $(seq {len(changes)}); do {give.format(to=A, port=5000)}; {take.format(port=5001)}; done")
        got_a = iavf.a.check(f"turn() {{ {take.format(port=5000)}; {give.format(to=B, port=5001)}; }}\n{steps}", timeout=500)
        status, got_b = other.wait()
    assert got_a.split("  -\n")[:-1] == [sums[1]] * len(changes), got_a
    assert status == 0 and got_b.split("  -\n")[:-1] == [sums[0]] * len(changes), got_b
    for feature, is_on in features(iavf.a, name).items():  # what a group's name turned on along with the rest
        if states.get(feature, is_on) != is_on:
            iavf.a.run(f"ethtool -K {name} {feature} {'off' if is_on else 'on'}")
    for guest in (iavf.a, iavf.b):
        assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)


@contextlib.contextmanager
def vlan_links(net, commands):
    """Interfaces over the iavf of both VMs: {card} and {host} are filled in; all are gone afterwards."""
    try:
        for guest, host in ((net.a, 1), (net.b, 2)):
            guest.check("modprobe 8021q; " + commands.format(card=card(guest), host=host))
        yield
    finally:
        for guest in (net.a, net.b):
            guest.run("for l in /sys/class/net/*@* /sys/class/net/[qv][0-9]*; do ip link del $(basename $l) 2>/dev/null; done")


def test_four_vlans_on_a_trunk(iavf):
    vids = " ".join(map(str, VLANS))
    with vlan_links(iavf, f"for v in {vids}; do ip link add link {{card}} name v$v type vlan id $v && ip link set v$v up && "
                          f"ip addr add 10.78.$v.{{host}}/24 dev v$v || exit 1; done"):
        name = card(iavf.a)
        for setting in ("rxvlan off txvlan off", "rxvlan on txvlan on"):
            script(iavf.a, f"ethtool -K {name} {setting}; for v in {vids}; do until_true answers 10.78.$v.2 && "
                           f"ping -q -c 3 -i 0.05 -w 60 -s 3000 10.78.$v.2 || exit 1; done")
        for vid in VLANS[:2]:
            send_file(iavf.a, iavf.b, f"10.78.{vid}.2", megabytes=2)
        assert ping(iavf.a, B, count=3).loss == 0  # untagged beside them
        iavf.b.check("ip link del v40")
        assert iavf.a.run("ping -c 2 -i 0.2 -W 1 10.78.40.2").status != 0
    assert ping(iavf.a, B, count=3).loss == 0


@pytest.mark.exhaustive
def test_vlans_within_a_vlan(iavf):
    """QinQ (802.1ad outside, 802.1Q inside): the card moves outer tags of the one kind or of the other, as it is told."""
    name, service = card(iavf.a), ("tx-vlan-stag-hw-insert", "rx-vlan-stag-hw-parse")
    with vlan_links(iavf, "ip link add link {card} name q100 type vlan proto 802.1ad id 100 && ip link set q100 up && "
                          "ip link add link q100 name q100.5 type vlan id 5 && ip link set q100.5 up && "
                          "ip addr add 10.79.0.{host}/24 dev q100.5"):
        for state in (True, False):
            own, others = ("on", "off") if state else ("off", "on")  # both kinds together are not to be had
            iavf.a.check(f"ethtool -K {name} rxvlan off txvlan off && ethtool -K {name} " +
                         " ".join(f"{feature} {own}" for feature in service) + f" && ethtool -K {name} rxvlan {others} txvlan {others}")
            assert all(features(iavf.a, name)[feature] == state for feature in service)
            wait_for_peer(iavf.a, "10.79.0.2")
            assert ping(iavf.a, "10.79.0.2", count=5, size=1400).loss == 0
            send_file(iavf.a, iavf.b, "10.79.0.2", megabytes=2)
            send_file(iavf.b, iavf.a, "10.79.0.1", megabytes=2)


def test_jumbo_frames(iavf):
    """The usual size, and the longest that the driver has: 9728 bytes with both VLAN tags and the FCS."""
    for mtu in (9000, 9702):
        for guest in (iavf.a, iavf.b):
            set_mtu(guest, mtu)
        wait_for_peer(iavf.a, B)
        assert ping(iavf.a, B, count=5, size=mtu - 28, extra="-M do").loss == 0
        send_file(iavf.a, iavf.b, B, megabytes=4)


TUNNELS = {
    "vxlan": "type vxlan id 42 local {mine} remote {peer} dstport 4789 udpcsum",
    "vxlan-without-sum": "type vxlan id 43 local {mine} remote {peer} dstport 4790 noudpcsum",
    "geneve": "type geneve id 44 remote {peer} udpcsum",
    "geneve-over-ipv6": "type geneve id 45 remote {peer6} dstport 6082 udp6zerocsumtx udp6zerocsumrx",
}


@pytest.mark.exhaustive
def test_tunnels(iavf):
    """Super-frames inside UDP tunnels: the NIC makes segments of them, with the inner checksums and, where asked, the outer."""
    states = features(iavf.a, card(iavf.a))
    assert states["tx-udp_tnl-segmentation"] and states["tx-udp_tnl-csum-segmentation"]
    links = " ".join(f"t{number}" for number in range(len(TUNNELS)))
    try:
        for guest, host, mine, peer in ((iavf.a, 1, A, B), (iavf.b, 2, B, A)):
            guest.check(f"modprobe vxlan && modprobe geneve && ip -6 addr add fd77::{host}/64 dev {card(guest)} nodad")
            for number, link in enumerate(TUNNELS.values()):
                guest.check(f"ip link add t{number} mtu 1400 {link.format(mine=mine, peer=peer, peer6=f'fd77::{3 - host}')} && "
                            f"ip link set t{number} up && ip addr add 10.9{number}.0.{host}/24 dev t{number}")
        with receiver_checks_itself(iavf.b):
            for number, kind in enumerate(TUNNELS):
                wait_for_peer(iavf.a, f"10.9{number}.0.2")
                before = iavf.vmux.stats("a")["counters"]
                send_file(iavf.a, iavf.b, f"10.9{number}.0.2", megabytes=2)
                after = iavf.vmux.stats("a")["counters"]
                mean = (after["rx_bytes"] - before["rx_bytes"]) / (after["rx_frames"] - before["rx_frames"])
                assert mean > 1600, f"{kind}: frames of {mean} bytes: the stack cut them itself"
                send_file(iavf.b, iavf.a, f"10.9{number}.0.1", megabytes=1)
        for guest in (iavf.a, iavf.b):
            assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)
    finally:
        for guest in (iavf.a, iavf.b):
            guest.run(f"for l in {links}; do ip link del $l; done; ip -6 addr flush dev {card(guest)} scope global")


def test_udp_super_frames(iavf):
    """UDP_SEGMENT: the card makes datagrams of one size of what a program wrote at once, as many as it takes."""
    program = put_program(iavf.a, "udp-segments")
    put_program(iavf.b, "udp-segments")
    assert features(iavf.a, card(iavf.a))["tx-udp-segmentation"]
    with receiver_checks_itself(iavf.b):
        for segment, length in ((1472, 60000), (100, 6350)):
            iavf.a.check(f"dd if=/dev/urandom of=/tmp/sent bs={length} count=1")

            def arrives_whole():  # it is UDP: what a guest is too slow to take is lost
                taking = iavf.b.spawn(f"{program} 6000 {length} >/tmp/got")
                iavf.b.check("until grep -q ':1770 ' /proc/net/udp; do sleep 0.1; done")
                before = iavf.vmux.stats("a")["counters"]
                iavf.a.check(f"{program} {B} 6000 {segment} </tmp/sent")
                iavf.b.run(f"for i in $(seq 100); do test $(wc -c </tmp/got) -ge {length} && break; sleep 0.1; done")
                taking.kill("KILL")
                after = iavf.vmux.stats("a")["counters"]
                assert after["rx_bytes"] - before["rx_bytes"] > length
                assert after["rx_frames"] - before["rx_frames"] < length / segment / 2, "the stack cut it itself"
                return iavf.b.check("sha256sum </tmp/got") == iavf.a.check("sha256sum </tmp/sent")

            wait_until(arrives_whole, f"{length} bytes in datagrams of {segment}")
    assert protocol_errors(iavf.b)["Udp.InCsumErrors"] == 0


def sctp_counters(guest):
    return {line.split()[0]: int(line.split()[1]) for line in guest.check("cat /proc/net/sctp/snmp").splitlines()}


def test_sctp_checksums(iavf):
    """CRC32c made by the NIC, verified by the stack of the receiver; then the same with the offload off."""
    for guest in (iavf.a, iavf.b):
        guest.check("modprobe sctp")
    name = card(iavf.a)
    assert features(iavf.a, name)["tx-checksum-sctp"]
    try:
        with receiver_checks_itself(iavf.b):
            for state in ("on", "off"):
                iavf.a.check(f"ethtool -K {name} tx-checksum-sctp {state}")
                before = sctp_counters(iavf.b)
                iperf(iavf.a, iavf.b, B, seconds=1, options="--sctp")
                after = sctp_counters(iavf.b)
                assert after["SctpInSCTPPacks"] - before["SctpInSCTPPacks"] > 20, after
                assert after["SctpChecksumErrors"] == 0, after
        iperf(iavf.a, iavf.b, B, seconds=1, options="--sctp -R")
        assert sctp_counters(iavf.a)["SctpChecksumErrors"] == 0
    finally:
        iavf.a.check(f"ethtool -K {name} tx-checksum-sctp on")
