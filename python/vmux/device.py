# SPDX-License-Identifier: BSD-3-Clause
"""What a device is: identity, BARs, registers, and handlers for what guests do."""
from __future__ import annotations

import enum
import json
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Literal, Mapping, Sequence, TypeVar, overload

if TYPE_CHECKING:
    from ._types import BytesLike
    from .server import Server

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class ResetKind(enum.IntEnum):
    """Why a device is reset."""

    CLIENT = 0  #: by the client, as at a machine reset
    DISCONNECT = 1  #: the client is gone: its memory and interrupts go with it
    FUNCTION = 2  #: function level reset, by the guest


class IrqKind(enum.IntEnum):
    """Interrupts as VFIO counts them."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERR = 3
    REQ = 4


@dataclass(frozen=True)
class Bar:
    """A base address register.

    size: bytes, a power of two, at least 16 (I/O: 4).
    shared: parts (offset, size; multiples of 4096) that guests map, and then use without a handler; True: all of it.
    """

    size: int
    kind: Literal["memory32", "memory64", "io"] = "memory32"
    prefetchable: bool = False
    shared: Sequence[tuple[int, int]] | bool = ()

    def areas(self) -> list[tuple[int, int]]:
        """The shared parts, as a list of offset and size."""
        if isinstance(self.shared, bool):
            return [(0, self.size)] if self.shared else []
        return list(self.shared)


class Register:
    """A register: an int attribute of the device, which guests read and write too.

    bar, at: where it lies; size: 1, 2, 4 or 8 bytes, little endian; reset: its value after a reset;
    writable: which bits a guest may change (default: all).

    A value that the device itself stores may have any bits that fit. Guests may access a part of a register, and
    several at once; each handler then runs once for each register that was touched. A register of 8 bytes that a guest
    writes in two halves is written twice.
    """

    def __init__(self, *, bar: int, at: int, size: int = 4, reset: int = 0, writable: int | None = None) -> None:
        if size not in (1, 2, 4, 8):
            raise ValueError(f"a register has 1, 2, 4 or 8 bytes, not {size}")
        self.bar, self.at, self.size, self.reset = bar, at, size, reset
        self.limit = (1 << 8 * size) - 1
        self.writable = self.limit if writable is None else writable
        self.name = f"register at {at:#x} of BAR {bar}"
        self._written: str | None = None
        self._reading: str | None = None
        if not 0 <= reset <= self.limit or not 0 <= self.writable <= self.limit:
            raise ValueError(f"{self.name}: reset and writable are numbers of {size} bytes")

    def __set_name__(self, owner: type[Device], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, device: None, owner: type[Device]) -> Register: ...

    @overload
    def __get__(self, device: Device, owner: type[Device]) -> int: ...

    def __get__(self, device: Device | None, owner: type[Device]) -> Register | int:
        if device is None:
            return self
        return device._values.get(self.name, self.reset)

    def __set__(self, device: Device, value: int) -> None:
        if not 0 <= value <= self.limit:
            raise ValueError(f"{self.name}: {value} does not fit into {self.size} bytes")
        device._values[self.name] = value

    def written(self, handler: _Handler) -> _Handler:
        """Decorates the method that is called after a guest has written: `def handler(self, value: int)`."""
        self._written = handler.__name__
        return handler

    def reading(self, handler: _Handler) -> _Handler:
        """Decorates the method that gives the value when a guest reads: `def handler(self) -> int`."""
        self._reading = handler.__name__
        return handler

    def guest_reads(self, device: Device) -> int:
        """The value that a guest is to see."""
        if self._reading is None:
            return self.__get__(device, type(device))
        value: int = getattr(device, self._reading)()
        if not 0 <= value <= self.limit:
            raise ValueError(f"{self.name}: {value} does not fit into {self.size} bytes")
        return value

    def guest_writes(self, device: Device, value: int, mask: int) -> None:
        """A guest writes the bits of `mask`."""
        mask &= self.writable
        self.__set__(device, self.__get__(device, type(device)) & ~mask | value & mask)
        if self._written is not None:
            getattr(device, self._written)(self.__get__(device, type(device)))


class Device:
    """A PCI device. Derive from it; the attributes of the class say what it is.

    Handlers run in the thread that serves, one at a time, and the guest waits for them. An exception in one of them
    goes to the log ("vmux") with its traceback, and to the client as an errno: that of an OSError, else EIO.

    From any thread: trigger(), and read_memory() and write_memory() of memory that has a descriptor.
    """

    vendor_id: ClassVar[int] = 0
    device_id: ClassVar[int] = 0
    subsystem_vendor_id: ClassVar[int] = 0
    subsystem_id: ClassVar[int] = 0
    revision: ClassVar[int] = 0
    class_code: ClassVar[int] = 0xFF0000  #: base class, subclass and programming interface: 24 bits
    bars: ClassVar[Mapping[int, Bar]] = {}  #: those of registers that are not named here are as large as it takes
    msix: ClassVar[int] = 0  #: vectors of MSI-X, up to 2048; its table lies in a BAR of its own, the first free one
    msi: ClassVar[int] = 0  #: vectors of MSI: 1, 2, 4, 8, 16 or 32
    intx: ClassVar[bool] = False  #: has INTA#
    rom: ClassVar[bytes] = b""  #: image of the expansion ROM
    extended_config: ClassVar[bool] = False  #: 4096 bytes of configuration space instead of 256
    capabilities: ClassVar[Sequence[bytes]] = ()  #: more of them, with their headers (the next pointer is filled in)
    migrates: ClassVar[bool] = False  #: save() and load() are complete

    _values: dict[str, int]
    _server: Server | None

    def __new__(cls, *_arguments: object, **_named: object) -> Any:
        device = super().__new__(cls)
        device._values = {}
        device._server = None
        return device

    # What a device may override.

    def read_bar(self, bar: int, offset: int, size: int) -> bytes:
        """A guest reads where there is no register: `size` bytes. By default zeroes."""
        return bytes(size)

    def write_bar(self, bar: int, offset: int, data: bytes) -> None:
        """A guest writes where there is no register. By default nothing happens."""

    def reset(self, kind: ResetKind) -> None:
        """Back to the state after power-on. Registers have their reset values already."""

    def quiesce(self) -> None:
        """Before memory comes or goes, a reset, and a change of the migration state: what runs in other threads stops
        using the client's memory, until the request is done. Raise BlockingIOError to be given time, and then call
        server.quiesced()."""

    def memory_added(self, address: int, size: int, has_descriptor: bool) -> None:
        """The client gave a range of memory. Without a descriptor it is reached by messages, from handlers only."""

    def memory_removed(self, address: int, size: int) -> None:
        """The range is gone when this returns."""

    def irq_masked(self, kind: IrqKind, first: int, count: int, is_masked: bool) -> None:
        """The client masks or unmasks vectors."""

    def save(self) -> bytes:
        """All of the device's state, while nothing changes it. By default its registers."""
        return json.dumps({name: getattr(self, name) for name in self.registers()}).encode()

    def load(self, state: bytes) -> None:
        """Takes what save() gave to another device of this class. By default registers; ValueError if it is not so."""
        values = json.loads(state)
        registers = self.registers()
        if not isinstance(values, dict) or set(values) != set(registers):
            raise ValueError("the saved state is not of this device: other registers")
        if not all(type(values[name]) is int and 0 <= values[name] <= registers[name].limit for name in registers):
            raise ValueError("the saved state has values that do not fit into registers")
        self._values.update(values)

    # What a device may use.

    @classmethod
    def registers(cls) -> dict[str, Register]:
        """Its registers by name, those of base classes first."""
        found: dict[str, Register] = {}
        for each in reversed(cls.__mro__):
            for name, value in vars(each).items():
                if isinstance(value, Register):
                    found[name] = value
                else:
                    found.pop(name, None)  # overridden by something else
        return found

    @property
    def server(self) -> Server:
        """Who serves it. RuntimeError: nobody."""
        if self._server is None:
            raise RuntimeError("the device is not served: see Server and Device.serve()")
        return self._server

    def read_memory(self, address: int, size: int) -> bytes:
        """A copy of the client's memory. OSError, EFAULT: it has none there. A guest may change it at any time: look at
        the copy only."""
        return self.server.read_memory(address, size)

    def write_memory(self, address: int, data: BytesLike) -> None:
        """Writes to the client's memory. OSError, EFAULT: it has none there; EACCES: not for writing."""
        self.server.write_memory(address, data)

    def trigger(self, vector: int = 0) -> bool:
        """Signals an interrupt of the kind that is in use. False: nobody listens. OSError, EINVAL: no such vector."""
        return self.server.trigger(vector)

    def set_intx(self, asserted: bool) -> None:
        """The level of INTA#, and the bit in the status register by which drivers know it. From handlers only. It signals
        where INTx is in use, and again where the client unmasks it while the level is high."""
        self.server.set_intx(asserted)

    @property
    def uses_messages(self) -> bool:
        """The guest has turned MSI or MSI-X on: trigger() is for these, set_intx() for when it is False."""
        return self.server.uses_messages()

    def shared(self, bar: int) -> mmap.mmap:
        """The memory of a BAR with shared parts. A guest reads and writes it at any time."""
        return self.server.shared(bar)

    def serve(self, path: str) -> None:
        """Serves one client after another at a UNIX socket, until Ctrl-C (KeyboardInterrupt) or stop()."""
        from .server import Server

        with Server(self, path) as server:
            server.run()
