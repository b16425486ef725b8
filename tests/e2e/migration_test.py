# SPDX-License-Identifier: BSD-3-Clause
"""VMs that migrate to another QEMU, whose NIC is served by another daemon, with a TCP connection that goes on: the ways of
docs/migration.md. And what a stock QEMU does with a vfio-user NIC that stays plugged in: it forgets it."""
import contextlib
import json
import shlex
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import and_exhaustively
from guest import CACHE, Guest, Qmp
from harness import unnoticed
from harness.interposer import BDF, VfioGuest
from harness.machine import TestedMachine
from harness.traffic import give_address, ping, wait_for_peer
from harness.vmux import wait_until

HOST, VM = "10.77.9.100", "10.77.9.1"
MAC = "52:54:00:00:09:01"
BRIDGE = "vmuxmig"
PORT = 5009
SLOT = 5  # of the machine without a program
BARS = {"e1000": {0x10: 0xfe000000}, "iavf": {0x10: 0xf8000000, 0x14: 0, 0x1c: 0xfe400000, 0x20: 0}}
FCAL, VFQRX_TAIL = 0x28, 0x2000  # registers that keep what is written to them
KEEPS = {"e1000": FCAL, "iavf": VFQRX_TAIL}


class Lines:
    """The host's end of a TCP connection over which a guest says 1, 2, 3, ..., a line at a time."""

    def __init__(self):
        self.last, self.trouble = 0, None
        self._listener = socket.create_server((HOST, PORT))
        self._connection = socket.socket()  # none yet
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        try:
            self._connection, _ = self._listener.accept()
            with self._connection, self._connection.makefile() as lines:
                for line in lines:
                    if int(line) != self.last + 1:
                        self.trouble = f"{line.strip()} after {self.last}"
                        return
                    self.last += 1
            self.trouble = "the connection ended"
        except (OSError, ValueError) as error:
            self.trouble = repr(error)

    def go_on(self, count=10):
        """That many more have come."""
        last = self.last
        wait_until(lambda: self.trouble or self.last >= last + count, f"lines to come after {last}", timeout=180)
        assert self.trouble is None, self.trouble

    def close(self):
        for each in (self._listener, self._connection):  # which wakes who waits there: a close would not
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()


class Incoming:
    """What a guest is that comes from another QEMU; mixed into one of the lab's kinds of guests."""

    def command_line(self):
        line = super().command_line()
        at = line.index("--") + 1 if "--" in line else 0
        assert line[at:]
        return [*line, "-incoming", "defer"]

    def prepare(self):
        """QEMU runs and waits."""
        self.launch()
        deadline = time.monotonic() + 180
        self._agent = self._accept(self._listener, deadline)
        self._qmp = Qmp(self._accept(self._qmp_listener, deadline))
        return self

    def take_over(self, source):
        self.boot_id = source.boot_id


class IncomingGuest(Incoming, Guest):
    pass


class IncomingVfioGuest(Incoming, VfioGuest):
    pass


def finished(guest, timeout=180):
    """How its migration ended."""
    ends = ("completed", "failed", "cancelled")
    return wait_until(lambda: (state := guest.qmp("query-migrate").get("status")) in ends and state, "the migration to end",
                      timeout=timeout, pause=0.2)


def migrate(source, target, directory):
    """vfio-user has no message that asks how much state there is, so QEMU reckons with 100 GiB of it."""
    stream = f"unix:{directory / 'stream'}"
    source.qmp("migrate-set-parameters", **{"downtime-limit": 2_000_000, "avail-switchover-bandwidth": 10 ** 12})
    target.qmp("migrate-incoming", uri=stream)
    source.qmp("migrate", uri=stream)
    assert finished(source) == "completed"
    wait_until(lambda: target.qmp("query-status")["running"], "the VM to run at its destination")
    target.take_over(source)


def move_unnoticed(rig, lines, source, target, directory):
    """The guest goes on talking, and sees nothing but a pause."""
    with unnoticed.nothing({source: "eth0"}) as places:
        target.prepare()
        migrate(source, target, directory)
        rig.forget(source)
        places[source] = target
        lines.go_on(40)
        assert ping(target, HOST, count=20).loss == 0


def event(guest, name):
    guest.qmp("query-status")  # which reads what has come
    return any(each["event"] == name for each in guest._qmp.events)


@pytest.fixture
def net(rig):
    """Two daemons, each with a tap on one and the same bridge of the host, which is the peer of the VM that moves."""
    def sh(command):
        subprocess.run(command, shell=True, check=True, timeout=60)
    sh(f"ip link add {BRIDGE} type bridge && ip addr add {HOST}/24 dev {BRIDGE} && ip link set {BRIDGE} up")
    try:
        daemons = []
        for name in ("here", "there"):
            daemon = rig.vmux(name=name)
            daemon.ctl("uplink", "add", "host", "--backend", "tap", "--device", f"vmux{name}")
            sh(f"ip link set vmux{name} master {BRIDGE} && ip link set vmux{name} up")
            daemons.append(daemon)
        lines = Lines()
        try:
            yield daemons[0], daemons[1], lines
        finally:
            lines.close()
    finally:
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, timeout=60)


def start_talking(guest, lines, interface="eth0"):
    wait_until(lambda: guest.run(f"test -e /sys/class/net/{interface}").status == 0, f"{interface} to be there")
    give_address(guest, f"{VM}/24", interface)
    wait_for_peer(guest, HOST)
    guest.spawn(f"(i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done) | nc {HOST} {PORT}")
    lines.go_on()


@pytest.mark.parametrize("model", and_exhaustively(["iavf", "virtio-net"], ["e1000"]))
def test_behind_the_interposer_the_state_goes_along(rig, net, tmp_path, model):
    """QEMU's vfio-pci knows VFIO's migration: the guest sees nothing but a pause."""
    here, there, lines = net
    card = dict(kernel="6.12", device=f"vfio-pci,host={BDF},enable-migration=on")
    source = VfioGuest("source", here.add_port("vm", "--mac", MAC, model=model), **card)
    target = IncomingVfioGuest("target", there.add_port("vm", "--mac", MAC, model=model), **card)
    rig.adopt(source)
    rig.adopt(target)
    rig.boot(source)
    start_talking(source, lines)
    move_unnoticed(rig, lines, source, target, tmp_path)


def test_virtio_net_over_vhost_user_migrates_as_any_virtio_net(rig, net, tmp_path):
    """The card is QEMU's own and its state goes with QEMU's; vMux tells which pages it has written."""
    here, there, lines = net

    def args(daemon):
        daemon.add_port("vm", "--transport", "vhost-user", "--mac", MAC, model="virtio-net")
        said = daemon.ctl("vm-args", "vm", "--vmm", "qemu")["lines"]
        return [word for line in said if line.startswith(("-chardev", "-netdev", "-device")) for word in shlex.split(line)]

    source = rig.guest("source", kernel="6.12", qemu_args=args(here))
    target = IncomingGuest("target", kernel="6.12", qemu_args=args(there))
    rig.adopt(target)
    rig.boot(source)
    start_talking(source, lines)
    move_unnoticed(rig, lines, source, target, tmp_path)


def nic(path):
    return {"driver": "vfio-user-pci", "id": "nic", "bus": "port9", "socket": {"type": "unix", "path": str(path)}}


SLOT_ARGS = ["-device", "pcie-root-port,id=port9,chassis=9,slot=9"]


def test_unplugged_before_and_plugged_in_after(rig, net, tmp_path):
    """The VM has no NIC meanwhile; its connections wait for the address to come back."""
    here, there, lines = net
    source = rig.guest("source", kernel="6.12",
                       qemu_args=[*SLOT_ARGS, "-device", json.dumps(nic(here.add_port("vm", "--mac", MAC)))])
    target = IncomingGuest("target", kernel="6.12", qemu_args=SLOT_ARGS)
    rig.adopt(target)
    path = there.add_port("vm", "--mac", MAC)
    rig.boot(source)
    start_talking(source, lines)
    source.qmp("device_del", id="nic")
    wait_until(lambda: event(source, "DEVICE_DELETED"), "the guest to let its NIC go")
    wait_until(lambda: not here.is_connected("vm"), "QEMU to have left")
    target.prepare()
    migrate(source, target, tmp_path)
    rig.forget(source)
    target.qmp("device_add", **nic(path))
    wait_until(lambda: target.run("test -e /sys/class/net/eth0").status == 0, "the NIC to come back")
    give_address(target, f"{VM}/24")
    wait_for_peer(target, HOST)
    lines.go_on(40)


@pytest.mark.exhaustive
def test_unplugging_a_card_with_msix_ends_qemu(rig):
    """Of QEMU 11.1, and why docs/migration.md has a failover pair for these cards: what it does last to such a device is an assertion
    that fails. When this test does, a newer QEMU does better, and that page is to say so."""
    here = rig.vmux()
    guest = rig.guest("vm", kernel="6.12", qemu_args=[*SLOT_ARGS, "-device", json.dumps(nic(here.add_port("vm", model="iavf")))])
    rig.boot(guest)
    guest.qmp("device_del", id="nic")
    assert guest.process.wait(120) == -signal.SIGABRT
    assert "memory_region_del_subregion" in (guest.directory / "qemu.log").read_text()


def test_failover_pair_stands_by_meanwhile(rig, net, tmp_path):
    """QEMU unplugs the NIC itself, and plugs one in at the destination; a virtio-net card, which migrates, stands by."""
    here, there, lines = net

    def args(daemon, tap):
        path = daemon.add_port("vm", "--mac", MAC, model="iavf")
        return [*SLOT_ARGS, "-device", "pcie-root-port,id=port10,chassis=10,slot=10",
                "-netdev", f"tap,id=standby,ifname={tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,id=pair,netdev=standby,mac={MAC},failover=on,bus=port10",
                "-device", json.dumps({**nic(path), "failover_pair_id": "pair"})]
    taps = ("vmuxsb0", "vmuxsb1")
    for tap in taps:
        subprocess.run(f"ip tuntap add {tap} mode tap && ip link set {tap} master {BRIDGE} && ip link set {tap} up", shell=True,
                       check=True, timeout=60)
    try:
        source = rig.guest("source", kernel="6.12", qemu_args=args(here, taps[0]))
        target = IncomingGuest("target", kernel="6.12", qemu_args=args(there, taps[1]))
        rig.adopt(target)
        rig.boot(source)
        wait_until(lambda: here.is_connected("vm"), "the NIC to be plugged in")
        source.check("modprobe iavf")  # nothing in a lab's guest loads the driver of what is plugged in
        # The failover driver's interface is the one that the other two belong to.
        wait_until(lambda: len(source.run("ls -d /sys/class/net/eth0/lower_*").output.split()) == 2, "the two to be a pair")
        start_talking(source, lines)
        target.prepare()
        migrate(source, target, tmp_path)
        rig.forget(source)
        lines.go_on(40)
        wait_until(lambda: there.is_connected("vm"), "the NIC to be plugged in at the destination")
        wait_until(lambda: len(target.run("ls -d /sys/class/net/eth0/lower_*").output.split()) == 2, "the two to be a pair again")
        lines.go_on(40)
    finally:
        for tap in taps:
            subprocess.run(["ip", "link", "del", tap], check=False, timeout=60)


@contextlib.contextmanager
def machine(directory, name, path, *more):
    device = {"driver": "vfio-user-pci", "id": "nic", "addr": f"{SLOT:#x}", "socket": {"type": "unix", "path": str(path)}}
    line = [str(CACHE / "bin" / "qemu-system-x86_64"), "-nodefaults", "-display", "none", "-machine", "q35,memory-backend=ram",
            "-m", "64", "-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-device", json.dumps(device), *more]
    made = TestedMachine(directory, name, lambda rest: line + rest)
    try:
        yield made
    finally:
        made.close()


def read_config(made, register):
    made._do(f"outl 0xcf8 {1 << 31 | SLOT << 11 | register:#x}")
    return int(made._do("inl 0xcfc")[0], 16)


def msix_at(made):
    """Where its MSI-X capability is, or None."""
    at = read_config(made, 0x34) & 0xff
    while at:
        header = read_config(made, at)
        if header & 0xff == 0x11:
            return at
        at = header >> 8 & 0xff
    return None


@pytest.mark.parametrize("model", BARS)
def test_stock_qemu_forgets_a_nic_that_stays_plugged_in(rig, tmp_path, model):
    """No blocker, no error, no warning: at its destination the NIC is as after a reset, and the guest's driver looks at nothing."""
    here, there = rig.vmux(name="here"), rig.vmux(name="there")
    paths = [daemon.add_port("vm", "--mac", MAC, model=model) for daemon in (here, there)]
    with machine(tmp_path, "source", paths[0]) as source, machine(tmp_path, "target", paths[1], "-incoming", "defer") as target:
        for register, value in BARS[model].items():
            source.write_config(SLOT, register, value)
        source.write_config(SLOT, 0x04, 7)
        base = BARS[model][0x10]
        source.write(base + KEEPS[model], 0x123, 4)
        assert source.read(base + KEEPS[model], 4) == 0x123
        msix = msix_at(source)
        if msix:
            source.write_config(SLOT, msix, read_config(source, msix) | 1 << 31)
        assert "blocked-reasons" not in source.qmp("query-migrate")
        stream = f"unix:{tmp_path / 'stream'}"
        target.qmp("migrate-incoming", uri=stream)
        source.qmp("migrate", uri=stream)
        assert source.wait_for_migration() == "completed" and target.wait_for_migration() == "completed"
        assert target.qmp("query-status")["running"]
        assert read_config(target, 0x10) & ~0xf == 0, "a BAR that has moved along: docs/migration.md says otherwise"
        assert read_config(target, 0x04) & 7 == 0
        assert target.read(base + KEEPS[model], 4) != 0x123  # nothing answers there
        if msix:
            assert read_config(target, msix) >> 31 == 0
        assert "vfio" not in target.log() and "vfio" not in source.log()
