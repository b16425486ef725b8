# SPDX-License-Identifier: BSD-3-Clause
"""A function that is no network card: an NVMe controller, driven by its registers and queues (NVM Express Base 2.0)."""
import struct

import pytest
from rig import bind, driver, sh, vu, wait_until
from harness.vmux import Vmux

NVME = "0000:00:10.0"
CAP, VS, CC, CSTS, AQA, ASQ, ACQ, SQ0_TAIL = 0x00, 0x08, 0x14, 0x1c, 0x24, 0x28, 0x30, 0x1000  # 3.1.3, 3.1.2 (doorbells)
ENABLE, QUEUE_ENTRY_SIZES, READY = 1, 6 << 16 | 4 << 20, 1  # 3.1.3.5: 64 and 16 bytes; 3.1.3.6
ENTRIES = 4
SUBMISSION, COMPLETION, DATA = 0x10000, 0x11000, 0x12000  # where the client has them, as the controller sees it
IDENTIFY, OF_CONTROLLER = 0x06, 1  # 5.17


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    bind(NVME)
    daemon = Vmux(tmp_path_factory.mktemp("nvme")).start()
    daemon.add_port("disk", "--device", NVME, model="passthrough")
    yield daemon.socket("disk")
    assert daemon.stop() == 0, daemon.log()
    sh("vmuxctl host unbind " + NVME, check=False)


def put64(vmm, register, value):
    vmm.write32(vu.BAR0, register, value & 0xffffffff)
    vmm.write32(vu.BAR0, register + 4, value >> 32)


def test_registers_are_the_controllers(controller):
    assert driver(NVME) == "vfio-pci"
    with vu.Vmm(controller) as vmm:
        vmm.enable()
        assert vmm.read(vu.CONFIG, 9, 3) == b"\x02\x08\x01"  # NVM Express, non-volatile memory, mass storage
        assert vmm.read32(vu.BAR0, CAP) & 0xffff >= ENTRIES - 1  # MQES, from 0
        assert vmm.read32(vu.BAR0, VS) >> 16 in (1, 2)  # the major version
        assert vmm.read32(vu.BAR0, CSTS) & READY == 0


def test_identify_comes_by_dma_and_an_interrupt(controller):
    with vu.Vmm(controller) as vmm:
        vmm.enable()
        _, memory = vmm.give_memory(0x10000, iova=SUBMISSION)
        eventfd = vmm.listen(vu.MSIX)
        vmm.write32(vu.BAR0, AQA, ENTRIES - 1 | (ENTRIES - 1) << 16)
        put64(vmm, ASQ, SUBMISSION)
        put64(vmm, ACQ, COMPLETION)
        vmm.write32(vu.BAR0, CC, ENABLE | QUEUE_ENTRY_SIZES)
        wait_until(lambda: vmm.read32(vu.BAR0, CSTS) & READY, "the controller", 60)
        command = struct.pack("<IIQQQQIIIIII", IDENTIFY | 7 << 16, 0, 0, 0, DATA, 0, OF_CONTROLLER, 0, 0, 0, 0, 0)
        memory[0:64] = command
        vmm.write32(vu.BAR0, SQ0_TAIL, 1)
        at = COMPLETION - SUBMISSION
        wait_until(lambda: memory[at + 14] & 1, "the completion", 60)  # its phase tag
        identifier, status = struct.unpack_from("<HH", memory, at + 12)
        assert (identifier, status >> 1) == (7, 0)
        data = memory[DATA - SUBMISSION:DATA - SUBMISSION + 64]
        assert struct.unpack_from("<H", data)[0] == vmm.config16(0)  # VID
        assert data[4:24].decode().strip() == "vmux-disk"  # the serial number that the VM gave it
        assert vu.heard(eventfd) == 1
        vmm.write32(vu.BAR0, CC, 0)
        wait_until(lambda: not vmm.read32(vu.BAR0, CSTS) & READY, "the controller to stop", 60)
