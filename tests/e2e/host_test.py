# SPDX-License-Identifier: BSD-3-Clause
"""A VM and the host: uplinks to a tap, and to a network device through DPDK."""
import contextlib
import subprocess
from types import SimpleNamespace

import pytest
from conftest import Rig
from harness.traffic import answered, check_restart, give_address, iperf_with_host, mbits, ping, protocol_errors, udp_arrives, wait_for_peer
from harness.vmux import wait_until

HOST = "10.78.0.100"
VM = "10.78.0.1"


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def tap(lan, name="vmuxtap0", *options):
    lan.vmux.ctl("uplink", "add", "tap", "--backend", "tap", "--device", name, *options)
    try:
        sh(f"ip addr add {HOST}/24 dev {name} && ip link set {name} up")
        yield name
    finally:
        lan.vmux.ctl("uplink", "remove", "tap")


def test_ping_and_iperf_over_tap(pair):
    with tap(pair):
        give_address(pair.a, f"{VM}/24")
        wait_for_peer(pair.a, HOST)
        assert ping(pair.a, HOST, count=20).loss == 0
        assert answered(sh(f"ping -c 20 -i 0.05 -w 60 {VM}"), 20) == 20
        assert mbits(iperf_with_host(pair.a, HOST)) > 1
        assert mbits(iperf_with_host(pair.a, HOST, options="-R")) > 1
        udp_arrives(lambda: iperf_with_host(pair.a, HOST, seconds=2, options="-u -b 2M"))
        assert set(protocol_errors(pair.a).values()) == {0}


@pytest.mark.parametrize("on_host", ["on", "off"])
@pytest.mark.parametrize("in_vm", ["on", "off"])
def test_file_crosses_the_tap_whole(pair, in_vm, on_host, tmp_path):
    """Both ways, with offloads of VM and host on and off: virtio-net headers on the tap say who finishes what."""
    content = tmp_path / "file"
    with tap(pair) as name:
        sh(f"ethtool -K {name} tx {on_host} tso {on_host} gso {on_host} gro {on_host}")
        check_restart(pair.a, f"ethtool -K eth0 tx {in_vm} rx {in_vm} tso {in_vm}")
        give_address(pair.a, f"{VM}/24")
        wait_for_peer(pair.a, HOST)
        sh(f"head -c 6M /dev/urandom >{content}")
        expected = sh(f"sha256sum <{content}")
        server = subprocess.Popen(["busybox", "nc", "-l", "-p", "5055"], stdin=open(content, "rb"),
                                  stdout=open(tmp_path / "back", "wb"))
        try:
            script = (f"test -p /tmp/silence || mkfifo /tmp/silence; for i in $(seq 1 100); do nc {HOST} 5055 <>/tmp/silence >/tmp/file && test -s /tmp/file && break; "
                      f"sleep 0.2; done; sha256sum </tmp/file")
            assert pair.a.check(script, timeout=240) == expected
        finally:
            server.kill()
            server.wait()
        server = subprocess.Popen(["busybox", "nc", "-l", "-p", "5056"], stdin=subprocess.PIPE,
                                  stdout=open(tmp_path / "back", "wb"))
        try:
            pair.a.check(f"for i in $(seq 1 100); do nc {HOST} 5056 </tmp/file && exit 0; sleep 0.2; done; exit 1", timeout=240)
            server.wait(120)
        finally:
            server.kill()
        assert sh(f"sha256sum <{tmp_path / 'back'}") == expected
        check_restart(pair.a, "ethtool -K eth0 tx on rx on tso on")


def test_vm_to_vm_still_works_beside_the_uplink(pair):
    with tap(pair):
        assert ping(pair.a, pair.address_b).loss == 0


def test_dpdk_af_packet_uplink(pair):
    """An ethdev named by its EAL device argument: af_packet on one end of a veth pair, the host on the other."""
    sh("ip link add vmuxv0 type veth peer name vmuxv1 && ip link set vmuxv0 up && ip link set vmuxv1 up && "
       f"ip addr add {HOST}/24 dev vmuxv1 && ethtool -K vmuxv1 tx off >/dev/null")
    try:
        pair.vmux.ctl("uplink", "add", "wire", "--backend", "dpdk", "--device", "net_af_packet0,iface=vmuxv0")
        try:
            give_address(pair.a, f"{VM}/24")
            wait_for_peer(pair.a, HOST)
            assert ping(pair.a, HOST, count=20).loss == 0
            assert mbits(iperf_with_host(pair.a, HOST)) > 1
        finally:
            pair.vmux.ctl("uplink", "remove", "wire")
    finally:
        sh("ip link del vmuxv0")


@pytest.fixture(scope="module")
def three_nics(tmp_path_factory):
    """A VM whose eth0 has a tap of its own, by flags, and whose eth1 and eth2 are on two pollers of one switch."""
    rig = Rig(tmp_path_factory.mktemp("three"))
    daemon = rig.vmux("--pollers", "2", "-s", rig.directory / "one.sock", "-m", "e1000-emu", "-t", "vmuxtap2")
    sockets = [daemon.add_port(f"nic{number}", "--poller", number) for number in range(2)]
    guest = rig.boot(rig.guest("three", sockets=[rig.directory / "one.sock", *sockets]))
    yield SimpleNamespace(vmux=daemon, guest=guest)
    rig.close()


def test_flag_t_gives_a_port_and_its_tap(three_nics):
    vmux, guest = three_nics.vmux, three_nics.guest
    sh(f"ip addr add {HOST}/24 dev vmuxtap2 && ip link set vmuxtap2 up")
    give_address(guest, f"{VM}/24")
    wait_for_peer(guest, HOST)
    assert ping(guest, HOST).loss == 0
    assert len(vmux.ctl("uplink", "list")) == 1
    guest.check("ip -4 addr flush dev eth0")
    sh(f"ip addr del {HOST}/24 dev vmuxtap2")


def test_queues_of_a_tap_are_spread_over_pollers(three_nics):
    """Each NIC talks to the host by the queue on its own poller, both ways, and hears the other one's floods."""
    vmux, guest = three_nics.vmux, three_nics.guest
    with tap(three_nics, "vmuxtap1", "--queues", "2", "--poller", "1") as name:
        sh(f"ip addr add 10.79.0.100/24 dev {name}")
        for interface, address, host in (("eth1", VM, HOST), ("eth2", "10.79.0.1", "10.79.0.100")):
            give_address(guest, f"{address}/24", interface)
            wait_for_peer(guest, host)
            before = lanes_of(vmux)
            assert mbits(iperf_with_host(guest, host, seconds=1, options="-P 4")) > 1
            assert mbits(iperf_with_host(guest, host, seconds=1, options="-P 4 -R")) > 1
            moved = {poller: after - before[poller] for poller, after in lanes_of(vmux).items()}
            home = int(interface[3]) - 1
            assert moved[home] > 300 and moved[1 - home] < moved[home] / 10, f"{interface}: {moved}"

        def is_the_sum_of_its_lanes():  # they are read one after the other
            uplink = next(one for one in vmux.ctl("uplink", "list") if one["name"] == "tap")
            assert uplink["pollers"] == [1, 0]
            return all(uplink["counters"][counter] == sum(lane["counters"][counter] for lane in uplink["lanes"])
                       for counter in ("rx_frames", "tx_frames"))

        wait_until(is_the_sum_of_its_lanes, "the counters of the tap to be the sums of its lanes'")
        assert set(protocol_errors(guest).values()) == {0}


def lanes_of(vmux):
    """Frames that each poller moved between the tap and the switch."""
    uplink = next(one for one in vmux.ctl("uplink", "list") if one["name"] == "tap")
    return {lane["poller"]: lane["counters"]["rx_frames"] + lane["counters"]["tx_frames"] for lane in uplink["lanes"]}
