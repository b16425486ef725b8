# SPDX-License-Identifier: BSD-3-Clause
"""Every malformed message: it is refused, by an error reply or the end of its connection, and costs nobody else anything."""
from __future__ import annotations

import functools
import os
import socket
import struct
from typing import Callable

from . import wire
from .check import Check, Differs, Probe, answered, expect_alive, expect_error, expect_refusal, name_of
from .clients import RAM
from .messages import REQUESTS, with_memory
from .wire import Ended

# The stream is intact, and only what is asked for is wrong.
Wrong = tuple[str, int, bytes]

WRONG: list[Wrong] = [
    ("info_argsz", wire.GET_INFO, wire.get_info(argsz=8)),
    ("region_argsz", wire.GET_REGION_INFO, wire.region_info(0, argsz=16)),
    ("region_index", wire.GET_REGION_INFO, wire.region_info(1000)),
    ("region_index_max", wire.GET_REGION_INFO, wire.region_info(0xFFFFFFFF)),
    ("irq_argsz", wire.GET_IRQ_INFO, wire.irq_info(0, argsz=8)),
    ("irq_index", wire.GET_IRQ_INFO, wire.irq_info(1000)),
    ("io_fds_argsz", wire.GET_REGION_IO_FDS, struct.pack("<IIII", 8, 0, 0, 0)),
    ("io_fds_index", wire.GET_REGION_IO_FDS, struct.pack("<IIII", 16, 0, 1000, 0)),
    ("read_region", wire.REGION_READ, wire.access(1000, 0, 4)),
    ("read_beyond", wire.REGION_READ, wire.access(wire.CONFIG, 0x1000, 4)),
    ("read_over_the_end", wire.REGION_READ, wire.access(wire.CONFIG, 0xFFE, 4)),
    ("read_wraps", wire.REGION_READ, wire.access(wire.CONFIG, 2**64 - 2, 4)),
    ("read_huge", wire.REGION_READ, wire.access(wire.CONFIG, 0, 0xFFFFFFFF)),
    ("write_region", wire.REGION_WRITE, wire.access(1000, 0, 4, bytes(4))),
    ("write_beyond", wire.REGION_WRITE, wire.access(wire.CONFIG, 0x1000, 4, bytes(4))),
    ("write_wraps", wire.REGION_WRITE, wire.access(wire.CONFIG, 2**64 - 2, 4, bytes(4))),
    ("write_less_than_said", wire.REGION_WRITE, wire.access(wire.CONFIG, 0x3C, 4, bytes(1))),
    ("write_huge", wire.REGION_WRITE, wire.access(wire.CONFIG, 0, 0xFFFFFFFF, bytes(4))),
    ("map_argsz", wire.DMA_MAP, wire.dma_map(RAM << 1, 0x1000, argsz=16)),
    ("map_flags", wire.DMA_MAP, wire.dma_map(RAM << 1, 0x1000, flags=0x80000003)),
    ("map_wraps", wire.DMA_MAP, wire.dma_map(2**64 - 0x1000, 0x2000)),
    ("map_overlaps", wire.DMA_MAP, wire.dma_map(RAM + 0x8000, 0x10000)),
    ("map_inside", wire.DMA_MAP, wire.dma_map(RAM + 0x1000, 0x1000)),
    ("unmap_argsz", wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x10000, argsz=8)),
    ("unmap_part", wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x1000)),
    ("unmap_flags", wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x10000, flags=0x80000000)),
    ("unmap_wraps", wire.DMA_UNMAP, wire.dma_unmap(2**64 - 0x1000, 0x2000)),
    ("unmap_all_and_a_range", wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x10000, flags=2)),
    ("irqs_argsz", wire.SET_IRQS, wire.set_irqs(0, wire.NONE | wire.TRIGGER, 0, 0, argsz=8)),
    ("irqs_index", wire.SET_IRQS, wire.set_irqs(1000, wire.NONE | wire.TRIGGER, 0, 1)),
    ("irqs_two_actions", wire.SET_IRQS, wire.set_irqs(0, wire.NONE | wire.TRIGGER | wire.MASK, 0, 1)),
    ("irqs_no_action", wire.SET_IRQS, wire.set_irqs(0, wire.NONE, 0, 1)),
    ("irqs_two_kinds_of_data", wire.SET_IRQS, wire.set_irqs(0, wire.NONE | wire.BOOLEAN | wire.TRIGGER, 0, 1, b"\1")),
    ("irqs_unknown_flags", wire.SET_IRQS, wire.set_irqs(0, wire.NONE | wire.TRIGGER | 1 << 20, 0, 1)),
    ("irqs_beyond", wire.SET_IRQS, wire.set_irqs(wire.MSIX, wire.NONE | wire.TRIGGER, 5000, 1)),
    ("irqs_wrap", wire.SET_IRQS, wire.set_irqs(wire.MSIX, wire.NONE | wire.TRIGGER, 0xFFFFFFFF, 2)),
    ("irqs_huge", wire.SET_IRQS, wire.set_irqs(wire.MSIX, wire.BOOLEAN | wire.TRIGGER, 0, 0xFFFFFFFF, b"\1")),
    ("feature_argsz", wire.DEVICE_FEATURE, wire.feature(wire.PROBE | wire.GET | wire.MIGRATION, argsz=4)),
    ("feature_unknown_get", wire.DEVICE_FEATURE, wire.feature(wire.GET | 0xFFF0)),
    ("feature_get_and_set", wire.DEVICE_FEATURE, wire.feature(wire.GET | wire.SET | wire.STATE, bytes(8))),
    ("mig_read_while_running", wire.MIG_DATA_READ, struct.pack("<II", 8, 4096)),
    ("mig_write_while_running", wire.MIG_DATA_WRITE, struct.pack("<II", 12, 4) + bytes(4)),
    ("mig_read_huge", wire.MIG_DATA_READ, struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)),
    ("write_multi_huge", wire.WRITE_MULTI, struct.pack("<Q", 2**64 - 1)),
]


def wrong(command: int, payload: bytes, probe: Probe) -> None:
    """The stream is intact: an error, and the connection goes on."""
    connection = with_memory(probe)
    with answered(name_of(command)):
        number = connection.post(command, payload)
        expect_error(connection.receive(), command, number)
    expect_alive(connection)


def cut_short(command: int, payload: bytes, probe: Probe) -> None:
    connection = with_memory(probe)
    for size in {0, 4, len(payload) - 1}:
        if size < len(payload):
            connection.post(command, payload[:size])
            expect_refusal(connection, command)
            connection.close()  # most servers take one client at a time
            connection = with_memory(probe)


def surplus_fds(command: int, payload: bytes, probe: Probe) -> None:
    """As many as a kernel sends: whatever it says, the next client is served."""
    connection = with_memory(probe)
    try:
        connection.post(command, payload, [probe.memory(0x1000)] * 200)
        connection.receive()
    except (Ended, wire.Silent) as problem:
        if isinstance(problem, wire.Silent):
            raise Differs(f"{name_of(command)} with 200 descriptors: no reply") from problem
    connection.close()
    expect_alive(with_memory(probe))


# Headers that make no sense: the stream is lost, and may end.


def header(data: bytes, command: int, probe: Probe) -> None:
    connection = with_memory(probe)
    connection.send(data)
    expect_refusal(connection, command)


def a_reply(probe: Probe) -> None:
    """A reply to nothing may be ignored, refused, or end the connection."""
    connection = with_memory(probe)
    try:
        connection.send(wire.message(77, wire.GET_INFO, wire.get_info(), flags=wire.REPLY))
        number = connection.post(wire.REGION_READ, wire.access(wire.CONFIG, 0, 4))
        for _ in range(2):
            reply = connection.receive()
            if reply.number == number:
                return
    except Ended:
        return
    except wire.Silent as problem:
        raise Differs("after a reply to nothing: neither an answer nor the end of the connection") from problem


HEADERS: list[tuple[str, str, Callable[[Probe], None]]] = [
    ("size_0", "a message of 0 bytes", functools.partial(header, wire.message(9, wire.GET_INFO, size=0), wire.GET_INFO)),
    ("size_15", "a message of 15 bytes", functools.partial(header, wire.message(9, wire.GET_INFO, size=15), wire.GET_INFO)),
    ("size_max", "a message of 4 GiB",
     functools.partial(header, wire.message(9, wire.REGION_WRITE, bytes(16), size=0xFFFFFFFF), wire.REGION_WRITE)),
    ("type", "a message of an unknown type",
     functools.partial(header, wire.message(9, wire.GET_INFO, wire.get_info(), flags=0xF), wire.GET_INFO)),
    ("reply", "a reply to nothing", a_reply),
]


# VERSION.


def version(payload: bytes, probe: Probe) -> None:
    connection = probe.connect()
    connection.post(wire.VERSION, payload)
    expect_refusal(connection, wire.VERSION)
    connection.close()
    expect_alive(probe.greet())


def second_version(probe: Probe) -> None:
    connection = probe.greet()
    connection.post(wire.VERSION, wire.version("{}"))
    try:
        connection.receive()
    except Ended:
        return
    except wire.Silent as problem:
        raise Differs("a second VERSION: neither a reply nor the end of the connection") from problem


VERSIONS: list[tuple[str, bytes]] = [
    ("major", wire.version("{}", major=1)), ("empty", b""), ("short", b"\0\0\0"),
    ("no_nul", struct.pack("<HH", 0, 0) + b'{"capabilities":{}}'), ("no_json", wire.version("nonsense")),
    ("array", wire.version("[]")), ("text", wire.version('"capabilities"')),
    ("limits_are_text", wire.version('{"capabilities":{"max_msg_fds":"many"}}')),
    ("capabilities_are_text", wire.version('{"capabilities":"all"}')),
    ("deep", wire.version('{"capabilities":' * 5000)),
]


# Descriptors that are no memory.


def odd_descriptor(make: Callable[[Probe], int], offset: int, probe: Probe) -> None:
    """It may be refused, or reached by message; the device does not fall over it."""
    connection = probe.greet()
    with answered("DMA_MAP"):
        connection.ask(wire.DMA_MAP, wire.dma_map(RAM, 0x1000, offset=offset), [make(probe)])
    expect_alive(connection)


def pipe(probe: Probe) -> int:
    reader, writer = os.pipe()
    probe.keep(writer)
    return probe.keep(reader)


def unix_socket(probe: Probe) -> int:
    return probe.keep(socket.socket(socket.AF_UNIX).detach())


def directory(probe: Probe) -> int:
    return probe.keep(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def vanishing(probe: Probe) -> None:
    """The file loses its pages after it was mapped: whoever touches them is to survive."""
    connection, fd = probe.greet(), probe.memory(0x10000)
    with answered("DMA_MAP"):
        connection.ask(wire.DMA_MAP, wire.dma_map(RAM, 0x10000), [fd])
    os.ftruncate(fd, 0)
    expect_alive(connection)


def odd_eventfd(probe: Probe) -> None:
    connection = probe.greet()
    with answered("DEVICE_SET_IRQS"):
        connection.ask(wire.SET_IRQS, wire.set_irqs(wire.ERR, wire.EVENTFD | wire.TRIGGER, 0, 1), [unix_socket(probe)])
    expect_alive(connection)


DESCRIPTORS: list[tuple[str, str, Callable[[Probe], None]]] = [
    ("pipe", "DMA_MAP of a pipe", functools.partial(odd_descriptor, pipe, 0)),
    ("socket", "DMA_MAP of a socket", functools.partial(odd_descriptor, unix_socket, 0)),
    ("eventfd", "DMA_MAP of an eventfd", functools.partial(odd_descriptor, Probe.eventfd, 0)),
    ("directory", "DMA_MAP of a directory", functools.partial(odd_descriptor, directory, 0)),
    ("offset", "DMA_MAP from beyond the end of a file", functools.partial(odd_descriptor, Probe.memory, 0x100000000)),
    ("offset_wraps", "DMA_MAP of an offset near 2^64", functools.partial(odd_descriptor, Probe.memory, 2**64 - 0x1000)),
    ("offset_unaligned", "DMA_MAP of an offset within a page", functools.partial(odd_descriptor, Probe.memory, 0x123)),
    ("vanishing", "memory whose file is truncated", vanishing),
    ("irq_socket", "an interrupt into a socket", odd_eventfd),
]

CHECKS = (
    [Check(f"wrong.{name}", f"{name_of(command)} with wrong {name.partition('_')[2].replace('_', ' ') or name} is an error",
           f"VFIO_USER_{name_of(command)}", functools.partial(wrong, command, payload)) for name, command, payload in WRONG]
    + [Check(f"short.{each.name}", f"{name_of(each.command)} that is cut short is refused",
             f"VFIO_USER_{name_of(each.command)}", functools.partial(cut_short, each.command, each.payload))
       for each in REQUESTS if each.payload and each.command in wire.NAMES]
    + [Check(f"fds.{each.name}", f"{name_of(each.command)} with 200 descriptors harms nobody", "Header",
             functools.partial(surplus_fds, each.command, each.payload)) for each in REQUESTS]
    + [Check(f"header.{name}", f"{title} is refused", "Header", run) for name, title, run in HEADERS]
    + [Check(f"version.{name}", f"VERSION with wrong contents ({name.replace('_', ' ')}) is refused", "VFIO_USER_VERSION",
             functools.partial(version, payload)) for name, payload in VERSIONS]
    + [Check("version.again", "a second VERSION is answered, or ends the connection", "VFIO_USER_VERSION", second_version)]
    + [Check(f"descriptor.{name}", f"{title} harms nobody", "VFIO_USER_DMA_MAP", run) for name, title, run in DESCRIPTORS]
)
