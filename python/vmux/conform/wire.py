# SPDX-License-Identifier: BSD-3-Clause
"""Messages as bytes, and a connection that carries them with their descriptors."""
from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import termios
import time
from dataclasses import dataclass, field

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, DIRTY_PAGES, WRITE_MULTI = range(9, 16)
DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE = range(16, 19)
NAMES = {
    VERSION: "VERSION", DMA_MAP: "DMA_MAP", DMA_UNMAP: "DMA_UNMAP", GET_INFO: "DEVICE_GET_INFO",
    GET_REGION_INFO: "DEVICE_GET_REGION_INFO", GET_REGION_IO_FDS: "DEVICE_GET_REGION_IO_FDS",
    GET_IRQ_INFO: "DEVICE_GET_IRQ_INFO", SET_IRQS: "DEVICE_SET_IRQS", REGION_READ: "REGION_READ",
    REGION_WRITE: "REGION_WRITE", DMA_READ: "DMA_READ", DMA_WRITE: "DMA_WRITE", RESET: "DEVICE_RESET",
    DIRTY_PAGES: "DIRTY_PAGES", WRITE_MULTI: "REGION_WRITE_MULTI", DEVICE_FEATURE: "DEVICE_FEATURE",
    MIG_DATA_READ: "MIG_DATA_READ", MIG_DATA_WRITE: "MIG_DATA_WRITE",
}
HEADER = 16
REPLY, NO_REPLY, ERROR = 0x01, 0x10, 0x20
CONFIG, ROM = 7, 6  # regions
INTX, MSI, MSIX, ERR, REQ = range(5)  # interrupts
# Flags of SET_IRQS: data, then action.
NONE, BOOLEAN, EVENTFD, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 16, 32
READABLE, WRITABLE, MAPPABLE, CAPABILITIES = 1, 2, 4, 8  # of a region
PCI, RESETTABLE = 2, 1  # of a device
GET, SET, PROBE, MIGRATION, STATE = 1 << 16, 1 << 17, 1 << 18, 1, 2  # of a feature


def message(number: int, command: int, payload: bytes = b"", flags: int = 0, size: int | None = None) -> bytes:
    """A command; `size`: another one than the true one."""
    return struct.pack("<HHIII", number, command, HEADER + len(payload) if size is None else size, flags, 0) + payload


def version(json: str, minor: int = 0, major: int = 0) -> bytes:
    return struct.pack("<HH", major, minor) + json.encode() + b"\0"


def dma_map(address: int, size: int, flags: int = 3, offset: int = 0, argsz: int = 32) -> bytes:
    return struct.pack("<IIQQQ", argsz, flags, offset, address, size)


def dma_unmap(address: int, size: int, flags: int = 0, argsz: int = 24) -> bytes:
    return struct.pack("<IIQQ", argsz, flags, address, size)


def get_info(argsz: int = 16) -> bytes:
    return struct.pack("<IIII", argsz, 0, 0, 0)


def region_info(index: int, argsz: int = 32) -> bytes:
    return struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0)


def irq_info(index: int, argsz: int = 16) -> bytes:
    return struct.pack("<IIII", argsz, 0, index, 0)


def set_irqs(index: int, flags: int, first: int, count: int, data: bytes = b"", argsz: int | None = None) -> bytes:
    return struct.pack("<IIIII", 20 + len(data) if argsz is None else argsz, flags, index, first, count) + data


def access(region: int, offset: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("<QII", offset, region, count) + data


def feature(flags: int, data: bytes = b"", argsz: int | None = None) -> bytes:
    return struct.pack("<II", 8 + len(data) if argsz is None else argsz, flags) + data


@dataclass
class Reply:
    """A message of the server's."""

    number: int
    command: int
    size: int
    flags: int
    error: int
    payload: bytes
    fds: list[int] = field(default_factory=list)

    def numbers(self, layout: str) -> tuple[int, ...]:
        """Fields at the start of the payload."""
        return struct.unpack_from("<" + layout, self.payload)

    def __del__(self) -> None:
        for fd in self.fds:
            os.close(fd)


class Ended(Exception):
    """The server has ended the connection."""


class Silent(Exception):
    """No reply came in time."""


class Connection:
    """A stream of messages to a server."""

    def __init__(self, path: str, timeout: float, restarts: bool = False) -> None:
        """With `restarts`, a server that is not there yet is waited for."""
        self.timeout = timeout
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        deadline = time.monotonic() + timeout
        later = (BlockingIOError, FileNotFoundError, ConnectionRefusedError) if restarts else (BlockingIOError,)
        while True:
            try:
                self.socket.connect(path)
                break
            except later:  # others wait to be accepted, and a server's queue may be short
                if time.monotonic() > deadline:
                    self.socket.close()
                    raise
                time.sleep(0.01)
            except OSError:
                self.socket.close()
                raise
        self._buffer = b""
        self._fds: list[int] = []
        self._next = 1

    def close(self) -> None:
        """Ends it. A second call does nothing."""
        self.socket.close()
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def send(self, data: bytes, fds: list[int] | None = None) -> None:
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.socket.sendmsg([data], control)
            if sent < len(data):
                self.socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as problem:
            raise Ended from problem
        except TimeoutError as problem:
            raise Silent("the server does not read what was sent") from problem

    def wait_until_read(self) -> None:
        """Until the server has read what was sent, so that what follows comes apart from it; it may also not do so."""
        for _ in range(200):
            (left,) = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))
            if left == 0:
                return
            time.sleep(0.001)

    def post(self, command: int, payload: bytes = b"", fds: list[int] | None = None, flags: int = 0) -> int:
        """Sends a command; its number."""
        number = self._next
        self._next = self._next % 0xFFFF + 1
        self.send(message(number, command, payload, flags), fds)
        return number

    def _fill(self, size: int) -> None:
        deadline = time.monotonic() + self.timeout
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent(f"{len(self._buffer)} of {size} bytes within {self.timeout:g} s")
            self.socket.settimeout(left)
            try:
                data, controls, _, _ = self.socket.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 64))
            except TimeoutError as problem:
                raise Silent(f"{len(self._buffer)} of {size} bytes within {self.timeout:g} s") from problem
            except ConnectionResetError as problem:
                raise Ended from problem
            finally:
                self.socket.settimeout(self.timeout)
            for level, kind, content in controls:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._fds += array.array("i", content[: len(content) // 4 * 4])
            if not data:
                raise Ended
            self._buffer += data

    def receive(self) -> Reply:
        """The next message."""
        self._fill(HEADER)
        number, command, size, flags, error = struct.unpack_from("<HHIII", self._buffer)
        if not HEADER <= size <= 1 << 26:
            raise Silent(f"a message says that it has {size} bytes")
        self._fill(size)
        payload, self._buffer = self._buffer[HEADER:size], self._buffer[size:]
        fds, self._fds = self._fds, []
        return Reply(number, command, size, flags, error, payload, fds)

    def ask(self, command: int, payload: bytes = b"", fds: list[int] | None = None) -> Reply:
        """Sends a command and waits for the next message."""
        self.post(command, payload, fds)
        return self.receive()
