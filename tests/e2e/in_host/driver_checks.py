# SPDX-License-Identifier: BSD-3-Clause
"""Drivers that we did not write: DPDK's behind the interposer, iPXE's in a nested VM."""
import ctypes
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from rig import BIN, PF, VET, interface, interface_of, model, sh, vu, wait_until
from harness.traffic import answered
from guest import CACHE


class Pmd:
    """DPDK's testpmd behind the interposer, answering pings."""

    def __init__(self, name, path, directory):
        self.log = directory / f"{name}.log"
        reader, self.input = os.pipe()
        line = [str(BIN / "vmux-vfio-run"), "--device", f"0000:40:00.0={path}", "--", "dpdk-testpmd", "-l", "0-1",
                "-m", "64", "--no-telemetry", f"--file-prefix={name}", "-a", "0000:40:00.0", "--", "-i",
                "--forward-mode=icmpecho", "--total-num-mbufs=2048", "--port-topology=loop", "--no-mlockall",
                "--auto-start", "--nb-cores=1", "--rxd=128", "--txd=128"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["stdbuf", "-o0", *line], stdin=reader, stdout=log, stderr=log)
        os.close(reader)
        wait_until(lambda: "testpmd>" in self.text() or self.process.poll() is not None, "testpmd", 180)

    def text(self):
        return self.log.read_text(errors="replace")

    def quit(self):
        os.write(self.input, b"quit\n")
        status = self.process.wait(180)
        os.close(self.input)
        return status

    def kill(self):
        # The interposer's runner has become testpmd, so this is the driver's own process.
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.input)


def answers(address, mac):
    sh(f"ip neigh flush dev {interface(PF)}")
    said = sh(f"ping -c 3 -i 0.2 -w 60 {address}", check=False)  # until three have come
    neighbour = sh(f"ip neigh show {address}")
    return answered(said, 3) == 3 and mac in neighbour


def test_dpdk_on_two_vfs_with_addresses_of_their_own(daemon, tmp_path):
    Path("/proc/sys/vm/nr_hugepages").write_text("96")
    one = Pmd("one", daemon.socket("vf0"), tmp_path)
    assert "net_e1000_igb_vf" in one.text(), one.text()
    assert answers("10.9.0.2", "52:54:00:00:01:10"), one.text()
    one.kill()  # while its rings are live
    two = Pmd("two", daemon.socket("vf0"), tmp_path)
    three = Pmd("three", daemon.socket("vf1"), tmp_path)
    assert "52:54:00:00:01:10" in two.text() and "52:54:00:00:01:11" in three.text(), two.text() + three.text()
    assert three.quit() == 0
    assert answers("10.9.0.3", "52:54:00:00:01:10"), two.text()
    counters = model(daemon, "vf0")
    assert counters["dma.pages_pinned"] > 0 and counters["bar.writes"] < 50, "the data path is not mapped"
    assert two.quit() == 0
    assert model(daemon, "vf0")["dma.pages_pinned"] == 0


ADDRESS, LEASED = "10.10.0.1", "10.10.0.77"


@pytest.fixture
def provider(tmp_path):
    """DHCP and HTTP on the other end of the e1000e's cable: one address to lease, one script to boot."""
    name = interface_of("52:54:00:00:02:01")
    sh(f"ip addr add {ADDRESS}/24 dev {name}")
    (tmp_path / "boot.ipxe").write_text("#!ipxe\necho booted from ${net0/next-server} as ${net0/ip}\nsleep 1000\n")
    (tmp_path / "leases").touch()
    (tmp_path / "udhcpd.conf").write_text(
        f"start {LEASED}\nend {LEASED}\ninterface {name}\nlease_file {tmp_path}/leases\npidfile {tmp_path}/pid\n"
        f"siaddr {ADDRESS}\nboot_file http://{ADDRESS}/boot.ipxe\nopt subnet 255.255.255.0\nopt lease 600\n")
    with open(tmp_path / "provider", "wb") as log:
        programs = [subprocess.Popen(["busybox", *line], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                    for line in (["udhcpd", "-f", str(tmp_path / "udhcpd.conf")],
                                 ["httpd", "-f", "-vv", "-p", f"{ADDRESS}:80", "-h", str(tmp_path)])]
    yield lambda: (tmp_path / "provider").read_text(errors="replace")
    for program in programs:
        program.kill()
        program.wait()
    sh(f"ip addr del {ADDRESS}/24 dev {name}")


def test_qemu_boots_from_the_card(daemon, provider, tmp_path):
    """A nested VM whose boot ROM drives the card: an address is leased to it, and what it boots comes through the card."""
    sh("modprobe kvm_amd")
    device = json.dumps({"driver": "vfio-user-pci", "romfile": "pxe-e1000e.rom", "bootindex": 0,
                         "socket": {"type": "unix", "path": str(daemon.socket("card"))}})
    line = [str(CACHE / "bin/qemu-system-x86_64"), "-machine", "q35,memory-backend=ram,graphics=off",
            "-accel", "kvm", "-accel", "tcg", "-cpu", "max", "-m", "64",
            "-object", "memory-backend-memfd,id=ram,size=64M,share=on,prealloc=on", "-nodefaults", "-display", "none",
            "-serial", f"file:{tmp_path}/serial", "-device", device]
    with open(tmp_path / "qemu", "wb") as log:
        qemu = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))

    def console():
        assert qemu.poll() is None, (tmp_path / "qemu").read_text()
        serial = tmp_path / "serial"
        return serial.read_text(errors="replace") if serial.exists() else ""
    try:
        wait_until(lambda: f"booted from {ADDRESS} as {LEASED}" in console(), "a boot from the network", 300, 0.5)
        assert f"sending ACK to {LEASED}" in provider()
        assert f"{LEASED}" in provider() and "url:/boot.ipxe" in provider()
        assert model(daemon, "card")["dma.pages_pinned"] >= (60 << 20) // 4096
    except AssertionError as problem:
        raise AssertionError(f"{problem}\n{console()}\n{provider()}\n{daemon.log()[-3000:]}") from None
    finally:
        qemu.kill()
        qemu.wait()
    with vu.Vmm(daemon.socket("card")) as vmm:
        vmm.enable()
        assert vmm.read32(vu.BAR0, VET) == 0x8100
