# SPDX-License-Identifier: BSD-3-Clause
"""Questions by the hundred: every combination of the values at which answers change. And all about a device, these and the others."""
import ctypes
import itertools
import os
import struct

from vfio_calls import (BOOL, CONFIG, DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, EVENTFD, FEATURE, MASK, NONE, PAGE, READ, REGION, TOP,
                        TRIGGER, UNMASK, VGA, WRITE, Memory, ask, line, shown)
from vfio_questions import KINDS, ask_access, ask_config, ask_feature, ask_info, ask_irqs, ask_mmap, ask_reset, dma_map, dma_unmap, region

MOST = 2 ** 32 - 1


def grid_dma(container, memory):
    """Ranges beside, over, in and around others; what is made of no whole pages; what ends at the top; flags."""
    at = memory.address

    def map_and_unmap(name, iova, size, flags=READ | WRITE, vaddr=at):
        if dma_map(name, container, vaddr, iova, size, flags)[0] == 0:
            dma_unmap(None, container, iova, size)

    def two_ranges():
        dma_map(None, container, at, 16 * PAGE, 4 * PAGE)
        dma_map(None, container, at, 21 * PAGE, 2 * PAGE)
    two_ranges()
    for first, pages in itertools.product(range(15, 24), (1, 2, 3, 4, 5, 7, 8, 9)):
        map_and_unmap(f"map page {first} and {pages}", first * PAGE, pages * PAGE)
        answer, _ = dma_unmap(f"unmap page {first} and {pages}", container, first * PAGE, pages * PAGE)
        if answer == 0:
            dma_unmap(None, container, 0, 0, flags=2)
            two_ranges()
    dma_unmap(None, container, 0, 0, flags=2)
    for iova, size in itertools.product((0, 1, PAGE // 2, PAGE), (0, 1, PAGE // 2, PAGE - 1, PAGE, PAGE + 1)):
        map_and_unmap(f"map {iova:#x} and {size:#x}", iova, size)
        dma_unmap(f"unmap {iova:#x} and {size:#x}", container, iova, size)
    for iova, size in itertools.product((0, PAGE, 1 << 48, 1 << 63, TOP - PAGE, TOP - 1), (PAGE, 2 * PAGE, 1 << 63, TOP - PAGE, TOP - 1)):
        if size <= memory.size:
            map_and_unmap(f"map far {iova:#x} and {size:#x}", iova, size)
        dma_unmap(f"unmap far {iova:#x} and {size:#x}", container, iova, size)
    for flags in (*range(16), 16, 1 << 31, 1 << 31 | 3):
        map_and_unmap(f"map flags {flags:#x}", 0, PAGE, flags)
        for size in (0, PAGE):
            dma_unmap(f"unmap flags {flags:#x} size {size:#x}", container, 0, size, flags)
    short, fixed = Memory(2 * PAGE, file_size=PAGE), Memory(PAGE, writable=False)
    map_and_unmap("map over the end of the file", 0, 2 * PAGE, vaddr=short.address)
    map_and_unmap("map behind the end of the file", 0, PAGE, vaddr=short.address + PAGE)
    map_and_unmap("map what cannot be written", 0, PAGE, vaddr=fixed.address)
    map_and_unmap("map what cannot be written to read", 0, PAGE, READ, vaddr=fixed.address)
    map_and_unmap("map the same memory", 0, PAGE)
    dma_map("map one place", container, at, 0, PAGE)
    dma_map("map it elsewhere too", container, at, PAGE, PAGE)
    dma_unmap("unmap both places", container, 0, 2 * PAGE)


def grid_access(device, memory):
    """Reads of every region at its edges; writes where nothing is written."""
    for index in (*range(VGA + 1), 9, 40):
        size, _ = region(device, index) if index <= VGA else (0, 0)
        edges = {"start": 0, "last": size - 1, "last but 3": size - 4, "end": size, "top": REGION - 4}
        if size == 0:
            edges = {"start": 0, "top": REGION - 4}
        for (edge, offset), width in itertools.product(edges.items(), (0, 1, 4, 8)):
            line(f"read {width} of region {index} at {edge}", shown(device.pread(memory.address, width, index * REGION + offset)))
            if offset >= size or width == 0:
                line(f"write {width} of region {index} at {edge}", shown(device.pwrite(memory.address, width, index * REGION + offset)))
    for width in (3, 5, 6, 7, 12, 64, 100):
        line(f"read {width} of config", shown(device.pread(memory.address, width, CONFIG * REGION)))
        line(f"read {width} of bar", shown(device.pread(memory.address, width, 0)))


def irq_count(device, index):
    _, raw = ask(None, device, DEVICE_GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
    return struct.unpack_from("<I", raw, 12)[0]


def grid_irqs(device):
    """Each kind while it is off and on, each action with each kind of data, start and count at all edges."""
    event = os.eventfd(0, os.EFD_NONBLOCK)

    def set_irqs(name, index, flags, start, count):
        one = {NONE: b"", BOOL: b"\1", EVENTFD: struct.pack("<i", event)}[flags & (NONE | BOOL | EVENTFD)]
        data = one * min(count, 64)
        return ask(name, device, DEVICE_SET_IRQS, struct.pack("<IIIII", 20 + len(data), flags, index, start, count) + data)[0]

    def bring(index, is_on):
        set_irqs(None, index, NONE | TRIGGER, 0, 0)
        if is_on:
            set_irqs(None, index, EVENTFD | TRIGGER, 0, 1)
    for index, kind in enumerate(KINDS):
        vectors = irq_count(device, index)
        # By number: what is the same for this kind has one name.
        starts = {vectors: "end", 1: "1", 0: "0"}
        counts = {vectors + 1: "more", vectors: "all", 1: "one", 0: "none"}
        if vectors > 1:
            starts[MOST] = counts[MOST] = "top"
        for is_on in (False, True) if vectors else (False,):
            bring(index, is_on)
            for (action, action_name), (data, data_name) in itertools.product(
                    ((TRIGGER, "trigger"), (MASK, "mask"), (UNMASK, "unmask")), ((NONE, "none"), (BOOL, "bool"), (EVENTFD, "eventfd"))):
                for start, count in itertools.product(sorted(starts), sorted(counts)):
                    answer = set_irqs(f"{kind} {'on' if is_on else 'off'} {action_name} {data_name} {starts[start]} {counts[count]}",
                                      index, action | data, start, count)
                    if answer == 0:
                        bring(index, is_on)
            bring(index, False)
    for flags in (*range(64), 64, 64 | NONE | TRIGGER, 1 << 31 | NONE | TRIGGER):
        data = b"\1" if flags & BOOL else struct.pack("<i", event) if flags & EVENTFD else b""
        answer, _ = ask(f"intx flags {flags:#x}", device, DEVICE_SET_IRQS, struct.pack("<IIIII", 20 + len(data), flags, 0, 0, 1) + data)
        if answer == 0:
            bring(0, False)
    os.close(event)


def grid_feature(device):
    """GET, SET and PROBE in all combinations. 3 and 4 put a device to sleep, so they are only asked for."""
    for number, actions in itertools.product((*range(12), 0xfff0), range(8)):
        if number in (3, 4) and not actions & 4:
            continue
        for data in (b"", bytes(40)) if number in (1, 2, 6, 8) else (b"",):
            ask(f"feature {number} {'with data ' if data else ''}{actions}", device, FEATURE,
                struct.pack("<II", 8 + len(data), number | actions << 16) + data)


def ask_about_irqs(device):
    ask_info(device)
    device.pwrite(ctypes.addressof(ctypes.create_string_buffer(struct.pack("<H", 6))), 2, CONFIG * REGION + 4)  # memory, bus master
    ask_irqs(device)
    grid_irqs(device)


def ask_device(device, memory):
    """All there is to ask of a device."""
    ask_about_irqs(device)
    ask_config(device, memory)
    ask_access(device, memory)
    grid_access(device, memory)
    ask_mmap(device)
    ask_feature(device)
    grid_feature(device)
    ask_reset(device)
