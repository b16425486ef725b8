# SPDX-License-Identifier: BSD-3-Clause
"""What is asked of VFIO once there is a container with an IOMMU, and a device: in every right and wrong way. Whom it is asked, the
caller says: descriptors (of the kernel or of a stand-in), or a server, by message. vfio_grid.py has what comes by the hundred."""
import ctypes
import os
import struct

from vfio_calls import (BAR0, BOOL, CONFIG, DEVICE_GET_INFO, DEVICE_GET_IRQ_INFO, DEVICE_GET_REGION_INFO, DEVICE_RESET, DEVICE_SET_IRQS,
                        DIRTY_PAGES, EVENTFD, FEATURE, GET_HOT_RESET_INFO, HOT_RESET, IOMMU_GET_INFO, MAP_DMA, MASK, NONE, NOWHERE, PAGE,
                        PRIVATE, READ, REGION, ROM, SHARED, TOP, TRIGGER, UNMAP_DMA, UNMASK, VGA, WRITE, Memory, ask, line, shown, u32, vfio)

KINDS = ("intx", "msi", "msix", "err", "req")


def dma_map(name, container, vaddr, iova, size, flags=READ | WRITE, argsz=32):
    return ask(name, container, MAP_DMA, struct.pack("<IIQQQ", argsz, flags, vaddr, iova % TOP, size % TOP))


def dma_unmap(name, container, iova, size, flags=0, argsz=24):
    return ask(name, container, UNMAP_DMA, struct.pack("<IIQQ", argsz, flags, iova % TOP, size % TOP),
               lambda raw: [f"{struct.unpack_from('<Q', raw, 16)[0]:#x}"])


def ask_iommu(container, memory):
    at = memory.address
    ask("iommu info", container, IOMMU_GET_INFO, struct.pack("<IIQI", 20, 0, 0, 0) + bytes(12), lambda raw: u32(raw, 4, 16))
    ask("iommu info argsz 8", container, IOMMU_GET_INFO, struct.pack("<II", 8, 0) + bytes(24))
    ask("iommu info argsz 15", container, IOMMU_GET_INFO, struct.pack("<II", 15, 0) + bytes(24))
    ask("iommu info argsz 16", container, IOMMU_GET_INFO, struct.pack("<II", 16, 0) + bytes(24))
    ask("iommu info nowhere", container, IOMMU_GET_INFO, NOWHERE)
    ask("iommu info null", container, IOMMU_GET_INFO, None)
    dma_map("map argsz 31", container, at, 0, PAGE, argsz=31)
    dma_map("map argsz 0", container, at, 0, PAGE, argsz=0)
    dma_map("map no flags", container, at, 0, PAGE, flags=0)
    dma_map("map unknown flag", container, at, 0, PAGE, flags=3 | 1 << 9)
    dma_map("map vaddr flag", container, at, 0, PAGE, flags=4)
    dma_map("map vaddr and read", container, at, 0, PAGE, flags=5)
    dma_map("map nothing", container, at, 0, 0)
    dma_map("map iova unaligned", container, at, 1, PAGE)
    dma_map("map size unaligned", container, at, 0, PAGE + 1)
    dma_map("map vaddr unaligned", container, at + 1, 0, PAGE)
    dma_map("map iova wraps", container, at, TOP - PAGE, 2 * PAGE)
    dma_map("map vaddr wraps", container, TOP - PAGE, 0, 2 * PAGE)
    dma_map("map to nobodys memory", container, PAGE, 0, PAGE)
    dma_map("map null", container, 0, 0, PAGE)
    for name, iova, size in (("map the msi window", 0xfee00000, PAGE), ("map into the msi window", 0xfedff000, 2 * PAGE)):
        if dma_map(name, container, at, iova, size)[0] == 0:
            dma_unmap(None, container, iova, size)
    ask("map nowhere", container, MAP_DMA, NOWHERE)
    dma_map("map", container, at, 0x100000, 4 * PAGE)
    dma_map("map again", container, at, 0x100000, 4 * PAGE)
    dma_map("map overlapping its end", container, at, 0x103000, 2 * PAGE)
    dma_map("map overlapping its start", container, at, 0xff000, 2 * PAGE)
    dma_map("map around it", container, at, 0xff000, 6 * PAGE)
    dma_map("map next to it", container, at, 0x104000, PAGE)
    dma_map("map read only", container, at, 0x200000, PAGE, flags=READ)
    dma_map("map write only", container, at, 0x201000, PAGE, flags=WRITE)
    dma_unmap("unmap argsz 23", container, 0x100000, PAGE, argsz=23)
    dma_unmap("unmap unknown flag", container, 0x100000, PAGE, flags=1 << 9)
    dma_unmap("unmap nothing", container, 0x100000, 0)
    dma_unmap("unmap iova unaligned", container, 0x100001, PAGE)
    dma_unmap("unmap size unaligned", container, 0x100000, PAGE + 1)
    dma_unmap("unmap wraps", container, TOP - PAGE, 2 * PAGE)
    dma_unmap("unmap first part", container, 0x100000, PAGE)
    dma_unmap("unmap last part", container, 0x103000, PAGE)
    dma_unmap("unmap middle", container, 0x101000, PAGE)
    dma_unmap("unmap from outside into it", container, 0xff000, 2 * PAGE)
    dma_unmap("unmap where nothing is", container, 0x900000, PAGE)
    dma_unmap("unmap all with a range", container, 0x100000, PAGE, flags=2)
    dma_unmap("unmap all with a size", container, 0, PAGE, flags=2)
    dma_unmap("unmap all and bitmap", container, 0, 0, flags=3)
    dma_unmap("unmap bitmap without one", container, 0x100000, 4 * PAGE, flags=1)
    dma_unmap("unmap vaddr", container, 0x900000, PAGE, flags=4)
    ask("unmap nowhere", container, UNMAP_DMA, NOWHERE)
    dma_unmap("unmap", container, 0x100000, 4 * PAGE)
    dma_unmap("unmap again", container, 0x100000, 4 * PAGE)
    dma_unmap("unmap several", container, 0x100000, 0x200000)
    dma_map("map once more", container, at, 0x100000, 2 * PAGE)
    dma_unmap("unmap all", container, 0, 0, flags=2)
    dma_unmap("unmap all of nothing", container, 0, 0, flags=2)
    dma_map("map near the top", container, at, (1 << 39) - PAGE, PAGE)
    dma_unmap("unmap near the top", container, (1 << 39) - PAGE, PAGE)
    ask_dirty(container, memory)


def dirty(name, container, flags, argsz=None, data=b""):
    raw = struct.pack("<II", 8 + len(data) if argsz is None else argsz, flags) + data
    ask(name, container, DIRTY_PAGES, raw + bytes(64))


def ask_dirty(container, memory):
    bits = Memory(PAGE).address

    def bitmap(iova=0x100000, size=4 * PAGE, page=PAGE, room=8, data=bits):
        return struct.pack("<QQQQQ", iova, size, page, room, data)
    dma_map("dirty map", container, memory.address, 0x100000, 4 * PAGE)
    dirty("dirty report before start", container, 4, data=bitmap())
    dirty("dirty stop before start", container, 2)
    dirty("dirty no flags", container, 0)
    dirty("dirty unknown flag", container, 8)
    dirty("dirty two flags", container, 3)
    dirty("dirty argsz 7", container, 1, argsz=7)
    dirty("dirty start", container, 1)
    dirty("dirty start again", container, 1)
    dirty("dirty report", container, 4, data=bitmap())
    dirty("dirty report argsz", container, 4, argsz=8, data=bitmap())
    dirty("dirty report page 8192", container, 4, data=bitmap(page=2 * PAGE))
    dirty("dirty report page 0", container, 4, data=bitmap(page=0))
    dirty("dirty report nothing", container, 4, data=bitmap(size=0))
    dirty("dirty report unaligned", container, 4, data=bitmap(iova=0x100001))
    dirty("dirty report no room", container, 4, data=bitmap(room=0))
    dirty("dirty report much room", container, 4, data=bitmap(room=64))
    dirty("dirty report to nowhere", container, 4, data=bitmap(data=NOWHERE))
    dirty("dirty report cuts", container, 4, data=bitmap(size=PAGE))
    dirty("dirty report beyond", container, 4, data=bitmap(size=8 * PAGE))
    dirty("dirty report elsewhere", container, 4, data=bitmap(iova=0x900000))
    ask("unmap with bitmap", container, UNMAP_DMA,
        struct.pack("<IIQQ", 48, 1, 0x100000, 4 * PAGE) + struct.pack("<QQQ", PAGE, 8, bits),
        lambda raw: [f"{struct.unpack_from('<Q', raw, 16)[0]:#x}"])
    dirty("dirty stop", container, 2)
    dirty("dirty stop again", container, 2)
    ask("dirty nowhere", container, DIRTY_PAGES, NOWHERE)


def ask_info(device):
    ask("device info", device, DEVICE_GET_INFO, struct.pack("<I", 20) + bytes(16), lambda raw: u32(raw, 4, 8, 12))
    for argsz in (0, 15, 16):
        ask(f"device info argsz {argsz}", device, DEVICE_GET_INFO, struct.pack("<I", argsz) + bytes(28))
    ask("device info nowhere", device, DEVICE_GET_INFO, NOWHERE)
    for index in range(11):
        ask(f"region {index}", device, DEVICE_GET_REGION_INFO, struct.pack("<III", 32, 0, index) + bytes(20),
            lambda raw: u32(raw, 4) + [f"{size:#x}" for size in struct.unpack_from("<QQ", raw, 16)])
    ask("region argsz 31", device, DEVICE_GET_REGION_INFO, struct.pack("<III", 31, 0, 0) + bytes(20))
    ask("region index at the top", device, DEVICE_GET_REGION_INFO, struct.pack("<III", 32, 0, 2 ** 32 - 1) + bytes(20))
    ask("region nowhere", device, DEVICE_GET_REGION_INFO, NOWHERE)
    for index in (*range(6), 2 ** 32 - 1):
        ask(f"irq {index}", device, DEVICE_GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0), lambda raw: u32(raw, 4, 12))
    ask("irq argsz 15", device, DEVICE_GET_IRQ_INFO, struct.pack("<IIII", 15, 0, 0, 0))
    ask("irq nowhere", device, DEVICE_GET_IRQ_INFO, NOWHERE)


def region(device, index):
    _, raw = ask(None, device, DEVICE_GET_REGION_INFO, struct.pack("<III", 32, 0, index) + bytes(20))
    return struct.unpack_from("<QQ", raw, 16)


def ask_access(device, memory):
    at = memory.address
    for name, call in (("read", device.pread), ("write", device.pwrite)):
        def access(what, offset, size, buffer=at):
            line(f"{name} {what}", shown(call(buffer, size, offset)))
        for label, index in (("bar", BAR0), ("config", CONFIG)):
            size, start = region(device, index)
            # 0x8 of BAR 0 is a status register, 0x3c of configuration space one for programs: nothing happens there.
            quiet = 0x8 if index == BAR0 else 0x3c
            for width in (0, 1, 2, 3, 4, 8) if index == BAR0 else (0, 1, 2, 4):
                access(f"{label} {width} bytes", start + quiet, width)
            if name == "read" or index == BAR0:
                access(f"{label} last bytes", start + size - 4, 4)
                access(f"{label} over the end", start + size - 4, 8)
            access(f"{label} at the end", start + size, 4)
            access(f"{label} behind the end", start + size + PAGE, 4)
            access(f"{label} to nowhere", start + quiet, 4, NOWHERE)
        for index in (1, 4, ROM, VGA, 9, 40):
            access(f"region {index}", index * REGION, 4)
        access("nothing of no region", 40 * REGION, 0)
        access("at a negative offset", -8, 4)
    line("seek", shown(device.seek()))


def ask_config(device, memory):
    """What tells drivers which card it is, and what its BARs read while they are sized."""
    def read(at, size):
        answer = device.pread(memory.address, size, CONFIG * REGION + at)
        return ctypes.string_at(memory.address, size)[::-1].hex() if answer == size else shown(answer)

    def write(at, value):
        ctypes.memmove(memory.address, value.to_bytes(4, "little"), 4)
        return shown(device.pwrite(memory.address, 4, CONFIG * REGION + at))
    for name, at, size in (("identity", 0, 4), ("class", 8, 4), ("header type", 0xe, 1), ("subsystem", 0x2c, 4), ("interrupt pin", 0x3d, 1)):
        line(f"config {name}", read(at, size))
    for at in (*range(0x10, 0x28, 4), 0x30):
        was = int(read(at, 4), 16)
        line(f"config bar at {at:#x} sized", write(at, 0xfffff801 if at == 0x30 else 2 ** 32 - 1), read(at, 4))
        line(f"config bar at {at:#x} back", write(at, was), "same" if int(read(at, 4), 16) == was else "other")


def ask_mmap(device):
    size, start = region(device, BAR0)
    _, config = region(device, CONFIG)

    def map_at(name, offset, length, flags=SHARED, protection=3):
        line("mmap " + name, shown(device.mmap(length, protection, flags, offset)))
    map_at("a page", start, PAGE)
    map_at("the bar", start, size)
    map_at("to read", start, PAGE, protection=1)
    map_at("nothing", start, 0)
    map_at("a part of a page", start, 100)
    map_at("private", start, PAGE, flags=PRIVATE)
    map_at("unaligned", start + 0x10, PAGE)
    map_at("last page", start + size - PAGE, PAGE)
    map_at("over the end", start + size - PAGE, 2 * PAGE)
    map_at("behind the end", start + size, PAGE)
    map_at("config", config, PAGE)
    map_at("rom", ROM * REGION, PAGE)
    map_at("no bar", 4 * REGION, PAGE)
    map_at("no region", 40 * REGION, PAGE)


def set_irqs(name, device, flags, index=0, start=0, count=1, data=b"", argsz=None):
    ask(name, device, DEVICE_SET_IRQS,
        struct.pack("<IIIII", 20 + len(data) if argsz is None else argsz, flags, index, start, count) + data)


def ask_irqs(device):
    event = os.eventfd(0, os.EFD_NONBLOCK)
    other = os.open("/dev/null", os.O_RDWR)

    def fds(*numbers):
        return struct.pack(f"<{len(numbers)}i", *numbers)

    def off(index):
        set_irqs(None, device, NONE | TRIGGER, index, 0, 0)
    set_irqs("irqs argsz 19", device, NONE | TRIGGER, argsz=19)
    set_irqs("irqs argsz without data", device, EVENTFD | TRIGGER, argsz=20)
    set_irqs("irqs no flags", device, 0)
    set_irqs("irqs no data type", device, TRIGGER)
    set_irqs("irqs no action", device, NONE)
    set_irqs("irqs two data types", device, NONE | BOOL | TRIGGER, data=b"\1")
    set_irqs("irqs two actions", device, NONE | MASK | UNMASK)
    set_irqs("irqs unknown flag", device, NONE | TRIGGER | 1 << 9)
    for index in (5, 6, 2 ** 32 - 1):
        set_irqs(f"irqs index {index}", device, NONE | TRIGGER, index)
    set_irqs("irqs start beyond", device, NONE | TRIGGER, 0, 1, 1)
    set_irqs("irqs start wraps", device, NONE | TRIGGER, 0, 2 ** 32 - 1, 1)
    set_irqs("irqs count beyond", device, NONE | TRIGGER, 0, 0, 2)
    set_irqs("irqs count wraps", device, NONE | TRIGGER, 0, 1, 2 ** 32 - 1)
    set_irqs("irqs none of eventfd", device, EVENTFD | TRIGGER, 0, 0, 0)
    set_irqs("irqs mask none", device, NONE | MASK, 0, 0, 0)
    ask("irqs nowhere", device, DEVICE_SET_IRQS, NOWHERE)
    for index, name in enumerate(KINDS):
        _, raw = ask(None, device, DEVICE_GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
        count = struct.unpack_from("<I", raw, 12)[0]
        set_irqs(f"{name} disable when off", device, NONE | TRIGGER, index, 0, 0)
        set_irqs(f"{name} trigger when off", device, NONE | TRIGGER, index)
        set_irqs(f"{name} trigger by bool when off", device, BOOL | TRIGGER, index, data=b"\1")
        set_irqs(f"{name} mask when off", device, NONE | MASK, index)
        set_irqs(f"{name} unmask when off", device, NONE | UNMASK, index)
        set_irqs(f"{name} eventfd that is none", device, EVENTFD | TRIGGER, index, data=fds(other))
        set_irqs(f"{name} eventfd that is closed", device, EVENTFD | TRIGGER, index, data=fds(999))
        set_irqs(f"{name} eventfd -2", device, EVENTFD | TRIGGER, index, data=fds(-2))
        set_irqs(f"{name} no eventfd when off", device, EVENTFD | TRIGGER, index, data=fds(-1))
        off(index)
        set_irqs(f"{name} on", device, EVENTFD | TRIGGER, index, data=fds(event))
        set_irqs(f"{name} on again", device, EVENTFD | TRIGGER, index, data=fds(event))
        set_irqs(f"{name} one more", device, EVENTFD | TRIGGER, index, 1, 1, data=fds(event))
        set_irqs(f"{name} too many", device, EVENTFD | TRIGGER, index, 0, count + 1, data=fds(*[event] * (count + 1)))
        set_irqs(f"{name} trigger", device, NONE | TRIGGER, index)
        set_irqs(f"{name} trigger by bool", device, BOOL | TRIGGER, index, data=b"\1")
        set_irqs(f"{name} trigger by false", device, BOOL | TRIGGER, index, data=b"\0")
        line(f"{name} heard", heard(event))
        set_irqs(f"{name} mask", device, NONE | MASK, index)
        set_irqs(f"{name} mask by bool", device, BOOL | MASK, index, data=b"\1")
        set_irqs(f"{name} mask by eventfd", device, EVENTFD | MASK, index, data=fds(event))
        set_irqs(f"{name} unmask", device, NONE | UNMASK, index)
        set_irqs(f"{name} unmask by bool", device, BOOL | UNMASK, index, data=b"\1")
        set_irqs(f"{name} unmask by eventfd", device, EVENTFD | UNMASK, index, data=fds(event))
        set_irqs(f"{name} unmask by no eventfd", device, EVENTFD | UNMASK, index, data=fds(-1))
        for rival, label in ((0, "intx"), (1, "msi"), (2, "msix")):
            if rival != index:
                set_irqs(f"{label} on while {name} is on", device, EVENTFD | TRIGGER, rival, data=fds(event))
                if index > 2:
                    off(rival)
        set_irqs(f"{name} no eventfd", device, EVENTFD | TRIGGER, index, data=fds(-1))
        set_irqs(f"{name} disable", device, NONE | TRIGGER, index, 0, 0)
        set_irqs(f"{name} disable again", device, NONE | TRIGGER, index, 0, 0)
    os.close(other)
    os.close(event)


def heard(event):
    try:
        return os.eventfd_read(event)
    except BlockingIOError:
        return 0


def feature(name, device, number, action, data=b"", argsz=None):
    ask(name, device, FEATURE, struct.pack("<II", 8 + len(data) if argsz is None else argsz, number | action << 16) + data)


def ask_feature(device):
    get, put, probe = 1, 2, 4
    feature("feature argsz 7", device, 0, get, argsz=7)
    feature("feature unknown flag", device, 0, 1 << 8)
    feature("feature unknown", device, 0xfff0, get, bytes(8))
    feature("feature unknown probe", device, 0xfff0, get | probe)
    feature("feature get and set", device, 1, get | put, bytes(8))
    feature("feature nothing", device, 1, 0, bytes(8))
    for number, name in ((0, "token"), (1, "migration"), (2, "state"), (6, "log start"), (7, "log stop"), (8, "log report"),
                         (9, "data size")):
        feature(f"feature {name} get probe", device, number, get | probe)
        feature(f"feature {name} set probe", device, number, put | probe)
        feature(f"feature {name} get", device, number, get, bytes(40))
        feature(f"feature {name} set", device, number, put, bytes(40))
        feature(f"feature {name} get without room", device, number, get)
    ask("feature nowhere", device, FEATURE, NOWHERE)


def ask_reset(device):
    ask("hot reset info argsz 11", device, GET_HOT_RESET_INFO, struct.pack("<III", 11, 0, 0))
    ask("hot reset info", device, GET_HOT_RESET_INFO, struct.pack("<III", 12, 0, 0))
    ask("hot reset info nowhere", device, GET_HOT_RESET_INFO, NOWHERE)
    ask("hot reset argsz 11", device, HOT_RESET, struct.pack("<III", 11, 0, 0))
    ask("hot reset flags", device, HOT_RESET, struct.pack("<III", 12, 1, 0))
    ask("hot reset nowhere", device, HOT_RESET, NOWHERE)
    ask("hot reset no groups", device, HOT_RESET, struct.pack("<III", 12, 0, 0))
    ask("hot reset with what is no group", device, HOT_RESET, struct.pack("<IIIi", 16, 0, 1, 0))
    ask("device reset", device, DEVICE_RESET)
    ask("device unknown", device, vfio(90))
    ask("device of another type", device, 0x5401, bytes(64))
