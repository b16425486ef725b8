# SPDX-License-Identifier: BSD-3-Clause
"""Virtio functions behind vhost-user ports, on the kernel's real VFIO and VT-d: DPDK's virtio-user, a small disk driver, and
SeaBIOS in a VM of this VM are the guests."""
import os
import random
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent),
                str(Path(__file__).resolve().parent.parent.parent.parent / "lab")]
from guest import CACHE, Qmp  # noqa: E402
from harness import BIN  # noqa: E402
from harness.virtio_user import MACS, VirtioUserLoop  # noqa: E402
from harness.vmux import Vmux, wait_until  # noqa: E402
from harness.wire import udp_frame  # noqa: E402
from vhost_blk import READ, WRITE, Disk  # noqa: E402

def functions(kind):
    """Modern ones: the host VM's own cards are transitional."""
    return sorted(path.name for path in Path("/sys/bus/pci/devices").iterdir()
                  if (path / "vendor").read_text().strip() == "0x1af4" and int((path / "device").read_text(), 16) == 0x1040 + kind)


CARDS, (DISK, SAME_DISK) = functions(1), functions(2)


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def sysfs(address):
    return Path("/sys/bus/pci/devices") / address


@pytest.fixture(scope="session")
def bound():
    sh(f"{BIN}/vmuxctl host bind {' '.join(CARDS)} {DISK} {SAME_DISK}")


@pytest.fixture
def daemon(bound, tmp_path):
    made = Vmux(tmp_path / "vmux").start()
    yield made
    print(made.story())
    assert made.is_alive(), made.log()
    assert made.stop() == 0, made.log()


def add_cards(daemon, *options):
    return [daemon.add_port(name, "--device", address, "--mac", mac, *options, model="vdpa-net")
            for (name, mac), address in zip(MACS.items(), CARDS)]


def serving(daemon, name):
    return daemon.ctl("port", "show", name)["serving"]


def wait_for(daemon, how, *names):
    for name in names:
        wait_until(lambda: serving(daemon, name) == how, f"{name} to be served {how}: {daemon.ctl('port', 'show', name)}\n{daemon.log()}")


def frames(count):
    return [udp_frame(MACS["far"], MACS["near"], random.Random(number).randbytes(20 + number * 13 % 1300)) for number in range(count)]


@pytest.mark.parametrize("how, mode", [("packed_vq=0,in_order=0,mrg_rxbuf=1", "direct"), ("packed_vq=1,in_order=0,mrg_rxbuf=1", "shadow")])
def test_frames_go_from_card_to_card(daemon, tmp_path, how, mode):
    loop = VirtioUserLoop(add_cards(daemon), tmp_path, how)
    try:
        wait_for(daemon, mode, *MACS)
        sent = frames(100)
        assert sorted(loop.send(sent)) == sorted(sent)
        assert serving(daemon, "near") == mode
        chains = daemon.stats("near")["model"]["vf.shadow_chains"]
        assert chains >= 100 if mode == "shadow" else chains == 0, chains
    finally:
        loop.kill()


def test_software_serves_while_functions_are_away(daemon, tmp_path):
    """Both are taken back by the host: their guests meet on the switch. Given again, they are used again."""
    loop = VirtioUserLoop(add_cards(daemon), tmp_path, "packed_vq=0,in_order=0,mrg_rxbuf=1")
    try:
        wait_for(daemon, "direct", *MACS)
        sent = frames(100)
        assert sorted(loop.send(sent)) == sorted(sent)
        for address in CARDS:
            (sysfs(address) / "driver/unbind").write_text(address)
        wait_for(daemon, "software", *MACS)
        assert sorted(loop.send(sent)) == sorted(sent)
        assert daemon.stats("near")["counters"]["rx_frames"] >= 100
        for address in CARDS:
            Path("/sys/bus/pci/drivers/vfio-pci/bind").write_text(address)
        wait_for(daemon, "shadow", *MACS)
        assert sorted(loop.send(sent)) == sorted(sent)
        events = [event["detail"] for event in daemon.ctl("events")["events"] if event["event"] == "serving" and event["name"] == "near"]
        assert events[-2:] == ["software", "shadow"], events
    finally:
        loop.kill()


def test_the_next_vm_finds_a_function_as_new(daemon, tmp_path):
    sockets = add_cards(daemon)
    for number in range(2):
        loop = VirtioUserLoop(sockets, tmp_path, "packed_vq=0,in_order=0,mrg_rxbuf=1")
        try:
            wait_for(daemon, "direct", *MACS)
            sent = frames(50)
            assert sorted(loop.send(sent)) == sorted(sent)
        finally:
            loop.kill()
        wait_until(lambda: not daemon.is_connected("near"), "the first VM to be gone")
        assert daemon.stats("near")["model"]["dma.pages_pinned"] == 0


def test_a_disk_keeps_what_is_written(daemon):
    disk = Disk(daemon.add_port("disk", "--device", DISK, model="vdpa-blk"))
    assert disk.capacity() == 16 << 20
    wait_for(daemon, "shadow", "disk")
    noise = random.Random(1)
    written = {}
    for _ in range(40):
        sector = noise.randrange(680) * 48
        if sector // 48 in written:
            continue
        written[sector // 48] = noise.randbytes(24576)
        disk.write(sector, written[sector // 48])
    disk.flush()
    for place, data in written.items():
        assert disk.read(place * 48, len(data)) == data
    disk.close()
    wait_until(lambda: not daemon.is_connected("disk"), "the first VM to be gone")
    again = Disk(daemon.socket("disk"))
    for place, data in list(written.items())[:5]:
        assert again.read(place * 48, len(data)) == data
    again.close()


def test_a_disk_stops_with_requests_under_way(daemon):
    """As for a VM that is stopped: what was done is counted, and no more; the rest is done when it goes on."""
    disk = Disk(daemon.add_port("disk", "--device", DISK, model="vdpa-blk"))
    noise = random.Random(2)
    for number in range(30):
        data = [noise.randbytes(16384) for _ in range(16)]
        heads = [disk.post(WRITE, 32 * i, data=block) for i, block in enumerate(data)]
        base = disk.stop()
        used = struct.unpack_from("<H", disk.memory, 0x1002)[0]
        assert base == used and (disk.available - base) & 0xffff <= 16, (number, base, used, disk.available)
        disk.begin(base)
        assert [disk.finished()[0] for _ in heads] == heads
        reads = [disk.post(READ, 32 * i, length=16384) for i in range(16)]
        for i, head in enumerate(reads):
            found, content = disk.finished()
            assert found == head and content[:16384] == data[i], (number, i)
    disk.close()


def test_a_disk_waits_for_its_function(daemon):
    disk = Disk(daemon.add_port("disk", "--device", DISK, model="vdpa-blk"))
    disk.write(0, b"before" + bytes(506))
    (sysfs(DISK) / "driver/unbind").write_text(DISK)
    wait_for(daemon, "waiting", "disk")
    head = disk.post(WRITE, 1, data=b"behind" + bytes(506))
    Path("/sys/bus/pci/drivers/vfio-pci/bind").write_text(DISK)
    assert disk.finished()[0] == head
    assert disk.read(0, 1024)[:6] == b"before" and disk.read(1, 512)[:6] == b"behind"
    disk.close()


# Reads sector 1, writes it to sector 2 (int 13h, ah = 42h and 43h, with the packet at 7c60h), and says so to the first serial port:
#   xor ax,ax; mov ds,ax; mov es,ax; mov ss,ax; mov sp,7c00h
#   mov si,7c60h; mov ah,42h; int 13h; jc no; mov byte [7c68h],2; mov si,7c60h; mov ax,4300h; int 13h; jc no
#   mov si,7c70h; jmp say; no: mov si,7c78h
#   say: mov dx,3f8h; next: lodsb; test al,al; jz end; out dx,al; jmp next; end: cli; hlt; jmp end
BOOT = bytes.fromhex("31c08ed88ec08ed0bc007c be607cb442cd137214 c606687c02 be607cb80043cd137205 be707ceb03 be787c"
                     "baf803 ac84c07403eeebf8 faf4ebfc")


def test_a_bios_boots_from_a_disk(daemon, tmp_path):
    path = daemon.add_port("disk", "--device", DISK, model="vdpa-blk")
    disk = Disk(path)
    image = bytearray(512)
    image[:len(BOOT)] = BOOT
    assert len(BOOT) <= 0x60
    image[0x60:0x70] = struct.pack("<BBHHHQ", 16, 0, 1, 0x8000, 0, 1)
    image[0x70:0x76], image[0x78:0x7e] = b"copied", b"failed"
    image[510:] = b"\x55\xaa"
    content = random.Random(3).randbytes(512)
    disk.write(0, bytes(image))
    disk.write(1, content)
    disk.write(2, bytes(512))
    disk.flush()
    disk.close()
    said = tmp_path / "serial"
    lines = daemon.ctl("vm-args", "disk", "--vmm", "qemu", "--memory", "64")["lines"]
    with subprocess.Popen(f"exec {CACHE}/bin/qemu-system-x86_64 -nodefaults -display none -accel tcg -cpu qemu64 -serial file:{said} {' '.join(lines)}",
                          shell=True, stderr=subprocess.PIPE) as qemu:
        try:
            wait_until(lambda: said.exists() and said.read_bytes().rstrip(b"\0") in (b"copied", b"failed"), "the disk to be booted from", timeout=240, pause=1)
            assert said.read_bytes().startswith(b"copied")
        finally:
            qemu.kill()
    wait_until(lambda: not daemon.is_connected("disk"), "the VM to be gone")
    disk = Disk(path)
    assert disk.read(2, 512) == content
    disk.close()


# Over and over: reads one of 16 parts of the disk, of 63 sectors, to where the one before it was, adds all of its words up, and says '.' if the sum is that in
# a table, else 'X'. The processor never writes there: what is of another part has been left behind.
#   xor ax,ax; mov ds,ax; mov es,ax; mov ss,ax; mov sp,7c00h; cld; top: mov ax,[7dd0h]; shl ax,6; mov [7dd2h],ax; mov bx,1
#   next: mov ax,bx; shl ax,9; add ax,8000h; mov [7d84h],ax; mov ax,[7dd2h]; add ax,bx; mov [7d88h],ax; push bx; mov si,7d80h; mov ah,42h; mov dl,80h; int 13h
#   pop bx; jc bad; inc bx; cmp bx,64; jne next; xor dx,dx; mov si,8200h; mov cx,16128; add: lodsw; add dx,ax; loop add
#   mov si,[7dd0h]; shl si,1; cmp dx,[si+7ddah]; jne bad; mov al,'.'; jmp out; bad: mov al,'X'
#   out: mov dx,3f8h; out dx,al; mov ax,[7dd0h]; inc ax; and ax,15; mov [7dd0h],ax; jmp top
READER = bytes.fromhex("31c08ed88ec08ed0bc007cfca1d07dc1e006a3d27dbb010089d8c1e009050080a3847da1d27d01d8a3887d53be807db442b2"
                       "80cd135b72234383fb4075da31d2be0082b9003fad01c2e2fb8b36d07dd1e63b94da7d7504b02eeb02b058baf803eea1d07d"
                       "4083e00fa3d07deb9f")


class Machine:
    """QEMU with a port's disk, and its monitor."""

    def __init__(self, daemon, port, directory, *options):
        self.said, monitor = directory / "serial", directory / "monitor"
        directory.mkdir()
        lines = daemon.ctl("vm-args", port, "--vmm", "qemu", "--memory", "64")["lines"]
        self.process = subprocess.Popen(f"exec {CACHE}/bin/qemu-system-x86_64 -nodefaults -display none -accel tcg -cpu qemu64 -serial file:{self.said} "
                                        f"-qmp unix:{monitor},server=on,wait=off {' '.join([*lines, *options])}", shell=True)
        wait_until(monitor.exists, "QEMU's monitor", timeout=120)
        connection = socket.socket(socket.AF_UNIX)
        wait_until(lambda: connection.connect_ex(str(monitor)) == 0, "QEMU's monitor", timeout=120)
        self.monitor = Qmp(connection)

    def rounds(self):
        said = self.said.read_bytes() if self.said.exists() else b""
        assert b"X" not in said, said
        return said.count(b".")

    def wait_for_rounds(self, count):
        goal = self.rounds() + count
        wait_until(lambda: self.rounds() >= goal, f"{count} rounds of reading", timeout=240, pause=0.5)

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_a_vm_moves_from_daemon_to_daemon(daemon, tmp_path):
    """And back. It reads its disk all the while: each page that a function writes to goes with it, or it would find a wrong sum."""
    other = Vmux(tmp_path / "other").start()
    machines = []
    try:
        ends = [(daemon, "disk", DISK), (other, "same", SAME_DISK)]
        for where, port, address in ends:
            where.add_port(port, "--device", address, model="vdpa-blk")
        disk = Disk(daemon.socket("disk"))
        image, parts = bytearray(512), [random.Random(part).randbytes(63 * 512) for part in range(16)]
        image[:len(READER)] = READER
        image[0x180:0x190] = struct.pack("<BBHHHQ", 16, 0, 1, 0, 0, 0)
        image[0x1da:0x1fa] = b"".join(struct.pack("<H", sum(struct.unpack("<16128H", part)) & 0xffff) for part in parts)
        image[510:] = b"\x55\xaa"
        disk.write(0, bytes(image))
        for number, part in enumerate(parts):
            for start in range(0, 63, 21):
                disk.write(64 * number + 1 + start, part[start * 512:(start + 21) * 512])
        disk.flush()
        disk.close()
        wait_until(lambda: not daemon.is_connected("disk"), "the driver to be gone")
        machines.append(Machine(*ends[0][:2], tmp_path / "vm0"))
        machines[0].wait_for_rounds(3)
        for number in (1, 2):
            there = ends[number % 2]
            path = tmp_path / f"stream{number}"
            machines.append(Machine(*there[:2], tmp_path / f"vm{number}", f"-incoming unix:{path}"))
            source = machines[-2]
            source.monitor.execute("migrate", uri=f"unix:{path}")
            wait_until(lambda: source.monitor.execute("query-migrate")["status"] == "completed", "the VM to have moved", timeout=240, pause=0.2)
            assert source.rounds() >= 3
            source.kill()
            machines[-1].wait_for_rounds(3)
            assert serving(*there[:2]) == "shadow"
        assert daemon.stats("disk")["client"]["errors"] == 0
    finally:
        for machine in machines:
            machine.kill()
        print(other.story())
        assert other.stop() == 0


def test_what_a_function_cannot_be_is_said(daemon):
    done = daemon.ctl_run("port", "add", "x", "--model", "vdpa-net", "--device", DISK, "--socket", daemon.socket("x"))
    assert done.returncode != 0 and "no network card" in done.stderr, done.stderr
    done = daemon.ctl_run("port", "add", "x", "--model", "vdpa-net", "--device", CARDS[0], "--socket", daemon.socket("x"), "--vlan", "5")
    assert done.returncode != 0 and "past every switch" in done.stderr, done.stderr
    done = daemon.ctl_run("port", "add", "x", "--model", "vdpa-net", "--device", CARDS[0], "--socket", daemon.socket("x"), "--queues", "16")
    assert done.returncode != 0 and "fewer pairs" in done.stderr, done.stderr
    assert not os.path.exists(daemon.socket("x"))
