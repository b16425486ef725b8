# SPDX-License-Identifier: BSD-3-Clause
"""vfio_probe.py ADDRESS: asks VFIO for the function at ADDRESS in every right and wrong way, one line for each: what was
asked, and the answer (an errno by name, or what came back). A program like any other: it may have the kernel's VFIO
before it or a stand-in, whose lines are to be the same."""
import ctypes
import errno
import os
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
for name in ("pread", "pwrite"):
    getattr(LIBC, name).argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    getattr(LIBC, name).restype = ctypes.c_ssize_t


def vfio(number):
    return 0x3b00 + 100 + number


# linux/vfio.h
(GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, GROUP_SET_CONTAINER, GROUP_UNSET_CONTAINER,
 GROUP_GET_DEVICE_FD, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, DEVICE_RESET,
 GET_HOT_RESET_INFO) = map(vfio, range(13))
HOT_RESET, IOMMU_GET_INFO, MAP_DMA, UNMAP_DMA, DIRTY_PAGES, FEATURE = vfio(13), vfio(12), vfio(13), vfio(14), vfio(17), vfio(17)
TYPE1, TYPE1V2, SPAPR, NOIOMMU = 1, 3, 2, 8
BAR0, ROM, CONFIG, VGA = 0, 6, 7, 8
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 16, 32
READ, WRITE = 1, 2
PAGE, TOP = 4096, 1 << 64
NOWHERE = 0x10  # an address that no program has
SHARED, PRIVATE, ANONYMOUS = 1, 2, 0x20


def shown(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else str(result)


def line(name, *answers):
    print(name.replace(" ", "_"), *answers, flush=True)


def ask(name, fd, request, argument=None, fields=None):
    """One ioctl. bytes are handed over in a buffer, and what `fields` picks of it afterwards belongs to the answer."""
    buffer = ctypes.create_string_buffer(argument, max(len(argument), 1)) if isinstance(argument, bytes) else argument
    ctypes.set_errno(0)
    result = LIBC.ioctl(fd, request, ctypes.addressof(buffer) if isinstance(argument, bytes) else argument)
    answer = [shown(result)]
    if result >= 0 and fields:
        answer += [str(field) for field in fields(buffer.raw)]
    if name:
        line(name, *answer)
    return result, buffer.raw if isinstance(argument, bytes) else None


def u32(raw, *at):
    return [f"{struct.unpack_from('<I', raw, where)[0]:#x}" for where in at]


class Memory:
    """Shared memory that a stand-in can pass on, at an address of its own."""

    def __init__(self, size):
        self.fd, self.size = os.memfd_create("probe"), size
        os.ftruncate(self.fd, size)
        self.address = LIBC.mmap(None, size, 3, SHARED, self.fd, 0)


def ask_container(container, suffix=""):
    """What does not depend on whether an IOMMU is set."""
    ask("api version" + suffix, container, GET_API_VERSION)
    for extension in (TYPE1, TYPE1V2, SPAPR, 4, 7, NOIOMMU, 9, 10, 99):
        ask(f"check extension {extension}" + suffix, container, CHECK_EXTENSION, extension)
    ask("container unknown" + suffix, container, vfio(90))
    ask("container of another type" + suffix, container, 0x5401, bytes(64))
    ask("container reset" + suffix, container, DEVICE_RESET)
    ctypes.set_errno(0)
    line("container read" + suffix, shown(LIBC.pread(container, Memory(PAGE).address, 8, 0)))
    line("container write" + suffix, shown(LIBC.pwrite(container, Memory(PAGE).address, 8, 0)))
    line("container mmap" + suffix, shown(-1 if LIBC.mmap(None, PAGE, 3, SHARED, container, 0) == 2 ** 64 - 1 else 0))


def dma_map(name, container, vaddr, iova, size, flags=READ | WRITE, argsz=32):
    ask(name, container, MAP_DMA, struct.pack("<IIQQQ", argsz, flags, vaddr, iova % TOP, size % TOP))


def dma_unmap(name, container, iova, size, flags=0, argsz=24):
    ask(name, container, UNMAP_DMA, struct.pack("<IIQQ", argsz, flags, iova % TOP, size % TOP),
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
    dma_map("map the msi window", container, at, 0xfee00000, PAGE)
    dma_map("map into the msi window", container, at, 0xfedff000, 2 * PAGE)
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
            lambda raw: [f"{size:#x}" for size in struct.unpack_from("<QQ", raw, 16)])
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
    for name, call in (("read", LIBC.pread), ("write", LIBC.pwrite)):
        def access(what, offset, size, buffer=at):
            ctypes.set_errno(0)
            line(f"{name} {what}", shown(call(device, buffer, size, offset)))
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
            access(f"region {index}", index << 40, 4)
        access("nothing of no region", 40 << 40, 0)
        access("at a negative offset", -8, 4)
    ctypes.set_errno(0)
    line("seek", shown(LIBC.lseek(device, 0, 0)))


def ask_mmap(device):
    size, start = region(device, BAR0)
    _, config = region(device, CONFIG)

    def map_at(name, offset, length, flags=SHARED, protection=3):
        ctypes.set_errno(0)
        got = LIBC.mmap(None, length, protection, flags, device, offset)
        line("mmap " + name, shown(-1 if got == TOP - 1 else 0))
        if got != TOP - 1:
            LIBC.munmap(got, length)
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
    map_at("rom", ROM << 40, PAGE)
    map_at("no bar", 4 << 40, PAGE)
    map_at("no region", 40 << 40, PAGE)


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
    for index, name in enumerate(("intx", "msi", "msix", "err", "req")):
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


def status(name, group, argsz=8):
    ask(name, group, GROUP_GET_STATUS, struct.pack("<II", argsz, 0), lambda raw: u32(raw, 4))


def main(address):
    number = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{address}/iommu_group"))
    memory = Memory(16 * PAGE)
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    ask_container(container)
    ask("set iommu without a group", container, SET_IOMMU, TYPE1V2)
    ask("iommu info before set", container, IOMMU_GET_INFO, struct.pack("<II", 16, 0) + bytes(24))
    dma_map("map before set", container, memory.address, 0, PAGE)
    dma_unmap("unmap before set", container, 0, PAGE)
    dirty("dirty before set", container, 1)
    group = os.open(f"/dev/vfio/{number}", os.O_RDWR)
    line("open the group again", shown(LIBC.open(f"/dev/vfio/{number}".encode(), os.O_RDWR)))
    line("open a group that is not there", shown(LIBC.open(b"/dev/vfio/9999", os.O_RDWR)))
    status("group status", group)
    status("group status argsz 7", group, 7)
    ask("group status nowhere", group, GROUP_GET_STATUS, NOWHERE)
    ask("group unknown", group, vfio(90))
    ask("group device info", group, DEVICE_GET_INFO, struct.pack("<I", 16) + bytes(16))
    ctypes.set_errno(0)
    line("group read", shown(LIBC.pread(group, memory.address, 8, 0)))
    name = ctypes.create_string_buffer(address.encode())
    ask("device before container", group, GROUP_GET_DEVICE_FD, ctypes.addressof(name))
    wrong = ctypes.create_string_buffer(b"0000:7f:00.0")
    ask("unknown device before container", group, GROUP_GET_DEVICE_FD, ctypes.addressof(wrong))
    ask("unset container before set", group, GROUP_UNSET_CONTAINER)
    for label, fd in (("that is a group", group), ("that is a file", 0), ("that is closed", 999), ("minus one", -1)):
        ask(f"set container {label}", group, GROUP_SET_CONTAINER, struct.pack("<i", fd))
    ask("set container nowhere", group, GROUP_SET_CONTAINER, NOWHERE)
    ask("set container", group, GROUP_SET_CONTAINER, struct.pack("<i", container))
    ask("set container again", group, GROUP_SET_CONTAINER, struct.pack("<i", container))
    status("group status in a container", group)
    ask("device before iommu", group, GROUP_GET_DEVICE_FD, ctypes.addressof(name))
    for kind in (SPAPR, NOIOMMU, 0, 99):
        ask(f"set iommu {kind}", container, SET_IOMMU, kind)
    ask("set iommu", container, SET_IOMMU, TYPE1V2)
    ask("set iommu again", container, SET_IOMMU, TYPE1V2)
    ask("set iommu to another", container, SET_IOMMU, TYPE1)
    ask_container(container, " with iommu")
    ask_iommu(container, memory)
    for label, text in (("of an unknown name", b"0000:7f:00.0"), ("empty", b""), ("longer", address.encode() + b"0"),
                        ("with a newline", address.encode() + b"\n"), ("with an option", address.encode() + b" speed=1"), ("short form", address[5:].encode())):
        wrong = ctypes.create_string_buffer(text)
        ask(f"device {label}", group, GROUP_GET_DEVICE_FD, ctypes.addressof(wrong))
    ask("device nowhere", group, GROUP_GET_DEVICE_FD, NOWHERE)
    device, _ = ask(None, group, GROUP_GET_DEVICE_FD, ctypes.addressof(name))
    line("device", "opened" if device >= 0 else errno.errorcode[ctypes.get_errno()])
    second, _ = ask(None, group, GROUP_GET_DEVICE_FD, ctypes.addressof(name))
    line("device twice", "opened" if second >= 0 else errno.errorcode[ctypes.get_errno()])
    os.close(second)
    ask("unset container with a device", group, GROUP_UNSET_CONTAINER)
    ask_info(device)
    LIBC.pwrite(device, ctypes.create_string_buffer(struct.pack("<H", 6)), 2, (CONFIG << 40) + 4)  # memory, bus master
    ask_access(device, memory)
    ask_mmap(device)
    ask_irqs(device)
    ask_feature(device)
    ask_reset(device)
    # The end, out of order: group and container first.
    dma_map("map to leave behind", container, memory.address, 0, PAGE)
    os.close(group)
    line("open the group while its device is open", shown(LIBC.open(f"/dev/vfio/{number}".encode(), os.O_RDWR)))
    ask("device info without its group", device, DEVICE_GET_INFO, struct.pack("<I", 16) + bytes(16))
    dma_unmap("unmap without the group", container, 0, PAGE)
    os.close(container)
    ask("device info without its container", device, DEVICE_GET_INFO, struct.pack("<I", 16) + bytes(16))
    os.close(device)
    group = LIBC.open(f"/dev/vfio/{number}".encode(), os.O_RDWR)
    line("open the group after all", "opened" if group >= 0 else errno.errorcode[ctypes.get_errno()])
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    ask("set container of the new", group, GROUP_SET_CONTAINER, struct.pack("<i", container))
    ask("set iommu of type 1", container, SET_IOMMU, TYPE1)
    dma_map("type 1 map", container, memory.address, 0, 4 * PAGE)
    dirty("type 1 dirty start", container, 1)
    ask("unset container", group, GROUP_UNSET_CONTAINER)
    ask("iommu info of an empty container", container, IOMMU_GET_INFO, struct.pack("<II", 16, 0) + bytes(24))
    status("group status after", group)
    os.close(group)
    os.close(container)


main(sys.argv[1])
