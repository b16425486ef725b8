# SPDX-License-Identifier: BSD-3-Clause
"""Every message in every state: what a server answers to requests that are well formed."""
from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Callable

from . import wire
from .check import (Check, Differs, Probe, Skipped, answered, device_of, expect, expect_alive, expect_error, expect_reply,
                    expect_success, name_of, region_of, vectors_of)
from .clients import RAM
from .wire import Connection, Ended

MUST, MAY, MUST_NOT = "must", "may", "must not"  # succeed


@dataclass(frozen=True)
class Request:
    """A well-formed message: what it is, whether it succeeds, and how long the reply is then."""

    name: str
    command: int
    payload: bytes
    succeeds: str
    reply: int | None = None
    has_fd: bool = False


REQUESTS = [
    Request("info", wire.GET_INFO, wire.get_info(), MUST, 16),
    Request("region", wire.GET_REGION_INFO, wire.region_info(wire.CONFIG), MUST),
    Request("io_fds", wire.GET_REGION_IO_FDS, struct.pack("<IIII", 16, 0, 0, 0), MAY),
    Request("irq", wire.GET_IRQ_INFO, wire.irq_info(wire.ERR), MAY, 16),
    Request("irqs_off", wire.SET_IRQS, wire.set_irqs(wire.MSIX, wire.NONE | wire.TRIGGER, 0, 0), MAY, 0),
    Request("read", wire.REGION_READ, wire.access(wire.CONFIG, 0, 4), MUST, 20),
    Request("write", wire.REGION_WRITE, wire.access(wire.CONFIG, 0x3C, 1, b"\x0b"), MUST, 16),
    Request("map", wire.DMA_MAP, wire.dma_map(RAM << 1, 0x1000), MUST, 0, True),
    Request("map_no_fd", wire.DMA_MAP, wire.dma_map(RAM << 2, 0x1000), MUST, 0),
    Request("unmap", wire.DMA_UNMAP, wire.dma_unmap(RAM << 3, 0x1000), MAY),
    Request("feature", wire.DEVICE_FEATURE, wire.feature(wire.PROBE | wire.GET | wire.MIGRATION), MAY),
    Request("feature_unknown", wire.DEVICE_FEATURE, wire.feature(wire.PROBE | wire.GET | 0xFFF0), MUST_NOT),
    Request("reset", wire.RESET, b"", MAY, 0),
    Request("dma_read", wire.DMA_READ, struct.pack("<QQ", RAM, 4), MUST_NOT),
    Request("dma_write", wire.DMA_WRITE, struct.pack("<QQI", RAM, 4, 0), MUST_NOT),
    Request("dirty_pages", wire.DIRTY_PAGES, struct.pack("<II", 8, 0), MUST_NOT),
    Request("unknown", 99, b"", MUST_NOT),
    Request("zero", 0, b"", MUST_NOT),
]


# States. Each function brings a fresh connection there.


def agreed(probe: Probe) -> Connection:
    return probe.greet()


def described(probe: Probe) -> Connection:
    connection = probe.greet()
    _, regions, irqs = device_of(connection)
    for index in range(min(regions, 9)):
        region_of(connection, index)
    for kind in range(min(irqs, 5)):
        vectors_of(connection, kind)
    return connection


def with_memory(probe: Probe) -> Connection:
    connection = described(probe)
    with answered("DMA_MAP"):
        expect_success(connection.ask(wire.DMA_MAP, wire.dma_map(RAM, 0x10000), [probe.memory()]), wire.DMA_MAP)
    return connection


def with_interrupts(probe: Probe) -> Connection:
    connection = with_memory(probe)
    for kind in (wire.MSIX, wire.MSI, wire.INTX):
        if vectors_of(connection, kind):
            with answered("DEVICE_SET_IRQS"):
                payload = wire.set_irqs(kind, wire.EVENTFD | wire.TRIGGER, 0, 1)
                expect_success(connection.ask(wire.SET_IRQS, payload, [probe.eventfd()]), wire.SET_IRQS)
            return connection
    raise Skipped("the device has no interrupts")


def after_reset(probe: Probe) -> Connection:
    connection = with_memory(probe)
    if not device_of(connection)[0] & wire.RESETTABLE:
        raise Skipped("the device does not say that it can be reset")
    with answered("DEVICE_RESET"):
        expect_success(connection.ask(wire.RESET), wire.RESET, 0)
    return connection


def stopped(probe: Probe) -> Connection:
    connection = with_memory(probe)
    with answered("DEVICE_FEATURE"):
        reply = connection.ask(wire.DEVICE_FEATURE, wire.feature(wire.PROBE | wire.SET | wire.STATE))
        if reply.error:
            raise Skipped("the device does not migrate")
        stop = wire.feature(wire.SET | wire.STATE, struct.pack("<Ii", 1, -1))
        expect_success(connection.ask(wire.DEVICE_FEATURE, stop), wire.DEVICE_FEATURE)
    return connection


STATES: dict[str, tuple[Callable[[Probe], Connection], str]] = {
    "agreed": (agreed, "after VERSION"),
    "described": (described, "when all was described"),
    "memory": (with_memory, "with memory"),
    "interrupts": (with_interrupts, "with interrupts on"),
    "reset": (after_reset, "after a reset"),
    "stopped": (stopped, "in migration state STOP"),
}


def in_state(state: str, request: Request, probe: Probe) -> None:
    connection = STATES[state][0](probe)
    with answered(name_of(request.command)):
        number = connection.post(request.command, request.payload, [probe.memory(0x1000)] if request.has_fd else None)
        reply = connection.receive()
    expect_reply(reply, request.command, number)
    if request.succeeds == MUST_NOT:
        expect_error(reply, request.command)
    elif request.succeeds == MUST:
        expect_success(reply, request.command)
    if reply.error == 0 and request.reply is not None:
        expect_success(reply, request.command, request.reply)
    expect_alive(connection)


def before_version(request: Request, probe: Probe) -> None:
    connection = probe.connect()
    try:
        with answered(name_of(request.command)):
            number = connection.post(request.command, request.payload)
            reply = connection.receive()
    except Differs as problem:
        if isinstance(problem.__cause__, Ended):
            return
        raise
    expect_error(reply, request.command, number)


# What goes beyond one message.


def order(probe: Probe) -> None:
    connection = agreed(probe)
    numbers = [connection.post(wire.REGION_READ, wire.access(wire.CONFIG, at % 64, 1)) for at in range(100)]
    with answered("REGION_READ"):
        for at, number in enumerate(numbers):
            reply = expect_success(connection.receive(), wire.REGION_READ, 17, number)
            expect(reply.numbers("Q")[0] == at % 64, "REGION_READ: the reply is for another place")


def no_reply(probe: Probe) -> None:
    connection = agreed(probe)
    for command, payload in ((wire.GET_INFO, wire.get_info()), (wire.REGION_READ, wire.access(wire.CONFIG, 0, 4)),
                             (wire.DMA_MAP, wire.dma_map(RAM, 0x1000)), (wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x1000)),
                             (wire.REGION_READ, wire.access(wire.CONFIG, 1 << 40, 4))):
        connection.post(command, payload, flags=wire.NO_REPLY)
        try:
            expect_alive(connection)
        except Differs as problem:
            raise Differs(f"after {name_of(command)} with NO_REPLY: {problem}") from problem


def pieces(probe: Probe) -> None:
    connection = agreed(probe)
    for byte in wire.message(7, wire.REGION_READ, wire.access(wire.CONFIG, 0, 4)):
        connection.send(bytes([byte]))
        connection.wait_until_read()
    with answered("REGION_READ byte by byte"):
        expect_success(connection.receive(), wire.REGION_READ, 20, 7)


def together(probe: Probe) -> None:
    connection = agreed(probe)
    connection.send(wire.message(3, wire.GET_INFO, wire.get_info()) +
                    wire.message(4, wire.REGION_READ, wire.access(wire.CONFIG, 0, 4)) +
                    wire.message(5, wire.GET_INFO, wire.get_info())[:20])
    connection.wait_until_read()
    with answered("two messages and a part of one in one write"):
        expect_success(connection.receive(), wire.GET_INFO, 16, 3)
        expect_success(connection.receive(), wire.REGION_READ, 20, 4)
        connection.send(wire.message(5, wire.GET_INFO, wire.get_info())[20:])
        expect_success(connection.receive(), wire.GET_INFO, 16, 5)


def numbers_repeat(probe: Probe) -> None:
    connection = agreed(probe)
    with answered("DEVICE_GET_INFO"):
        for number in (0, 0xFFFF, 0xFFFF):
            connection.send(wire.message(number, wire.GET_INFO, wire.get_info()))
            expect_success(connection.receive(), wire.GET_INFO, 16, number)


def clients_follow(probe: Probe) -> None:
    for _ in range(5):
        connection = with_memory(probe)
        connection.close()
    expect_alive(agreed(probe))


def leaves_midway(probe: Probe) -> None:
    connection = agreed(probe)
    connection.send(wire.message(2, wire.REGION_WRITE, wire.access(wire.CONFIG, 0, 4, bytes(4)))[:30])
    connection.close()
    expect_alive(agreed(probe))


def remapping(probe: Probe) -> None:
    connection = agreed(probe)
    with answered("DMA_MAP and DMA_UNMAP"):
        for _ in range(3):
            expect_success(connection.ask(wire.DMA_MAP, wire.dma_map(RAM, 0x1000), [probe.memory(0x1000)]), wire.DMA_MAP)
            reply = expect_success(connection.ask(wire.DMA_UNMAP, wire.dma_unmap(RAM, 0x1000)), wire.DMA_UNMAP, 24)
            expect(reply.numbers("IIQQ")[2:] == (RAM, 0x1000), "DMA_UNMAP: the reply is for another range")


def many_maps(probe: Probe) -> None:
    connection, fd = agreed(probe), probe.memory(0x1000)
    with answered("DMA_MAP"):
        for batch in range(0, 1024, 64):
            numbers = [connection.post(wire.DMA_MAP, wire.dma_map(RAM + each * 0x2000, 0x1000), [fd])
                       for each in range(batch, batch + 64)]
            for number in numbers:
                expect_success(connection.receive(), wire.DMA_MAP, 0, number)
    expect_alive(connection)


def read_only_ids(probe: Probe) -> None:
    connection = agreed(probe)
    with answered("REGION_WRITE"):
        before = connection.ask(wire.REGION_READ, wire.access(wire.CONFIG, 0, 4)).payload
        connection.ask(wire.REGION_WRITE, wire.access(wire.CONFIG, 0, 4, b"\xff\xff\xff\xff"))
        expect(connection.ask(wire.REGION_READ, wire.access(wire.CONFIG, 0, 4)).payload == before,
               "REGION_WRITE: vendor and device can be written")


def twin_socket(probe: Probe) -> None:
    connection = probe.connect()
    text = '{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}'
    with answered("VERSION"):
        reply = expect_success(connection.ask(wire.VERSION, wire.version(text)), wire.VERSION)
    if b"twin_socket" not in reply.payload or not reply.fds:
        raise Skipped("the server has no twin sockets")
    expect(len(reply.fds) == 1, f"VERSION: {len(reply.fds)} descriptors for one socket")
    expect_alive(connection)


_OTHERS: list[tuple[str, str, str, Callable[[Probe], None]]] = [
    ("order", "requests that are under way together are answered in their order", "Header", order),
    ("no_reply", "NO_REPLY is heeded by each command, errors included", "Header", no_reply),
    ("pieces", "a message may come byte by byte", "Transport", pieces),
    ("together", "messages may come together", "Transport", together),
    ("numbers", "message numbers may be any, and repeat", "Header", numbers_repeat),
    ("clients", "a client follows another, which left its memory behind", "Disconnection", clients_follow),
    ("midway", "a client may leave in the middle of a message", "Disconnection", leaves_midway),
    ("remapping", "a range comes and goes again and again", "VFIO_USER_DMA_UNMAP", remapping),
    ("many_maps", "a thousand ranges of one file", "VFIO_USER_DMA_MAP", many_maps),
    ("read_only", "identity is read-only", "VFIO_USER_REGION_WRITE", read_only_ids),
    ("twin_socket", "twin sockets come with the reply to VERSION", "VFIO_USER_VERSION", twin_socket),
]

CHECKS = (
    [Check(f"early.{each.name}", f"{name_of(each.command)} before VERSION is refused", "VFIO_USER_VERSION",
           functools.partial(before_version, each)) for each in REQUESTS]
    + [Check(f"{state}.{each.name}",
             f"{name_of(each.command)} ({each.name}) {text}" + (" is an error" if each.succeeds == MUST_NOT else ""),
             f"VFIO_USER_{name_of(each.command)}" if each.command in wire.NAMES else "Header",
             functools.partial(in_state, state, each)) for state, (_, text) in STATES.items() for each in REQUESTS]
    + [Check(f"stream.{name}", title, section, run) for name, title, section, run in _OTHERS]
)
