# SPDX-License-Identifier: BSD-3-Clause
"""What QEMU and cloud-hypervisor send as they start, in their order, and what they need in the replies."""
from __future__ import annotations

import json
from typing import Callable

from . import wire
from .check import (CLOUD_HYPERVISOR, CLOUD_HYPERVISOR_JSON, QEMU, QEMU_JSON, Check, Differs, Probe, Skipped, answered,
                    device_of, error_text, expect, expect_alive, expect_reply, expect_success, region_of, vectors_of)
from .wire import Connection, Reply

RAM = 0x100000000
LARGEST_TRANSFER, LARGEST_MAPS, MOST_FDS = 64 << 20, 65535, 16  # what QEMU takes


def capabilities_of(reply: Reply) -> dict[str, object]:
    """Of a VERSION reply."""
    text = reply.payload[4:]
    expect(text.endswith(b"\0"), "VERSION: the JSON of the reply does not end with a NUL")
    try:
        value = json.loads(text.rstrip(b"\0"))
    except ValueError as problem:
        raise Differs(f"VERSION: the reply has no valid JSON: {problem}") from problem
    expect(isinstance(value, dict), "VERSION: the JSON of the reply is no object")
    capabilities = value.get("capabilities", {})
    expect(isinstance(capabilities, dict), "VERSION: capabilities are no object")
    return dict(capabilities)


def say_version(probe: Probe, text: str, minor: int) -> tuple[Connection, Reply]:
    connection = probe.connect()
    with answered("VERSION"):
        number = connection.post(wire.VERSION, wire.version(text, minor))
        reply = connection.receive()
    expect_success(reply, wire.VERSION, number=number)
    expect(len(reply.payload) >= 4, "VERSION: the reply has no version")
    return connection, reply


# QEMU, as of 10.1 (hw/vfio-user).


def qemu_version(probe: Probe) -> None:
    _, reply = say_version(probe, QEMU_JSON, 0)
    major, minor = reply.numbers("HH")
    expect((major, minor) == (0, 0), f"VERSION: {major}.{minor} in the reply to 0.0")
    request = wire.HEADER + len(wire.version(QEMU_JSON))
    expect(reply.size <= request, f"VERSION: the reply has {reply.size} bytes, and QEMU reads no more than its own {request}")
    expect(not reply.fds, "VERSION: QEMU takes no descriptor with the reply")


def qemu_limits(probe: Probe) -> None:
    _, reply = say_version(probe, QEMU_JSON, 0)
    found = capabilities_of(reply)

    def number(name: str, least: int, most: int) -> None:
        value = found.get(name)
        if value is not None:
            expect(isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
                   f"VERSION: {name} is {value!r}, and QEMU takes {least} to {most}")

    number("max_msg_fds", 0, MOST_FDS)
    number("max_data_xfer_size", 1, LARGEST_TRANSFER)
    number("max_dma_maps", 1, LARGEST_MAPS)
    number("pgsizes", 4096, 1 << 63)
    sizes = found.get("pgsizes", 4096)
    expect(isinstance(sizes, int) and sizes % 4096 == 0, f"VERSION: pgsizes {sizes!r} is no multiple of 4096")
    expect(isinstance(found.get("write_multiple", False), bool), "VERSION: write_multiple is no boolean")


def start_qemu(probe: Probe) -> Connection:
    """Up to its memory: maps go out together, before anything is asked, and not all have a descriptor."""
    connection, _ = say_version(probe, QEMU_JSON, 0)
    ram, maps = probe.memory(0x200000), []
    for address, size, offset, fd in ((0, 0xA0000, 0, ram), (0xC0000, 0x20000, 0, -1), (0xE0000, 0x20000, 0, -1),
                                      (0x100000, 0x100000, 0x100000, ram), (0xFFFC0000, 0x40000, 0, -1)):
        flags = wire.READABLE | (wire.WRITABLE if fd >= 0 else 0)
        maps.append(connection.post(wire.DMA_MAP, wire.dma_map(address, size, flags, offset), [fd] if fd >= 0 else None))
    with answered("DMA_MAP"):
        for number in maps:
            expect_success(connection.receive(), wire.DMA_MAP, 0, number)
    return connection


def qemu_memory(probe: Probe) -> None:
    expect_alive(start_qemu(probe))


def qemu_device(probe: Probe) -> None:
    flags, regions, irqs = device_of(start_qemu(probe))
    expect(flags & wire.PCI != 0, "DEVICE_GET_INFO: not a PCI device")
    expect(8 <= regions <= 100, f"DEVICE_GET_INFO: {regions} regions, and QEMU takes 8 to 100")
    expect(3 <= irqs <= 50, f"DEVICE_GET_INFO: {irqs} kinds of interrupts, and QEMU takes 3 to 50")


def check_areas(reply: Reply, size: int) -> None:
    """The list of what can be mapped, if there is one."""
    at, seen = reply.numbers("IIII")[3], set()
    while at != 0:
        expect(at not in seen, "DEVICE_GET_REGION_INFO: the chain of capabilities is a loop")
        expect(32 <= at <= len(reply.payload) - 8, f"DEVICE_GET_REGION_INFO: a capability at {at}, outside of the reply")
        seen.add(at)
        kind = int.from_bytes(reply.payload[at : at + 2], "little")
        if kind == 1:
            count = int.from_bytes(reply.payload[at + 8 : at + 12], "little")
            expect(at + 16 + 16 * count <= len(reply.payload), "DEVICE_GET_REGION_INFO: areas outside of the reply")
            for each in range(count):
                where = at + 16 + 16 * each
                start = int.from_bytes(reply.payload[where : where + 8], "little")
                length = int.from_bytes(reply.payload[where + 8 : where + 16], "little")
                expect(start % 4096 == 0 and length % 4096 == 0 and start + length <= max(size, 4096),
                       f"DEVICE_GET_REGION_INFO: an area at {start:#x} of {length:#x} bytes in a region of {size:#x}")
        at = int.from_bytes(reply.payload[at + 4 : at + 8], "little")


def qemu_regions(probe: Probe) -> None:
    connection = start_qemu(probe)
    device_of(connection)
    for index in (0, 1, 2, 3, 4, 5, wire.CONFIG, wire.ROM):
        with answered(f"DEVICE_GET_REGION_INFO {index}"):
            first = connection.ask(wire.GET_REGION_INFO, wire.region_info(index))
            expect_success(first, wire.GET_REGION_INFO)
            argsz, flags, which, _, size, _ = first.numbers("IIIIQQ")
            expect(which == index, f"DEVICE_GET_REGION_INFO: the reply for region {index} is for {which}")
            expect(argsz >= 32, f"DEVICE_GET_REGION_INFO: argsz {argsz}")
            expect(first.size <= wire.HEADER + 32, "DEVICE_GET_REGION_INFO: a longer reply than argsz 32 has room for")
            if argsz > 32:
                second = connection.ask(wire.GET_REGION_INFO, wire.region_info(index, argsz))
                expect_success(second, wire.GET_REGION_INFO, argsz)
                check_areas(second, size)
                expect(len(second.fds) == len(first.fds), "DEVICE_GET_REGION_INFO: a descriptor with one of both replies only")
        if flags & wire.MAPPABLE:
            expect(len(first.fds) == 1, f"DEVICE_GET_REGION_INFO: region {index} can be mapped, and has no descriptor")
    _, size = region_of(connection, wire.CONFIG)
    expect(size in (256, 4096), f"DEVICE_GET_REGION_INFO: configuration space has {size} bytes")


def read(connection: Connection, region: int, offset: int, count: int) -> bytes:
    with answered("REGION_READ"):
        number = connection.post(wire.REGION_READ, wire.access(region, offset, count))
        reply = expect_success(connection.receive(), wire.REGION_READ, 16 + count, number)
    expect(reply.numbers("QII") == (offset, region, count), "REGION_READ: the reply is for another place")
    return reply.payload[16:]


def qemu_config(probe: Probe) -> None:
    connection = start_qemu(probe)
    device_of(connection)
    whole = read(connection, wire.CONFIG, 0, 256)
    expect(whole[0:2] not in (b"\0\0", b"\xff\xff"), "REGION_READ: configuration space has no vendor")
    for size in (1, 2, 4):
        for at in range(0, 64, size):
            part = read(connection, wire.CONFIG, at, size)
            expect(part == whole[at : at + size] or at in (4, 6), f"REGION_READ: config {at:#x} reads otherwise by {size}")
    expect(whole[0x0E] & 0x7F == 0, f"REGION_READ: header type {whole[0x0E]:#x}")
    at, hops = whole[0x34] & 0xFC if whole[6] & 0x10 else 0, 0
    while at:
        hops += 1
        expect(hops < 48 and at >= 0x40, "REGION_READ: the chain of capabilities does not end")
        at = whole[at + 1] & 0xFC


def qemu_posted_write(probe: Probe) -> None:
    connection = start_qemu(probe)
    command = read(connection, wire.CONFIG, 4, 2)
    with answered("REGION_WRITE without a reply, and REGION_READ"):
        connection.post(wire.REGION_WRITE, wire.access(wire.CONFIG, 4, 2, command), flags=wire.NO_REPLY)
        number = connection.post(wire.REGION_READ, wire.access(wire.CONFIG, 4, 2))
        expect_success(connection.receive(), wire.REGION_READ, 18, number)


def qemu_sizing(probe: Probe) -> None:
    """As firmware finds the sizes of BARs."""
    connection = start_qemu(probe)
    for index in range(6):
        _, size = region_of(connection, index)
        at, before = 0x10 + 4 * index, read(connection, wire.CONFIG, 0x10 + 4 * index, 4)
        if size == 0:
            continue
        write(connection, wire.CONFIG, at, b"\xff\xff\xff\xff")
        answer = int.from_bytes(read(connection, wire.CONFIG, at, 4), "little")
        write(connection, wire.CONFIG, at, before)
        mask = answer & (~3 if answer & 1 else ~15) & 0xFFFFFFFF
        found = -mask & (0xFFFF if answer & 1 and mask < 0x10000 else 0xFFFFFFFF)
        expect(size >= 1 << 32 or found == size,
               f"REGION_WRITE: BAR {index} has {size:#x} bytes, and its register says {found:#x}")


def write(connection: Connection, region: int, offset: int, data: bytes) -> None:
    with answered("REGION_WRITE"):
        number = connection.post(wire.REGION_WRITE, wire.access(region, offset, len(data), data))
        reply = expect_success(connection.receive(), wire.REGION_WRITE, 16, number)
    expect(reply.numbers("QII") == (offset, region, len(data)), "REGION_WRITE: the reply is for another place")


def ask_irqs(connection: Connection, payload: bytes, fds: list[int] | None, what: str) -> None:
    with answered(f"DEVICE_SET_IRQS ({what})"):
        number = connection.post(wire.SET_IRQS, payload, fds)
        reply = connection.receive()
    expect_reply(reply, wire.SET_IRQS, number)
    expect(reply.error == 0, f"DEVICE_SET_IRQS ({what}): {error_text(reply.error)}")


def qemu_msix(probe: Probe) -> None:
    connection = start_qemu(probe)
    count = vectors_of(connection, wire.MSIX)
    if count == 0:
        raise Skipped("the device has no MSI-X")
    on = wire.EVENTFD | wire.TRIGGER
    ask_irqs(connection, wire.set_irqs(wire.MSIX, on, 0, 1), None, "a vector without a descriptor")
    ask_irqs(connection, wire.set_irqs(wire.MSIX, on, 0, 1), [probe.eventfd()], "a vector's descriptor")
    ask_irqs(connection, wire.set_irqs(wire.MSIX, on, 0, 1), [probe.eventfd()], "another descriptor for it")
    ask_irqs(connection, wire.set_irqs(wire.MSIX, wire.NONE | wire.TRIGGER, 0, 0), None, "off")
    ask_irqs(connection, wire.set_irqs(wire.MSIX, wire.NONE | wire.TRIGGER, 0, 0), None, "off again")


def qemu_intx(probe: Probe) -> None:
    connection = start_qemu(probe)
    if vectors_of(connection, wire.INTX) == 0:
        raise Skipped("the device has no INTx")
    ask_irqs(connection, wire.set_irqs(wire.INTX, wire.EVENTFD | wire.TRIGGER, 0, 1), [probe.eventfd()], "on")
    ask_irqs(connection, wire.set_irqs(wire.INTX, wire.NONE | wire.MASK, 0, 1), None, "mask")
    ask_irqs(connection, wire.set_irqs(wire.INTX, wire.NONE | wire.UNMASK, 0, 1), None, "unmask")
    ask_irqs(connection, wire.set_irqs(wire.INTX, wire.NONE | wire.TRIGGER, 0, 0), None, "off")


def qemu_intx_resample(probe: Probe) -> None:
    connection = start_qemu(probe)
    if vectors_of(connection, wire.INTX) == 0:
        raise Skipped("the device has no INTx")
    ask_irqs(connection, wire.set_irqs(wire.INTX, wire.EVENTFD | wire.TRIGGER, 0, 1), [probe.eventfd()], "on")
    ask_irqs(connection, wire.set_irqs(wire.INTX, wire.EVENTFD | wire.UNMASK, 0, 1), [probe.eventfd()],
             "unmask by a descriptor")


def qemu_reset(probe: Probe) -> None:
    connection = start_qemu(probe)
    flags, _, _ = device_of(connection)
    if not flags & wire.RESETTABLE:
        raise Skipped("the device does not say that it can be reset")
    with answered("DEVICE_RESET"):
        expect_success(connection.ask(wire.RESET), wire.RESET, 0)
    read(connection, wire.CONFIG, 0, 4)


def qemu_unmap_all(probe: Probe) -> None:
    connection = start_qemu(probe)
    with answered("DMA_UNMAP"):
        expect_success(connection.ask(wire.DMA_UNMAP, wire.dma_unmap(0, 0, flags=2)), wire.DMA_UNMAP)
        expect_success(connection.ask(wire.DMA_MAP, wire.dma_map(0, 0x1000)), wire.DMA_MAP)


def qemu_feature(probe: Probe) -> None:
    """Later versions ask for migration."""
    connection = start_qemu(probe)
    with answered("DEVICE_FEATURE"):
        number = connection.post(wire.DEVICE_FEATURE, wire.feature(wire.PROBE | wire.GET | wire.MIGRATION))
        expect_reply(connection.receive(), wire.DEVICE_FEATURE, number)
    expect_alive(connection)


# cloud-hypervisor, with its vfio_user crate.


def start_cloud_hypervisor(probe: Probe) -> Connection:
    connection, _ = say_version(probe, CLOUD_HYPERVISOR_JSON, 1)
    return connection


def cloud_version(probe: Probe) -> None:
    _, reply = say_version(probe, CLOUD_HYPERVISOR_JSON, 1)
    major, minor = reply.numbers("HH")
    expect(major == 0 and minor <= 1, f"VERSION: {major}.{minor} in the reply to 0.1")
    text = json.loads(reply.payload[4:].rstrip(b"\0") or b"{}")
    expect("capabilities" in text, "VERSION: the reply's JSON has no capabilities")


def cloud_info(probe: Probe) -> None:
    connection = start_cloud_hypervisor(probe)
    _, regions, irqs = device_of(connection)
    for index in range(regions):
        with answered(f"DEVICE_GET_REGION_INFO {index}"):
            reply = connection.ask(wire.GET_REGION_INFO, wire.region_info(index))
            expect_success(reply, wire.GET_REGION_INFO)
    for index in range(irqs):
        with answered(f"DEVICE_GET_IRQ_INFO {index}"):
            expect_success(connection.ask(wire.GET_IRQ_INFO, wire.irq_info(index)), wire.GET_IRQ_INFO, 16)


def cloud_reset(probe: Probe) -> None:
    """It takes the flag for its opposite, so it resets what says that it cannot be."""
    connection = start_cloud_hypervisor(probe)
    with answered("DEVICE_RESET"):
        expect_success(connection.ask(wire.RESET), wire.RESET, 0)


def cloud_memory(probe: Probe) -> None:
    connection = start_cloud_hypervisor(probe)
    with answered("DMA_MAP and DMA_UNMAP"):
        expect_success(connection.ask(wire.DMA_MAP, wire.dma_map(RAM, 0x10000), [probe.memory()]), wire.DMA_MAP, 0)
        expect_success(connection.ask(wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x10000)), wire.DMA_UNMAP, 24)


def cloud_vectors(probe: Probe) -> None:
    connection = start_cloud_hypervisor(probe)
    count = min(vectors_of(connection, wire.MSIX), 16)
    if count == 0:
        raise Skipped("the device has no MSI-X")
    fds = [probe.eventfd() for _ in range(count)]
    ask_irqs(connection, wire.set_irqs(wire.MSIX, wire.EVENTFD | wire.TRIGGER, 0, count), fds,
             f"{count} descriptors in one message")


def cloud_errors(probe: Probe) -> None:
    """It reads replies by their usual size, whatever they say: a shorter one makes it wait for ever."""
    connection = start_cloud_hypervisor(probe)
    _, size = region_of(connection, wire.CONFIG)
    for command, payload, wanted in (
        (wire.REGION_READ, wire.access(wire.CONFIG, size, 4), 20), (wire.DMA_UNMAP, wire.dma_unmap(RAM + 1, 0x1000), 24),
        (wire.REGION_WRITE, wire.access(wire.CONFIG, size, 4, bytes(4)), 16),
    ):
        with answered(wire.NAMES[command]):
            reply = connection.ask(command, payload)
        expect(len(reply.payload) == wanted,
               f"{wire.NAMES[command]}: an error reply of {reply.size} bytes where {wire.HEADER + wanted} are read")


def _row(name: str, title: str, section: str, run: Callable[[Probe], None]) -> Check:
    return Check(name, title, section, run, (QEMU if name.startswith("qemu.") else CLOUD_HYPERVISOR,))


CHECKS = [
    _row("qemu.version", "QEMU's VERSION is answered as it wants it", "VFIO_USER_VERSION", qemu_version),
    _row("qemu.limits", "what VERSION offers is within what QEMU takes", "VFIO_USER_VERSION", qemu_limits),
    _row("qemu.memory", "DMA_MAPs come together, before all else, some without a descriptor", "VFIO_USER_DMA_MAP", qemu_memory),
    _row("qemu.device", "the device has what QEMU wants of a PCI device", "VFIO_USER_DEVICE_GET_INFO", qemu_device),
    _row("qemu.regions", "regions are described in two steps", "VFIO_USER_DEVICE_GET_REGION_INFO", qemu_regions),
    _row("qemu.config", "configuration space reads alike by 1, 2, 4 and 256 bytes", "VFIO_USER_REGION_READ", qemu_config),
    _row("qemu.sizing", "sizes of BARs are found by writing ones", "VFIO_USER_REGION_WRITE", qemu_sizing),
    _row("qemu.posted", "a posted write has no reply, and the next request one", "Header", qemu_posted_write),
    _row("qemu.msix", "MSI-X is turned on without a descriptor, given some, and turned off", "VFIO_USER_DEVICE_SET_IRQS",
         qemu_msix),
    _row("qemu.intx", "INTx is turned on, masked and unmasked", "VFIO_USER_DEVICE_SET_IRQS", qemu_intx),
    _row("qemu.intx_resample", "INTx may be unmasked by an eventfd", "VFIO_USER_DEVICE_SET_IRQS", qemu_intx_resample),
    _row("qemu.reset", "the device is reset with the machine", "VFIO_USER_DEVICE_RESET", qemu_reset),
    _row("qemu.unmap_all", "all memory goes in one DMA_UNMAP", "VFIO_USER_DMA_UNMAP", qemu_unmap_all),
    _row("qemu.feature", "DEVICE_FEATURE is answered", "VFIO_USER_DEVICE_FEATURE", qemu_feature),
    _row("cloud.version", "cloud-hypervisor's VERSION is answered as it wants it", "VFIO_USER_VERSION", cloud_version),
    _row("cloud.info", "each region and kind of interrupt is described", "VFIO_USER_DEVICE_GET_REGION_INFO", cloud_info),
    _row("cloud.reset", "the device can be reset", "VFIO_USER_DEVICE_RESET", cloud_reset),
    _row("cloud.memory", "memory comes and goes, with replies of the right size", "VFIO_USER_DMA_UNMAP", cloud_memory),
    _row("cloud.vectors", "sixteen descriptors come in one message", "VFIO_USER_DEVICE_SET_IRQS", cloud_vectors),
    _row("cloud.errors", "error replies are as long as others", "Header", cloud_errors),
]
