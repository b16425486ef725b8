# SPDX-License-Identifier: BSD-3-Clause
"""Serves a device at a UNIX socket."""
from __future__ import annotations

import errno
import logging
import mmap
import os
import select
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from . import _vmux
from .device import Device, IrqKind, Register, ResetKind
from .layout import PAGE, READ_ONLY, ROM_REGION, flags_of, lay_out, power_of_two

if TYPE_CHECKING:
    from ._types import BytesLike

log = logging.getLogger("vmux")

_STOP, _STOP_AND_COPY, _RESUME = 0, 2, 4  # vfu_migr_state_t
_LONGEST_STATE = 64 << 20
_COMMAND, _STATUS = 4, 6  # of configuration space: PCI Local Bus 3.0, 6.2
_INTX_STATUS, _INTX_DISABLE = 1 << 3, 1 << 10
_ENABLES = {0x05: (0, 0x01), 0x11: (1, 0x80)}  # MSI and MSI-X: byte and bit of the message control, 6.8
_LEVELS = [logging.CRITICAL] * 3 + [logging.ERROR, logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG]


class Server:
    """A device at a UNIX socket: one client after another.

        with Server(device, "/tmp/d.sock") as server:
            server.run()

    The device is served in the thread that calls run(), which needs the interpreter's lock for handlers only. In an
    event loop of your own: when fileno() (ask after each step: it changes) can be read, call step().

    From any thread: stop(). ValueError: what is wrong with the device's description. OSError: the socket, EADDRINUSE
    where the path exists.
    """

    def __init__(self, device: Device, path: str) -> None:
        if device._server is not None:
            raise RuntimeError("the device is served already")
        self.device, self.path = device, path
        self._layout = lay_out(device)
        self._memories: dict[int, tuple[mmap.mmap, int]] = {}  # of BARs with shared parts, and their descriptors
        self._msix_table = bytearray(self._layout.msix_table)
        self._outgoing = b""
        self._incoming: bytearray | None = None
        self._attached = False
        self._intx = False
        self._enables: list[tuple[int, int, int]] = []  # of MSI and MSI-X: capability, byte of its control, bit
        self._wake = _vmux.make_eventfd()
        try:
            self._context = _vmux.Context(path, self)
            try:
                self._describe()
            except BaseException:
                self._context.close()
                raise
        except BaseException:
            self._release()
            raise
        device._server = self

    # For whoever runs it.

    def run(self) -> None:
        """Serves until stop(), or an exception that is none of a handler's (KeyboardInterrupt)."""
        while not self._stopping():
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            poll.register(self.fileno(), select.POLLIN)
            poll.poll()
            self.step()

    def step(self) -> bool:
        """Does what there is to do, without waiting. True: a client is attached."""
        if self._attached:
            self._attached = self._context.run()
        else:
            self._attached = self._context.attach()
        return self._attached

    def fileno(self) -> int:
        """Can be read when step() has something to do."""
        return self._context.poll_fd()

    def stop(self) -> None:
        """Has run() return after what it is doing. From any thread, and from handlers."""
        os.write(self._wake, (1).to_bytes(8, sys.byteorder))

    def quiesced(self, error: int = 0) -> None:
        """The device has stopped, after its quiesce() asked for time; or could not, for the reason of that errno."""
        self._context.quiesced(error)

    def close(self) -> None:
        """Ends the client, and removes the socket. A second call does nothing."""
        if self._wake < 0:
            return
        self._context.close()
        self._release()
        self.device._server = None

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # For the device.

    def read_memory(self, address: int, size: int) -> bytes:
        """See Device.read_memory()."""
        return self._context.read_memory(address, size)

    def write_memory(self, address: int, data: BytesLike) -> None:
        """See Device.write_memory()."""
        self._context.write_memory(address, data)

    def trigger(self, vector: int) -> bool:
        """See Device.trigger()."""
        return self._context.trigger(vector)

    def set_intx(self, asserted: bool) -> None:
        """See Device.set_intx()."""
        was, self._intx = self._intx, asserted
        status = self._context.read_config(_STATUS, 1)[0] & ~_INTX_STATUS
        self._context.write_config(_STATUS, bytes([status | _INTX_STATUS * asserted]))
        if asserted and not was:
            self._signal_intx()

    def uses_messages(self) -> bool:
        """See Device.uses_messages."""
        return any(self._context.read_config(at + 2, 2)[byte] & bit for at, byte, bit in self._enables)

    def shared(self, bar: int) -> mmap.mmap:
        """See Device.shared()."""
        if bar not in self._memories:
            raise ValueError(f"BAR {bar} has no shared parts")
        return self._memories[bar][0]

    def read_config(self, offset: int, size: int) -> bytes:
        """Bytes of configuration space as they lie there. Where the device is served, or before."""
        return self._context.read_config(offset, size)

    def write_config(self, offset: int, data: bytes) -> None:
        """Changes them, whatever a guest may change. Where the device is served, or before."""
        self._context.write_config(offset, data)

    # Setting up.

    def _describe(self) -> None:
        device, context = self.device, self._context
        context.init_pci(device.extended_config, device.revision)
        context.set_ids(device.vendor_id, device.device_id, device.subsystem_vendor_id, device.subsystem_id)
        context.set_class(device.class_code >> 16, device.class_code >> 8 & 0xFF, device.class_code & 0xFF)
        context.write_config(0x08, bytes([device.revision]))
        for number, bar in self._layout.bars.items():
            fd = self._share(number, bar.size) if bar.areas() else -1
            context.add_region(number, bar.size, flags_of(bar), bar.areas(), fd)
        if device.rom:
            context.add_region(ROM_REGION, power_of_two(len(device.rom), 2048), READ_ONLY, [], -1)
        for capability in self._layout.capabilities:
            is_extended = device.extended_config and len(capability) > 2 and capability[0] in (0x03, 0x0B)
            at = context.add_capability(capability, 1 if is_extended else 0)
            if not is_extended and capability[0] in _ENABLES:
                self._enables.append((at, *_ENABLES[capability[0]]))
        for kind, count in ((IrqKind.INTX, int(device.intx)), (IrqKind.MSI, device.msi), (IrqKind.MSIX, device.msix)):
            if count:
                context.set_irqs(kind, count)
        if device.intx:
            context.write_config(0x3D, b"\x01")  # the pin: INTA#
        if device.migrates:
            context.use_migration()
        context.realize()

    def _share(self, number: int, size: int) -> int:
        fd = os.memfd_create(f"vmux-bar{number}", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, max(size, PAGE))
            self._memories[number] = (mmap.mmap(fd, size), fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _release(self) -> None:
        os.close(self._wake)
        self._wake = -1
        for _, fd in self._memories.values():
            os.close(fd)
        self._memories.clear()  # whoever has a view of one keeps it

    def _stopping(self) -> bool:
        try:
            return len(os.read(self._wake, 8)) > 0
        except BlockingIOError:
            return False

    # What the library calls, in the thread that serves.

    def _read(self, region: int, offset: int, size: int) -> bytes:
        if region == ROM_REGION:
            return self.device.rom[offset : offset + size].ljust(size, b"\0")
        if region == self._layout.msix_bar:
            return bytes(self._msix_table[offset : offset + size]).ljust(size, b"\0")
        if self._is_shared(region, offset, size):
            return self._memories[region][0][offset : offset + size]
        touched = self._touched(region, offset, size)
        if not touched:
            return self._checked(self.device.read_bar(region, offset, size), size)
        result = bytearray(size)
        for register in touched:
            value = register.guest_reads(self.device).to_bytes(register.size, "little")
            first, last = max(offset, register.at), min(offset + size, register.at + register.size)
            result[first - offset : last - offset] = value[first - register.at : last - register.at]
        return bytes(result)

    def _write(self, region: int, offset: int, data: bytes) -> None:
        if region == self._layout.msix_bar:
            room = max(0, len(self._msix_table) - offset)
            self._msix_table[offset : offset + min(room, len(data))] = data[:room]
            return
        if self._is_shared(region, offset, len(data)):
            self._memories[region][0][offset : offset + len(data)] = data
            return
        touched = self._touched(region, offset, len(data))
        if not touched:
            self.device.write_bar(region, offset, data)
        for register in touched:
            first, last = max(offset, register.at), min(offset + len(data), register.at + register.size)
            shift = 8 * (first - register.at)
            value = int.from_bytes(data[first - offset : last - offset], "little") << shift
            register.guest_writes(self.device, value, (1 << 8 * (last - first)) - 1 << shift)

    def _touched(self, bar: int, offset: int, size: int) -> list[Register]:
        those = self._layout.registers.get(bar, [])
        return [each for each in those if each.at < offset + size and offset < each.at + each.size]

    def _is_shared(self, bar: int, offset: int, size: int) -> bool:
        if bar not in self._memories:
            return False
        areas = self._layout.bars[bar].areas()
        return any(start <= offset and offset + size <= start + length for start, length in areas)

    @staticmethod
    def _checked(answer: bytes, size: int) -> bytes:
        if not isinstance(answer, (bytes, bytearray, memoryview)) or len(answer) != size:
            raise ValueError(f"read_bar() has to return {size} bytes")
        return bytes(answer)

    def _reset(self, kind: int) -> None:
        self._msix_table[:] = bytes(len(self._msix_table))
        self._intx = False
        self._incoming = None
        self.device._values.clear()
        self.device.reset(ResetKind(kind))

    def _quiesce(self) -> None:
        self.device.quiesce()

    def _mapped(self, address: int, size: int, has_descriptor: bool) -> None:
        self.device.memory_added(address, size, has_descriptor)

    def _unmapped(self, address: int, size: int) -> None:
        self.device.memory_removed(address, size)

    def _signal_intx(self) -> None:
        command = int.from_bytes(self._context.read_config(_COMMAND, 2), "little")
        if not command & _INTX_DISABLE and not self.uses_messages():
            self._context.trigger(0)

    def _masked(self, kind: int, first: int, count: int, is_masked: bool) -> None:
        if kind == IrqKind.INTX and not is_masked and self._intx:
            self._signal_intx()
        self.device.irq_masked(IrqKind(kind), first, count, is_masked)

    def _transition(self, state: int) -> None:
        if state == _STOP_AND_COPY:
            self._outgoing = self.device.save()
        elif state == _RESUME:
            self._incoming = bytearray()
        elif self._incoming is not None:
            incoming, self._incoming = bytes(self._incoming), None
            self.device.load(incoming)

    def _saved(self, count: int) -> bytes:
        part, self._outgoing = self._outgoing[:count], self._outgoing[count:]
        return part

    def _loaded(self, data: bytes) -> None:
        if self._incoming is None:
            raise OSError(errno.EINVAL, "no state is being loaded")
        if len(self._incoming) + len(data) > _LONGEST_STATE:
            raise OSError(errno.ENOSPC, "the saved state is too long")
        self._incoming += data

    def _log(self, level: int, text: str) -> None:
        log.log(_LEVELS[min(max(level, 0), 7)], "%s: %s", self.path, text)

    def _failed(self, exception: BaseException) -> None:
        if isinstance(exception, BlockingIOError):
            return  # quiesce() asks for time
        log.error("%s: %s failed", self.path, type(self.device).__name__, exc_info=exception)
