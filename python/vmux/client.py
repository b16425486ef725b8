# SPDX-License-Identifier: BSD-3-Clause
"""The other end of a device: what a VMM does, for tests and tools. Works with any vfio-user server."""
from __future__ import annotations

import mmap
import os
import select
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Callable

from . import _vmux
from .device import IrqKind

if TYPE_CHECKING:
    from ._types import BytesLike

CONFIG_REGION = 7
_TRIGGER, _NONE, _EVENTFD = 2, 0, 2  # pci::IrqAction, pci::IrqData


@dataclass(frozen=True)
class Limits:
    """What the server agreed to: see the VERSION message of the specification."""

    minor: int
    max_fds: int
    max_transfer: int
    max_dma_maps: int
    page_sizes: int
    write_multiple: bool
    twin_socket: bool


@dataclass(frozen=True)
class DeviceInfo:
    """How many regions and kinds of interrupts there are."""

    is_pci: bool
    is_resettable: bool
    regions: int
    irqs: int


@dataclass(frozen=True)
class IrqInfo:
    """A kind of interrupt: how many vectors, and what can be done with them."""

    count: int
    eventfd: bool
    maskable: bool
    automasked: bool
    noresize: bool


@dataclass(frozen=True)
class Identity:
    """Who a device is, from its configuration space."""

    vendor_id: int
    device_id: int
    subsystem_vendor_id: int
    subsystem_id: int
    revision: int
    class_code: int


@dataclass(frozen=True)
class Capability:
    """One capability: its number, its place in configuration space, and whether it is an extended one."""

    number: int
    at: int
    is_extended: bool


class Region:
    """A BAR, the ROM or configuration space."""

    def __init__(self, client: Client, index: int, described: _vmux.RegionDict) -> None:
        self._client, self.index = client, index
        self.size, self.readable, self.writable = described["size"], described["readable"], described["writable"]
        self.mappable, self._fd_offset, self._fd = described["mappable"], described["fd_offset"], described["fd"]
        #: What can be mapped: offset and size of each part.
        self.areas: list[tuple[int, int]] = list(described["areas"])
        if self.mappable and not self.areas:
            self.areas = [(0, self.size)]

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """OSError: what the server answered."""
        return self._client._native.read(self.index, offset, size)

    def write(self, offset: int, data: BytesLike, *, posted: bool = False) -> None:
        """`posted`: does not wait, and learns of no error."""
        self._client._native.write(self.index, offset, data, posted)

    def read_int(self, offset: int, size: int = 4) -> int:
        """A register, little endian."""
        return int.from_bytes(self.read(offset, size), "little")

    def write_int(self, offset: int, value: int, size: int = 4, *, posted: bool = False) -> None:
        """The same, written."""
        self.write(offset, value.to_bytes(size, "little"), posted=posted)

    def map(self, area: int = 0) -> mmap.mmap:
        """Maps a part that can be mapped: areas[area]. The mapping is the caller's."""
        if self._fd < 0 or not self.areas:
            raise ValueError(f"region {self.index} cannot be mapped")
        offset, size = self.areas[area]
        access = mmap.PROT_READ * self.readable | mmap.PROT_WRITE * self.writable
        return mmap.mmap(self._fd, size, mmap.MAP_SHARED, access, offset=self._fd_offset + offset)


class Memory:
    """Memory that client and device share: `view` is this side of it, `address` the device's."""

    def __init__(self, client: Client, address: int, size: int, access: int) -> None:
        self._client, self.address, self.size = client, address, size
        fd = os.memfd_create("vmux-client", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            self.view = mmap.mmap(fd, size)
            client._native.map_memory(address, size, access, fd, 0)
        finally:
            os.close(fd)

    def unmap(self) -> None:
        """Takes it from the device. When this returns, the device does not use it any more; `view` remains."""
        self._client._native.unmap_memory(self.address, self.size)


class Interrupt:
    """A vector that this client listens to. Can be given to select, poll and event loops."""

    def __init__(self, vector: int) -> None:
        self.vector = vector
        self._fd = _vmux.make_eventfd()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def fileno(self) -> int:
        """Can be read after a signal."""
        return self._fd

    def take(self) -> int:
        """How often it was signalled since it was looked at last, without waiting."""
        try:
            return int.from_bytes(os.read(self._fd, 8), sys.byteorder)
        except BlockingIOError:
            return 0

    def wait(self, timeout: float | None = None) -> int:
        """The same, but waits for the first: seconds, None for ever. 0: it was not signalled."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll(None if timeout is None else timeout * 1000)
        return self.take()


class Client:
    """A connection to a server.

    Calls wait for the answer, `timeout` seconds at most, without the interpreter's lock; calls from several threads wait
    for each other. OSError: the errno that the server answered; TimeoutError, ConnectionResetError, and EPROTO for
    answers that make no sense: drop the client then.
    """

    def __init__(self, path: str, *, timeout: float = 5.0, twin_socket: bool = False) -> None:
        self._native = _vmux.Client(path, timeout, twin_socket)

    def close(self) -> None:
        """Ends the connection. A second call does nothing."""
        self._native.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def limits(self) -> Limits:
        """What was agreed on."""
        return Limits(**self._native.limits())

    def info(self) -> DeviceInfo:
        """The device as a whole."""
        return DeviceInfo(**self._native.device_info())

    def region(self, index: int) -> Region:
        """0 to 5: BARs; 6: the ROM; 7: configuration space."""
        return Region(self, index, self._native.region_info(index))

    @property
    def config(self) -> Region:
        """Configuration space."""
        return self.region(CONFIG_REGION)

    def irq(self, kind: IrqKind) -> IrqInfo:
        """What there is of a kind of interrupt."""
        return IrqInfo(**self._native.irq_info(kind))

    def identity(self) -> Identity:
        """Who the device is."""
        head = self.config.read(0, 64)

        def number(at: int, size: int) -> int:
            return int.from_bytes(head[at : at + size], "little")

        return Identity(number(0, 2), number(2, 2), number(0x2C, 2), number(0x2E, 2), number(8, 1), number(9, 3))

    def capabilities(self) -> list[Capability]:
        """All of them, in the order of their chain. One that loops ends after as many as there is room for."""
        config = self.config
        found: list[Capability] = []
        at = config.read_int(0x34, 1) & 0xFC if config.read_int(6, 2) & 0x10 else 0
        while at >= 0x40 and len(found) < 48:
            found.append(Capability(config.read_int(at, 1), at, False))
            at = config.read_int(at + 1, 1) & 0xFC
        at = 0x100 if config.size > 0x100 else 0
        while at >= 0x100 and len(found) < 960:
            header = config.read_int(at, 4)
            if header in (0, 0xFFFFFFFF):
                break
            found.append(Capability(header & 0xFFFF, at, True))
            at = header >> 20
        return found

    def share_memory(self, address: int, size: int, *, writable: bool = True) -> Memory:
        """Makes memory and gives it to the device at `address`; both are multiples of 4096."""
        return Memory(self, address, size, 3 if writable else 1)

    def map_memory(self, address: int, size: int, fd: int = -1, offset: int = 0, *, writable: bool = True) -> None:
        """Gives a part of a file to the device. Without one it is reached by messages: see serve_memory()."""
        self._native.map_memory(address, size, 3 if writable else 1, fd, offset)

    def unmap_memory(self, address: int, size: int) -> None:
        """Takes a range from the device."""
        self._native.unmap_memory(address, size)

    def unmap_all(self) -> None:
        """Takes all memory from the device."""
        self._native.unmap_all()

    def serve_memory(
        self, read: Callable[[int, int], BytesLike] | None, write: Callable[[int, bytes], object] | None = None
    ) -> None:
        """Who answers for memory without a descriptor: read(address, size) -> bytes, write(address, data). They are called
        within calls of this client, and say no by an exception. None: nobody does."""
        if read is not None and write is None:
            raise ValueError("both functions, or none")
        self._native.set_memory(read, write)

    def interrupts(self, kind: IrqKind, count: int, first: int = 0) -> list[Interrupt]:
        """Listens to vectors, until disable_interrupts()."""
        made = [Interrupt(first + each) for each in range(count)]
        self._native.set_irqs(kind, _TRIGGER, _EVENTFD, first, count, [each.fileno() for each in made])
        return made

    def disable_interrupts(self, kind: IrqKind) -> None:
        """Turns a kind of interrupt off."""
        self._native.set_irqs(kind, _TRIGGER, _NONE, 0, 0, [])

    def reset(self) -> None:
        """As at a machine reset."""
        self._native.reset()

    def feature(self, flags: int, data: BytesLike = b"", room: int = 0) -> bytes:
        """DEVICE_FEATURE: flags as in linux/vfio.h (number, GET, SET, PROBE); at most `room` bytes come back."""
        return self._native.feature(flags, data, room)

    @property
    def migration_state(self) -> int:
        """As VFIO numbers them: 1 stop, 2 running, 3 stop-copy, 4 resuming, ..."""
        return self._native.migration_state()

    @migration_state.setter
    def migration_state(self, state: int) -> None:
        self._native.set_migration_state(state)

    def save_state(self) -> bytes:
        """Stops the device and reads out its state; it remains stopped."""
        self.migration_state = 1
        self.migration_state = 3
        state = b""
        while part := self._native.migration_read(1 << 16):
            state += part
        self.migration_state = 1
        return state

    def load_state(self, state: bytes) -> None:
        """Gives a saved state to this device, which then runs. OSError: it does not take it."""
        self.migration_state = 1
        self.migration_state = 4
        for at in range(0, len(state), 1 << 16):
            self._native.migration_write(state[at : at + (1 << 16)])
        self.migration_state = 1
        self.migration_state = 2

    def fileno(self) -> int:
        """Can be read when the server asks for memory while no call is under way: then serve()."""
        return self._native.fd()

    def serve(self) -> None:
        """Answers what the server has asked, without waiting."""
        self._native.serve()
