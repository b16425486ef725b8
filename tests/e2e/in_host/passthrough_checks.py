# SPDX-License-Identifier: BSD-3-Clause
"""What runs inside the host VM of passthrough_test.py: vMux on the kernel's real VFIO, with VMMs that we play ourselves,
with DPDK's driver, and with QEMU. Registers: 82574L (e1000e), 82540EM (e1000) and 82576 (VF) manuals."""
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]
import vfio_user as vu  # noqa: E402
from harness import BIN, ROOT  # noqa: E402
from harness.vmux import Vmux, wait_until  # noqa: E402

PF, VF0, VF1, E1000E, E1000A, E1000B = ("0000:01:00.0", "0000:01:10.0", "0000:01:10.2", "0000:02:00.0", "0000:04:01.0",
                                        "0000:04:02.0")
STATUS, CTRL, VET, ICR, ITR, ICS, IMS, IMC = 0x8, 0x0, 0x38, 0xc0, 0xc4, 0xc8, 0xd0, 0xd8
LSC = 1 << 2  # link status change
VF_RXDCTL, VF_EICS, VF_EIMS, VF_EIAM, VF_EICR = 0x2828, 0x1520, 0x1524, 0x1530, 0x1580
ENABLE = 1 << 25  # of a receive queue; a reset clears it


def sh(command, check=True):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def sysfs(address):
    return Path("/sys/bus/pci/devices") / address


def interface(address):
    return next((sysfs(address) / "net").iterdir()).name


def interface_of(mac):
    return next(path.parent.name for path in Path("/sys/class/net").glob("*/address")
                if path.read_text().strip() == mac and path.parent.name != "lo")


def bind(*addresses):
    sh(f"{BIN}/vmuxctl host bind {' '.join(addresses)}")


def driver(address):
    link = sysfs(address) / "driver"
    return link.resolve().name if link.exists() else None


@pytest.fixture(scope="session", autouse=True)
def host():
    """VFs with addresses of their own, the PF up, and the functions of these tests given to vfio-pci."""
    sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    (sysfs(PF) / "sriov_numvfs").write_text("2")
    name = interface(PF)
    for number in (0, 1):
        sh(f"ip link set {name} vf {number} mac 52:54:00:00:01:1{number} trust on spoofchk off")
    sh(f"ip addr add 10.9.0.1/24 dev {name}; ip link set {name} up")
    sh(f"ip link set {interface_of('52:54:00:00:02:01')} up; ip link set {interface_of('52:54:00:00:04:01')} up")
    bind(VF0, VF1, E1000E)
    # The kernel would reset this card through its power states, and the emulated card does nothing then. Without a
    # reset of its own it is reset with its bus.
    (sysfs(E1000E) / "reset_method").write_text("\n")


@pytest.fixture(scope="session")
def daemon(host, tmp_path_factory):
    """The daemon that most tests share: two VFs, an e1000e, and an emulated port beside them."""
    made = Vmux(tmp_path_factory.mktemp("vmux")).start()
    for name, address in (("vf0", VF0), ("vf1", VF1), ("card", E1000E)):
        made.add_port(name, "--device", address, model="passthrough")
    made.add_port("emulated")
    yield made
    assert made.is_alive(), made.log()
    assert made.stop() == 0, made.log()


@pytest.fixture
def card(daemon):
    """A VMM with the e1000e, its registers switched on."""
    with vu.Vmm(daemon.socket("card")) as vmm:
        vmm.enable()
        yield vmm


@pytest.fixture
def vf(daemon):
    with vu.Vmm(daemon.socket("vf0")) as vmm:
        vmm.enable()
        yield vmm


def model(daemon, port):
    return daemon.stats(port)["model"]


# -- what a guest sees ------------------------------------------------------------------------------------------------

def test_ports_of_all_kinds_live_in_one_daemon(daemon):
    ports = {port["name"]: port for port in daemon.ctl("port", "list")}
    assert ports["card"]["device"] == E1000E and ports["card"]["ready"]
    assert "switch" not in ports["card"] and "mac" not in ports["card"]
    assert ports["emulated"]["switch"] == "default"
    assert daemon.stats("card")["counters"] is None


def test_config_space_is_the_devices_without_what_guests_must_not_see(vf):
    assert (vf.config16(0), vf.config16(2)) == (0x8086, 0x10ca)
    hidden_ari, aer = 0x0e, 0x01
    with open(sysfs(VF0) / "config", "rb") as file:
        raw = file.read()
    assert int.from_bytes(raw[0x150:0x152], "little") == hidden_ari, "the device has lost what this test looks for"
    assert set(vf.extended_capabilities()) == {aer}
    assert vf.read32(vu.CONFIG, 0x150) == 0
    assert set(vf.capabilities()) == {0x10, 0x11}


def test_the_emulated_card_shows_power_msi_msix_pcie_and_its_serial_number(card):
    assert set(card.capabilities()) == {0x01, 0x05, 0x10, 0x11}
    assert set(card.extended_capabilities()) == {0x01, 0x03}
    assert card.read(vu.CONFIG, 0x0e, 1)[0] & 0x80 == 0  # not part of a multi-function card


def test_mapped_registers_and_messages_are_the_same_device(card):
    start, memory = card.map_bar(vu.BAR0)
    with memory:
        assert start == 0 and struct.unpack_from("<I", memory, STATUS)[0] == card.read32(vu.BAR0, STATUS)
        struct.pack_into("<I", memory, VET, 0x88a8)
        assert card.read32(vu.BAR0, VET) == 0x88a8
        card.write32(vu.BAR0, VET, 0x8100)
        assert struct.unpack_from("<I", memory, VET)[0] == 0x8100


def test_the_msix_table_is_not_mapped_and_keeps_what_a_guest_writes(card):
    size, _, _, areas = card.region(vu.BAR3)
    assert areas == [(0x1000, size - 0x1000)]
    card.write(vu.BAR3, 0, struct.pack("<QII", 0xfee01000, 0x41, 1))
    assert card.read(vu.BAR3, 0, 16) == struct.pack("<QII", 0xfee01000, 0x41, 1)


def test_registers_do_not_answer_while_memory_space_is_off(card):
    card.enable(bits=0)
    assert card.read32(vu.BAR0, STATUS) == 0xffffffff
    card.enable()
    assert card.read32(vu.BAR0, STATUS) != 0xffffffff


# -- interrupts -------------------------------------------------------------------------------------------------------

def raise_cause(vmm):
    vmm.write32(vu.BAR0, IMS, LSC)
    vmm.write32(vu.BAR0, ICS, LSC)


def check_intx(vmm):
    eventfd = vmm.listen(vu.INTX)
    raise_cause(vmm)
    assert vu.heard(eventfd) == 1
    vmm.read32(vu.BAR0, ICR)  # the cause is gone, the line is masked
    raise_cause(vmm)
    assert vu.heard(eventfd, 0.3) == 0
    vmm.set_irqs(vu.INTX, vu.NONE | vu.UNMASK)
    assert vu.heard(eventfd) == 1  # still high
    vmm.set_irqs(vu.INTX, vu.NONE | vu.UNMASK)
    assert vu.heard(eventfd) == 1  # and again: a level
    resample = os.eventfd(0, os.EFD_NONBLOCK)
    vmm.set_irqs(vu.INTX, vu.EVENTFD | vu.UNMASK, fds=[resample])
    vmm.read32(vu.BAR0, ICR)
    os.eventfd_write(resample, 1)
    assert vu.heard(eventfd, 0.3) == 0
    raise_cause(vmm)
    assert vu.heard(eventfd) == 1
    vmm.read32(vu.BAR0, ICR)
    os.eventfd_write(resample, 1)
    wait_until(lambda: vmm.read32(vu.BAR0, ICS) is not None, "the card")
    vmm.set_irqs(vu.INTX, vu.NONE | vu.MASK)
    raise_cause(vmm)
    assert vu.heard(eventfd, 0.3) == 0
    vmm.set_irqs(vu.INTX, vu.NONE | vu.UNMASK)
    assert vu.heard(eventfd) == 1
    vmm.read32(vu.BAR0, ICR)
    vmm.set_irqs(vu.INTX, vu.NONE | vu.TRIGGER, count=0)
    os.close(resample)


def test_intx_is_masked_by_firing_and_unmasked_by_message_or_eventfd(card):
    assert card.irq(vu.INTX) == (7, 1)
    check_intx(card)


def test_msi(card):
    eventfd = card.listen(vu.MSI)
    for _ in range(3):
        raise_cause(card)
        assert vu.heard(eventfd) >= 1
        card.read32(vu.BAR0, ICR)


def fire(vmm, vector):
    vmm.write32(vu.BAR0, VF_EICR, 7)  # what is pending already is not raised again
    vmm.write32(vu.BAR0, VF_EICS, 1 << vector)


def prepare_vectors(vmm):
    vmm.write32(vu.BAR0, VF_EIAM, 0)
    vmm.write32(vu.BAR0, VF_EIMS, 7)


def test_msix_vectors_come_one_by_one(vf):
    assert vf.irq(vu.MSIX)[1] == 3
    prepare_vectors(vf)
    sinks = []
    for vector in range(3):
        sinks.append(vf.listen(vu.MSIX, start=vector))
        vf.write32(vu.BAR0, VF_EIMS, 7)
        for earlier, sink in enumerate(sinks):
            fire(vf, earlier)
            assert vu.heard(sink) >= 1, f"vector {earlier} of {len(sinks)}"
    silent = os.eventfd(0, os.EFD_NONBLOCK)
    vf.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, start=1, fds=[silent])  # another sink for a live vector
    fire(vf, 1)
    assert vu.heard(silent) >= 1 and vu.heard(sinks[1], 0.2) == 0


def test_msix_enabled_without_a_sink_and_masked_in_the_table(vf):
    prepare_vectors(vf)
    vf.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, count=3)  # as QEMU does it: vectors without sinks
    sink = vf.listen(vu.MSIX, start=0)
    vf.write32(vu.BAR0, VF_EIMS, 7)
    vf.write32(vu.BAR3, 12, 1)
    fire(vf, 0)
    pba = 0x2000
    wait_until(lambda: vf.read32(vu.BAR3, pba) & 1, "the pending bit")
    assert vu.heard(sink, 0.2) == 0
    vf.write32(vu.BAR3, 12, 0)
    assert vu.heard(sink) >= 1
    assert vf.read32(vu.BAR3, pba) & 1 == 0


# -- memory -----------------------------------------------------------------------------------------------------------

MAC, PEER = bytes.fromhex("525400000200"), bytes.fromhex("525400000201")
RING, BUFFER = 0x10000, 0x20000


def send_frame(vmm, memory, payload, base=0):
    """One legacy descriptor of the e1000e's transmit ring 0 (82574L 7.2)."""
    frame = PEER + MAC + b"\x88\xb5" + payload
    memory[BUFFER:BUFFER + len(frame)] = frame
    memory[RING:RING + 16] = struct.pack("<QHBBBBH", base + BUFFER, len(frame), 0, 0b1011, 0, 0, 0)  # EOP, IFCS, RS
    vmm.write32(vu.BAR0, CTRL, vmm.read32(vu.BAR0, CTRL) | 1 << 6)  # SLU
    for register, value in ((0x400, 0), (0x3800, base + RING), (0x3804, 0), (0x3808, 128), (0x3810, 0), (0x3818, 0),
                            (0x3828, 1 << 25), (0x400, 0x1000ffa), (0x3818, 1)):
        vmm.write32(vu.BAR0, register, value)


@pytest.fixture
def wire():
    """The other end of the e1000e's cable."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
    tap.bind((interface_of("52:54:00:00:02:01"), 0))
    tap.settimeout(10)
    yield tap
    tap.close()


def link_is_up(vmm):
    return vmm.read32(vu.BAR0, STATUS) & 2


def test_the_device_reads_the_vms_memory_through_the_iommu(card, wire, daemon):
    before = model(daemon, "card")
    base = 0x1_0000_0000 - 0x200000  # nothing of the host's is there
    fd, memory = card.give_memory(1 << 20, iova=base)
    during = model(daemon, "card")
    assert during["dma.maps"] == before["dma.maps"] + 1 and during["dma.pages_pinned"] == 256
    assert during["dma.map_us"] > before["dma.map_us"]
    card.write32(vu.BAR0, CTRL, card.read32(vu.BAR0, CTRL) | 1 << 6)
    wait_until(lambda: link_is_up(card), "link")
    send_frame(card, memory, b"from the memory of a VM" + bytes(40), base=base)
    assert wire.recv(2048)[14:37] == b"from the memory of a VM"
    wait_until(lambda: memory[RING + 12] & 1, "the descriptor to be written back")
    card.dma_unmap(base, 1 << 20)
    after = model(daemon, "card")
    assert after["dma.pages_pinned"] == 0 and after["dma.unmaps"] == before["dma.unmaps"] + 1
    # The same again, and the IOMMU lets nothing through.
    memory[RING + 12] = 0
    send_frame(card, memory, b"nobody gets this" + bytes(40), base=base)
    wire.settimeout(0.5)
    with pytest.raises(TimeoutError):
        wire.recv(2048)
    assert memory[RING + 12] & 1 == 0
    os.close(fd)


def test_small_maps_come_and_go(card, daemon):
    """As a guest with an IOMMU of its own does: pages of one file, mapped for one transfer each."""
    fd = os.memfd_create("vm")
    os.ftruncate(fd, 1 << 20)
    before = model(daemon, "card")
    for number in range(300):
        card.dma_map(fd, number % 256 * 4096, 4096, 0x800000 + number * 4096)
        if number >= 8:
            card.dma_unmap(0x800000 + (number - 8) * 4096, 4096)
    after = model(daemon, "card")
    assert after["dma.maps"] - before["dma.maps"] == 300
    assert after["dma.unmaps"] - before["dma.unmaps"] == 292
    assert after["dma.pages_pinned"] == 8
    card.dma_unmap(0, 0, flags=2)  # all
    after = model(daemon, "card")
    assert after["dma.pages_pinned"] == 0 and after["dma.unmaps"] - before["dma.unmaps"] == 293
    print(f"a map took {(after['dma.map_us'] - before['dma.map_us']) / 300:.0f} us, an unmap "
          f"{(after['dma.unmap_us'] - before['dma.unmap_us']) / 293:.0f} us")
    os.close(fd)


def test_memory_without_a_descriptor_is_taken_and_not_given_to_the_device(card, daemon):
    before = model(daemon, "card")
    card.dma_map(None, 0, 0x1000, 0xe000)
    after = model(daemon, "card")
    assert after["dma.without_fd"] == before["dma.without_fd"] + 1 and after["dma.maps"] == before["dma.maps"]


# -- resets, and the next VM ------------------------------------------------------------------------------------------

def test_a_guests_function_level_reset_reaches_the_device(vf, daemon):
    before = model(daemon, "vf0")["resets.function_level"]
    express = vf.capabilities()[0x10]
    vf.write32(vu.BAR0, VF_RXDCTL, ENABLE)
    assert vf.read32(vu.BAR0, VF_RXDCTL) & ENABLE
    vf.write(vu.CONFIG, express + 8, struct.pack("<H", vf.config16(express + 8) | 1 << 15))
    vf.enable()
    assert model(daemon, "vf0")["resets.function_level"] == before + 1
    assert vf.read32(vu.BAR0, VF_RXDCTL) & ENABLE == 0


def test_a_clients_reset_reaches_the_device(card):
    card.write32(vu.BAR0, VET, 0x1234)
    card.reset()
    card.enable()
    assert card.read32(vu.BAR0, VET) == 0x8100


def start_killable_vmm(path):
    """A VMM in a process of its own with memory, interrupts and changed registers, which never says goodbye."""
    script = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import vfio_user as vu, time\n"
              f"vmm = vu.Vmm({str(path)!r}); vmm.enable(); fd, memory = vmm.give_memory(16 << 20)\n"
              f"vmm.listen(vu.MSI); start, bar = vmm.map_bar(0); vmm.write32(vu.BAR0, {VET}, 0x4321)\n"
              "print('up', flush=True); time.sleep(1000)")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    return process


def test_a_killed_vmm_leaves_a_clean_device(daemon):
    victim = start_killable_vmm(daemon.socket("card"))
    assert model(daemon, "card")["dma.pages_pinned"] == 4096
    victim.kill()
    victim.wait()
    with vu.Vmm(daemon.socket("card")) as vmm:
        assert vmm.config16(4) & 4 == 0, "it still masters the bus"
        vmm.enable()
        assert vmm.read32(vu.BAR0, VET) == 0x8100
        assert model(daemon, "card")["dma.pages_pinned"] == 0


def test_twenty_vms_one_after_the_other(daemon):
    for _ in range(20):
        with vu.Vmm(daemon.socket("vf0")) as vmm:
            vmm.enable()
            fd, memory = vmm.give_memory(1 << 20)
            vmm.listen(vu.MSIX, count=3)
            assert vmm.read32(vu.BAR0, STATUS) & 2
            os.close(fd)


def test_a_client_that_keeps_the_devices_descriptor_is_waited_for(daemon):
    first = vu.Vmm(daemon.socket("card"))
    first.region(vu.BAR0)
    kept = os.dup(first.fds[-1])
    first.close()
    waiting = subprocess.Popen([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
                                f"import vfio_user as vu; vu.Vmm({str(daemon.socket('card'))!r}, 60); print('served')"],
                               stdout=subprocess.PIPE)
    wait_until(lambda: not daemon.ctl("port", "show", "card")["ready"], "the device to be away")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1.5)
    os.close(kept)
    assert waiting.communicate(timeout=20)[0] == b"served\n"


def test_a_killed_vmux_leaves_a_clean_device(daemon, tmp_path):
    """While its VM lives the device is held, and vMux says by whom; then the next one gets it."""
    daemon.remove_port("vf1")
    doomed = Vmux(tmp_path / "doomed", "-d", VF1, "-s", tmp_path / "vm.sock", "-m", "passthrough").start()
    vmm = vu.Vmm(tmp_path / "vm.sock")
    vmm.enable()
    vmm.region(vu.BAR0)
    vmm.write32(vu.BAR0, VF_RXDCTL, ENABLE)
    doomed.process.kill()
    doomed.process.wait()
    said = daemon.ctl_run("port", "add", "vf1", "--model", "passthrough", "--device", VF1, "--socket",
                          daemon.socket("vf1"))
    assert said.returncode == 1 and f"{VF1} is in use: process {os.getpid()} " in said.stderr
    vmm.close()
    daemon.add_port("vf1", "--device", VF1, model="passthrough")
    with vu.Vmm(daemon.socket("vf1")) as after:
        after.enable()
        assert after.read32(vu.BAR0, VF_RXDCTL) & ENABLE == 0


# -- the host wants it back -------------------------------------------------------------------------------------------

def unbind_in_background(address):
    return subprocess.Popen(["sh", "-c", f"echo {address} >{sysfs(address)}/driver/unbind"])


def test_a_client_is_asked_to_give_the_device_back(daemon):
    vmm = vu.Vmm(daemon.socket("card"))
    asked = vmm.listen(vu.REQ)
    unbinding = unbind_in_background(E1000E)
    assert vu.heard(asked, 20) == 1
    vmm.close()
    unbinding.wait(30)
    assert driver(E1000E) is None
    assert not daemon.ctl("port", "show", "card")["ready"]
    assert model(daemon, "card")["release_requests"] >= 1
    with vu.Vmm(daemon.socket("card")) as nobody, pytest.raises(vu.Gone):
        for _ in range(100):
            nobody.call(vu.GET_INFO, struct.pack("<IIII", 32, 0, 0, 0))
            time.sleep(0.1)
    bind(E1000E)
    with vu.Vmm(daemon.socket("card")) as vmm:
        vmm.enable()
        assert vmm.read32(vu.BAR0, VET) == 0x8100


def test_a_client_that_does_not_listen_is_disconnected(daemon):
    vmm = vu.Vmm(daemon.socket("card"))
    unbinding = unbind_in_background(E1000E)
    with pytest.raises(vu.Gone):
        for _ in range(200):
            vmm.config16(0)
            time.sleep(0.1)
    vmm.close()
    unbinding.wait(30)
    bind(E1000E)


# -- groups of several functions, and what is said when it cannot be ---------------------------------------------------

def refusal(daemon, *options):
    said = daemon.ctl_run("port", "add", "x", "--model", "passthrough", "--socket", daemon.socket("x"), *options)
    assert said.returncode != 0
    return said.stderr


def test_sentences_say_what_is_wrong_and_what_mends_it(daemon):
    assert "there is no PCI device 0000:7f:00.0; see: lspci -D" in refusal(daemon, "--device", "7f:00.0")
    assert f"{E1000A} is bound to e1000 instead of vfio-pci: vmuxctl host bind {E1000A}" in \
        refusal(daemon, "--device", E1000A)
    assert f"{E1000E} is that of port card" in refusal(daemon, "--device", E1000E)
    assert "no side on a switch" in refusal(daemon, "--device", E1000A, "--mac", "02:00:00:00:00:01")


def test_a_group_that_is_not_viable_names_the_devices_and_the_command(daemon):
    sh(f"echo {E1000A} >{sysfs(E1000A)}/driver/unbind; echo vfio-pci >{sysfs(E1000A)}/driver_override; "
       f"echo {E1000A} >/sys/bus/pci/drivers_probe")
    said = refusal(daemon, "--device", E1000A)
    assert f"shares IOMMU group" in said and f"with {E1000B} (driver e1000)" in said
    command = said[said.index("vmuxctl host bind"):].strip()
    sh(f"{BIN}/{command}")  # what it tells to do is what helps
    daemon.add_port("twin0", "--device", E1000A, model="passthrough")


def test_functions_of_one_group_serve_one_vm(daemon):
    daemon.add_port("twin1", "--device", E1000B, model="passthrough")
    fd = os.memfd_create("vm")
    os.ftruncate(fd, 1 << 20)
    with vu.Vmm(daemon.socket("twin0")) as one, vu.Vmm(daemon.socket("twin1")) as two:
        for vmm in (one, two):
            vmm.enable()
            vmm.dma_map(fd, 0, 1 << 20, 0)
        counters = model(daemon, "twin1")
        assert (counters["dma.maps"], counters["dma.shared"], counters["dma.pages_pinned"]) == (1, 1, 256)
        with pytest.raises(vu.Refused):
            two.give_memory(1 << 20, iova=0)  # another VM's memory at the same place
        check_intx(one)
        check_intx(two)
    os.close(fd)


# -- drivers that we did not write ------------------------------------------------------------------------------------

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
        wait_until(lambda: "testpmd>" in self.text() or self.process.poll() is not None, "testpmd", 60)

    def text(self):
        return self.log.read_text(errors="replace")

    def quit(self):
        os.write(self.input, b"quit\n")
        status = self.process.wait(60)
        os.close(self.input)
        return status

    def kill(self):
        # The interposer's runner has become testpmd, so this is the driver's own process.
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.input)


def answers(address, mac):
    sh(f"ip neigh flush dev {interface(PF)}")
    said = sh(f"ping -c 3 -i 0.2 -W 5 {address}", check=False)
    neighbour = sh(f"ip neigh show {address}")
    return " 0% packet loss" in said and mac in neighbour


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


def test_qemu_boots_from_the_card(daemon, tmp_path):
    """A nested VM, without vfio-pci of its own: iPXE's driver gets an address from a DHCP server on the card's wire."""
    device = json.dumps({"driver": "vfio-user-pci", "romfile": "pxe-e1000e.rom", "bootindex": 0,
                         "socket": {"type": "unix", "path": str(daemon.socket("card"))}})
    line = [str(ROOT / "build/lab/bin/qemu-system-x86_64"), "-machine", "q35,memory-backend=ram,graphics=off",
            "-accel", "tcg", "-cpu", "qemu64", "-m", "64",
            "-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-nodefaults", "-display", "none",
            "-serial", f"file:{tmp_path}/serial", "-device", device]
    with open(tmp_path / "qemu", "wb") as log:
        qemu = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))

    def console():
        assert qemu.poll() is None, (tmp_path / "qemu").read_text()
        serial = tmp_path / "serial"
        return serial.read_text(errors="replace") if serial.exists() else ""
    try:
        wait_until(lambda: "10.0.2." in console() or "Configuring" in console() and " ok" in console(), "a lease", 100, 0.5)
        assert model(daemon, "card")["dma.pages_pinned"] >= (60 << 20) // 4096
    except AssertionError as problem:
        raise AssertionError(f"{problem}\n{console()}\n{daemon.log()[-3000:]}") from None
    finally:
        qemu.kill()
        qemu.wait()
    with vu.Vmm(daemon.socket("card")) as vmm:
        vmm.enable()
        assert vmm.read32(vu.BAR0, VET) == 0x8100
