# SPDX-License-Identifier: BSD-3-Clause
"""A VM and the host: uplinks to a tap, and to a network device through DPDK."""
import contextlib
import subprocess

import pytest
from harness.traffic import (give_address, iperf_with_host, mbits, ping, protocol_errors, wait_for_peer)

HOST = "10.78.0.100"
VM = "10.78.0.1"


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
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
        assert " 0% packet loss" in sh(f"ping -c 20 -i 0.05 {VM}")
        assert mbits(iperf_with_host(pair.a, HOST)) > 10
        assert mbits(iperf_with_host(pair.a, HOST, options="-R")) > 10
        assert iperf_with_host(pair.a, HOST, options="-u -b 10M")["sum"]["lost_percent"] < 10
        assert set(protocol_errors(pair.a).values()) == {0}


@pytest.mark.parametrize("on_host", ["on", "off"])
@pytest.mark.parametrize("in_vm", ["on", "off"])
def test_file_crosses_the_tap_whole(pair, in_vm, on_host, tmp_path):
    """Both ways, with offloads of VM and host on and off: virtio-net headers on the tap say who finishes what."""
    content = tmp_path / "file"
    with tap(pair) as name:
        sh(f"ethtool -K {name} tx {on_host} tso {on_host} gso {on_host} gro {on_host}")
        pair.a.check(f"ethtool -K eth0 tx {in_vm} rx {in_vm} tso {in_vm}")
        give_address(pair.a, f"{VM}/24")
        wait_for_peer(pair.a, HOST)
        sh(f"head -c 6M /dev/urandom >{content}")
        expected = sh(f"sha256sum <{content}")
        server = subprocess.Popen(["busybox", "nc", "-l", "-p", "5055"], stdin=open(content, "rb"),
                                  stdout=open(tmp_path / "back", "wb"))
        try:
            script = (f"test -p /tmp/silence || mkfifo /tmp/silence; for i in $(seq 1 20); do nc {HOST} 5055 <>/tmp/silence >/tmp/file && test -s /tmp/file && break; "
                      f"sleep 0.2; done; sha256sum </tmp/file")
            assert pair.a.check(script, timeout=90) == expected
        finally:
            server.kill()
            server.wait()
        server = subprocess.Popen(["busybox", "nc", "-l", "-p", "5056"], stdin=subprocess.PIPE,
                                  stdout=open(tmp_path / "back", "wb"))
        try:
            pair.a.check(f"for i in $(seq 1 20); do nc {HOST} 5056 </tmp/file && exit 0; sleep 0.2; done; exit 1", timeout=90)
            server.wait(30)
        finally:
            server.kill()
        assert sh(f"sha256sum <{tmp_path / 'back'}") == expected
        pair.a.check("ethtool -K eth0 tx on rx on tso on")


def test_vm_to_vm_still_works_beside_the_uplink(pair):
    with tap(pair):
        assert ping(pair.a, pair.address_b).loss == 0


def test_tap_of_several_queues(pair):
    with tap(pair, "vmuxtap1", "--queues", "2"):
        give_address(pair.a, f"{VM}/24")
        wait_for_peer(pair.a, HOST)
        assert mbits(iperf_with_host(pair.a, HOST, options="-P 4")) > 10
        assert mbits(iperf_with_host(pair.a, HOST, options="-P 4 -R")) > 10


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


def test_flag_t_gives_a_port_and_its_tap(rig):
    daemon = rig.vmux("-s", rig.directory / "one.sock", "-m", "e1000-emu", "-t", "vmuxtap2")
    guest = rig.boot(rig.guest("one", sockets=[rig.directory / "one.sock"]))
    sh(f"ip addr add {HOST}/24 dev vmuxtap2 && ip link set vmuxtap2 up")
    give_address(guest, f"{VM}/24")
    wait_for_peer(guest, HOST)
    assert ping(guest, HOST).loss == 0
    assert len(daemon.ctl("uplink", "list")) == 1
