# SPDX-License-Identifier: BSD-3-Clause
"""The VM's memory in the host's IOMMU."""
import os
import socket
import struct
import time

import pytest
from rig import CTRL, STATUS, interface_of, model, vu, wait_until


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
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # with its protocol it would hear all interfaces until it is bound
    tap.bind((interface_of("52:54:00:00:02:01"), 0x88b5))
    tap.settimeout(60)
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


def test_much_untouched_memory_is_answered_at_once_and_there_before_the_device_needs_it(daemon):
    """192 MiB whose pages nobody has made: longer than a VMM may wait, so they are pinned while the VM boots."""
    pages = (192 << 20) // 4096
    with vu.Vmm(daemon.socket("card"), timeout=240) as vmm:
        vmm.enable(bits=0)
        started = time.monotonic()
        fd, memory = vmm.give_memory(192 << 20)
        answered = time.monotonic()
        promised = model(daemon, "card")
        vmm.enable()
        there = model(daemon, "card")
        print(f"answered after {answered - started:.2f} s with {promised['dma.pages_waiting']} pages waiting, all there "
              f"after {time.monotonic() - started:.2f} s, {there['dma.map_us'] / 1e6:.2f} s in the kernel")
        assert promised["dma.pages_pinned"] + promised["dma.pages_waiting"] == pages
        assert (there["dma.pages_pinned"], there["dma.pages_waiting"]) == (pages, 0)
        memory.close()
        os.close(fd)
