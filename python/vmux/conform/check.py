# SPDX-License-Identifier: BSD-3-Clause
"""What a check is, and what it has at hand: a server to connect to, and words for what must hold."""
from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Callable, Iterator

from . import wire
from .wire import Connection, Ended, Reply, Silent

SETTLING = 0.2  #: seconds in which a server has ended that ends with its client
QEMU, CLOUD_HYPERVISOR = "QEMU", "cloud-hypervisor"
QEMU_JSON = (
    '{"capabilities": {"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true, '
    '"max_dma_maps": 65535, "max_msg_fds": 16, "pgsizes": 4096, "max_data_xfer_size": 1048576}}'
)
CLOUD_HYPERVISOR_JSON = (
    '{"capabilities":{"max_msg_fds":1,"max_data_xfer_size":1048576,"migration":{"pgsize":4096}}}'
)


class Differs(Exception):
    """What the server does is not what it should."""


class Skipped(Exception):
    """There is nothing to check: the server does not have it."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    name: str
    title: str
    section: str  #: of the specification
    run: Callable[[Probe], None]
    breaks: tuple[str, ...] = ()  #: clients that do not work where it does not hold


class Probe:
    """The server under test. Connections are closed after each check."""

    def __init__(self, path: str, timeout: float, restarts: bool = False) -> None:
        """With `restarts`, somebody starts the server anew when it has ended."""
        self.path, self.timeout, self.restarts = path, timeout, restarts
        self._connections: list[Connection] = []
        self._fds: list[int] = []
        self._seen: tuple[int, int] | None = None  # the socket of the last connection

    def clean(self) -> None:
        for connection in self._connections:
            connection.close()
        for fd in self._fds:
            os.close(fd)
        if self.restarts and self._connections:
            self._let_it_end()
        self._connections, self._fds = [], []

    def _let_it_end(self) -> None:
        """A server that ends with its client does so now. Another one's socket is another file; one that stays keeps its."""
        deadline = time.monotonic() + SETTLING
        while self._socket_file() == self._seen and time.monotonic() < deadline:
            time.sleep(0.002)

    def _socket_file(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns

    def connect(self) -> Connection:
        """A connection on which nothing was said yet."""
        try:
            connection = Connection(self.path, self.timeout, self.restarts)
        except OSError as problem:
            raise Differs(f"cannot connect: {problem.strerror or problem}") from problem
        self._seen = self._socket_file()
        self._connections.append(connection)
        return connection

    def greet(self, json: str = QEMU_JSON, minor: int = 0) -> Connection:
        """A connection with a version agreed on."""
        deadline = time.monotonic() + self.timeout
        while True:
            connection = self.connect()
            try:
                with answered("VERSION"):
                    reply = connection.ask(wire.VERSION, wire.version(json, minor))
                expect_success(reply, wire.VERSION)
                return connection
            except Differs as problem:
                ended = isinstance(problem.__cause__, Ended)
                if not (self.restarts and ended) or time.monotonic() > deadline:
                    raise  # else it was the socket of a server that was about to end

    def memory(self, size: int = 0x10000) -> int:
        """A memfd."""
        fd = os.memfd_create("vfu-conform", os.MFD_CLOEXEC)
        self._fds.append(fd)
        os.ftruncate(fd, size)
        return fd

    def eventfd(self) -> int:
        return self.keep(_eventfd())

    def keep(self, fd: int) -> int:
        """Closed after the check."""
        self._fds.append(fd)
        return fd


def _eventfd() -> int:
    make: Callable[[int, int], int] = getattr(os, "eventfd")  # typeshed learnt of it late
    return make(0, os.O_CLOEXEC | os.O_NONBLOCK)


@contextlib.contextmanager
def answered(what: str) -> Iterator[None]:
    """Whatever is asked within has to be answered."""
    try:
        yield
    except Silent as problem:
        raise Differs(f"{what}: no reply ({problem})") from problem
    except Ended as problem:
        raise Differs(f"{what}: the server ended the connection") from problem


def name_of(command: int) -> str:
    return wire.NAMES.get(command, f"command {command}")


def expect(condition: bool, text: str) -> None:
    if not condition:
        raise Differs(text)


def expect_reply(reply: Reply, command: int, number: int | None = None) -> None:
    """A reply to this command, of whatever result."""
    what = name_of(command)
    expect(reply.flags & 0xF == wire.REPLY, f"{what}: a message of type {reply.flags & 0xF} came instead of a reply")
    expect(reply.command == command, f"{what}: the reply names {name_of(reply.command)}")
    expect(number is None or reply.number == number, f"{what}: the reply has number {reply.number} instead of {number}")
    is_error = reply.flags & wire.ERROR != 0
    expect(is_error == (reply.error != 0), f"{what}: error flag {int(is_error)} with error {reply.error}")
    expect(reply.error < 4096, f"{what}: {reply.error} is no errno")


def expect_success(reply: Reply, command: int, payload: int | None = None, number: int | None = None) -> Reply:
    expect_reply(reply, command, number)
    expect(reply.error == 0, f"{name_of(command)}: {error_text(reply.error)}")
    if payload is not None:
        expect(len(reply.payload) == payload,
               f"{name_of(command)}: the reply has {reply.size} bytes instead of {wire.HEADER + payload}")
    return reply


def expect_error(reply: Reply, command: int, number: int | None = None) -> None:
    expect_reply(reply, command, number)
    expect(reply.error != 0, f"{name_of(command)}: success instead of an error")


def error_text(error: int) -> str:
    return f"{os.strerror(error)} ({error})"


def expect_refusal(connection: Connection, command: int) -> None:
    """An error reply, or the end of this connection."""
    try:
        expect_error(connection.receive(), command)
    except Ended:
        return
    except Silent as problem:
        raise Differs(f"{name_of(command)}: neither a reply nor the end of the connection ({problem})") from problem


def expect_alive(connection: Connection) -> None:
    """The connection still serves."""
    with answered("DEVICE_GET_INFO afterwards"):
        number = connection.post(wire.GET_INFO, wire.get_info())
        expect_success(connection.receive(), wire.GET_INFO, 16, number)


def device_of(connection: Connection) -> tuple[int, int, int]:
    """Flags, and how many regions and kinds of interrupts there are."""
    with answered("DEVICE_GET_INFO"):
        reply = expect_success(connection.ask(wire.GET_INFO, wire.get_info()), wire.GET_INFO, 16)
    _, flags, regions, irqs = reply.numbers("IIII")
    return flags, regions, irqs


def region_of(connection: Connection, index: int) -> tuple[int, int]:
    """Flags and size."""
    with answered("DEVICE_GET_REGION_INFO"):
        reply = connection.ask(wire.GET_REGION_INFO, wire.region_info(index))
    expect_success(reply, wire.GET_REGION_INFO)
    expect(len(reply.payload) >= 32, f"DEVICE_GET_REGION_INFO: the reply has {reply.size} bytes")
    _, flags, _, _, size, _ = reply.numbers("IIIIQQ")
    return flags, size


def vectors_of(connection: Connection, kind: int) -> int:
    with answered("DEVICE_GET_IRQ_INFO"):
        reply = connection.ask(wire.GET_IRQ_INFO, wire.irq_info(kind))
    if reply.error != 0:
        return 0
    return expect_success(reply, wire.GET_IRQ_INFO, 16).numbers("IIII")[3]

