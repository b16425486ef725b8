# SPDX-License-Identifier: BSD-3-Clause
"""Registers, handlers, memory, interrupts and state of a device, as a client sees them."""
from __future__ import annotations

import errno
import logging
import threading

import pytest
from conftest import Serve

import vmux

RAM = 0x100000


class Card(vmux.Device):
    """A little of everything."""

    vendor_id, device_id, subsystem_vendor_id, subsystem_id = 0x1234, 0x5678, 0x9ABC, 0xDEF0
    revision, class_code = 3, 0x020000
    bars = {2: vmux.Bar(64), 4: vmux.Bar(8192, shared=[(4096, 4096)])}
    msix, msi, intx, migrates = 3, 4, True, True
    plain = vmux.Register(bar=0, at=0x00, reset=0x11223344)
    masked = vmux.Register(bar=0, at=0x04, size=2, reset=0x00FF, writable=0x0FF0)
    byte = vmux.Register(bar=0, at=0x06, size=1)
    wide = vmux.Register(bar=0, at=0x08, size=8)
    counted = vmux.Register(bar=0, at=0x10)
    bad = vmux.Register(bar=0, at=0x14)
    source = vmux.Register(bar=0, at=0x20, size=8)
    target = vmux.Register(bar=0, at=0x28, size=8)
    length = vmux.Register(bar=0, at=0x30)
    go = vmux.Register(bar=0, at=0x34)

    def __init__(self) -> None:
        self.readings = 0
        self.seen: list[int] = []
        self.resets: list[vmux.ResetKind] = []
        self.ranges: list[tuple[int, int, bool]] = []
        self.written: list[tuple[int, int, bytes]] = []
        self.has_left = threading.Event()

    @counted.reading
    def count(self) -> int:
        self.readings += 1
        return self.readings

    @masked.written
    def remember(self, value: int) -> None:
        self.seen.append(value)

    @bad.written
    def refuse(self, value: int) -> None:
        raise (OSError(value, "as was asked for") if value else ZeroDivisionError("by whom?"))

    @go.written
    def copy(self, vector: int) -> None:
        self.write_memory(self.target, self.read_memory(self.source, self.length))
        self.trigger(vector)

    def read_bar(self, bar: int, offset: int, size: int) -> bytes:
        return bytes([bar]) * size if bar == 2 else super().read_bar(bar, offset, size)

    def write_bar(self, bar: int, offset: int, data: bytes) -> None:
        self.written.append((bar, offset, data))

    def reset(self, kind: vmux.ResetKind) -> None:
        self.resets.append(kind)
        if kind == vmux.ResetKind.DISCONNECT:
            self.has_left.set()

    def memory_added(self, address: int, size: int, has_descriptor: bool) -> None:
        self.ranges.append((address, size, has_descriptor))

    def memory_removed(self, address: int, size: int) -> None:
        self.ranges = [each for each in self.ranges if each[0] != address]


def test_identity_is_what_the_class_says(serve: Serve) -> None:
    client = serve(Card()).client()
    assert client.identity() == vmux.Identity(0x1234, 0x5678, 0x9ABC, 0xDEF0, 3, 0x020000)
    assert [client.region(index).size for index in range(5)] == [4096, 4096, 64, 0, 8192]
    assert {each.number for each in client.capabilities()} == {0x05, 0x11}
    assert [client.irq(kind).count for kind in vmux.IrqKind] == [1, 4, 3, 1, 1]
    assert client.config.read_int(0x3D, 1) == 1


def test_registers_keep_what_guests_may_write(serve: Serve) -> None:
    served = serve(Card())
    bar = served.client().region(0)
    assert bar.read_int(0) == 0x11223344
    bar.write_int(4, 0xFFFF, 2)
    assert bar.read_int(4, 2) == 0x0FFF
    assert served.device.seen == [0x0FFF]  # type: ignore[attr-defined]
    bar.write_int(8, 0x0102030405060708, 8)
    assert served.device.wide == 0x0102030405060708  # type: ignore[attr-defined]
    assert bar.read(8, 8) == bytes.fromhex("0807060504030201")


def test_parts_of_registers_and_several_at_once_are_accessed(serve: Serve) -> None:
    served = serve(Card())
    bar = served.client().region(0)
    bar.write(2, bytes.fromhex("aabb"))  # the upper half of one
    assert bar.read_int(0) == 0xBBAA3344
    bar.write(0, bytes.fromhex("01000000 f00f 07"))  # three
    assert (bar.read_int(0), bar.read_int(4, 2), bar.read_int(6, 1)) == (1, 0x0FFF, 7)
    bar.write_int(12, 0xFFFFFFFF)  # the upper half of a wide one
    assert bar.read_int(8, 8) == 0xFFFFFFFF00000000
    assert bar.read(4, 8) == bytes.fromhex("ff0f07 00 00000000")


def test_reading_handler_gives_the_value(serve: Serve) -> None:
    bar = serve(Card()).client().region(0)
    assert [bar.read_int(0x10) for _ in range(3)] == [1, 2, 3]


def test_accesses_beside_registers_go_to_the_device(serve: Serve) -> None:
    served = serve(Card())
    client = served.client()
    assert client.region(2).read(8, 4) == b"\2\2\2\2"
    assert client.region(0).read(0x100, 4) == bytes(4)
    client.region(2).write(8, b"abcd")
    assert served.device.written == [(2, 8, b"abcd")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("asked", "answered"), [(0, errno.EIO), (errno.EBUSY, errno.EBUSY), (errno.EPERM, errno.EPERM)])
def test_exception_is_an_errno_and_a_traceback(serve: Serve, caplog: pytest.LogCaptureFixture, asked: int,
                                               answered: int) -> None:
    bar = serve(Card()).client().region(0)
    with caplog.at_level(logging.ERROR, "vmux"), pytest.raises(OSError) as raised:
        bar.write_int(0x14, asked)
    assert raised.value.errno == answered
    assert "in refuse" in caplog.text and "Card failed" in caplog.text
    assert bar.read_int(0) == 0x11223344  # and it goes on


def test_engine_copies_guest_memory_and_interrupts(serve: Serve) -> None:
    client = serve(Card()).client()
    memory = client.share_memory(RAM, 0x4000)
    interrupts = client.interrupts(vmux.IrqKind.MSIX, 3)
    memory.view[0x10:0x15] = b"hello"
    bar = client.region(0)
    bar.write_int(0x20, RAM + 0x10, 8)
    bar.write_int(0x28, RAM + 0x3000, 8)
    bar.write_int(0x30, 5)
    bar.write_int(0x34, 2)
    assert memory.view[0x3000:0x3005] == b"hello"
    assert [each.take() for each in interrupts] == [0, 0, 1]


def test_copy_goes_over_the_border_of_two_ranges(serve: Serve) -> None:
    client = serve(Card()).client()
    first, second = client.share_memory(RAM, 0x1000), client.share_memory(RAM + 0x1000, 0x1000)
    first.view[0xFFE:0x1000], second.view[0:2] = b"ab", b"cd"
    bar = client.region(0)
    bar.write_int(0x20, RAM + 0xFFE, 8)
    bar.write_int(0x28, RAM, 8)
    bar.write_int(0x30, 4)
    bar.write_int(0x34, 0)
    assert first.view[0:4] == b"abcd"


def test_memory_without_descriptor_is_reached_by_message(serve: Serve) -> None:
    served = serve(Card())
    client = served.client()
    there = bytearray(b"by message".ljust(0x1000, b"\0"))

    def write(address: int, data: bytes) -> None:
        there[address - RAM : address - RAM + len(data)] = data

    client.serve_memory(lambda address, size: bytes(there[address - RAM : address - RAM + size]), write)
    client.map_memory(RAM, 0x1000)
    assert served.device.ranges == [(RAM, 0x1000, False)]  # type: ignore[attr-defined]
    bar = client.region(0)
    bar.write_int(0x20, RAM, 8)
    bar.write_int(0x28, RAM + 0x800, 8)
    bar.write_int(0x30, 10)
    bar.write_int(0x34, 0)
    assert there[0x800:0x80A] == b"by message"
    with pytest.raises(OSError) as raised:  # from a thread that does not serve
        served.device.read_memory(RAM, 4)
    assert raised.value.errno == errno.EDEADLK


@pytest.mark.parametrize(("source", "length"), [(0x50, 4), (RAM + 0x3FFF, 2), (RAM, 0xFFFFFFFF), (2**64 - 8, 64)])
def test_memory_that_is_not_there_is_a_fault(serve: Serve, source: int, length: int) -> None:
    client = serve(Card()).client()
    client.share_memory(RAM, 0x4000)
    bar = client.region(0)
    bar.write_int(0x20, source, 8)
    bar.write_int(0x28, RAM, 8)
    bar.write_int(0x30, length)
    with pytest.raises(OSError) as raised:
        bar.write_int(0x34, 0)
    assert raised.value.errno == errno.EFAULT


def test_memory_that_is_not_for_writing_is_not_written(serve: Serve) -> None:
    client = serve(Card()).client()
    memory = client.share_memory(RAM, 0x1000, writable=False)
    bar = client.region(0)
    bar.write_int(0x20, RAM, 8)
    bar.write_int(0x28, RAM + 0x800, 8)
    bar.write_int(0x30, 4)
    memory.view[0:4] = b"abcd"
    with pytest.raises(PermissionError):
        bar.write_int(0x34, 0)
    assert memory.view[0x800:0x804] == bytes(4)


def test_unmapped_memory_is_gone(serve: Serve) -> None:
    served = serve(Card())
    client = served.client()
    memory = client.share_memory(RAM, 0x1000)
    assert served.device.read_memory(RAM, 4) == bytes(4)
    memory.unmap()
    assert served.device.ranges == []  # type: ignore[attr-defined]
    with pytest.raises(OSError):
        served.device.read_memory(RAM, 4)


def test_trigger_says_whether_anybody_listens(serve: Serve) -> None:
    served = serve(Card())
    client = served.client()
    client.info()
    assert served.device.trigger(0) is False
    (interrupt,) = client.interrupts(vmux.IrqKind.MSIX, 1)
    assert served.device.trigger(0) is True  # from a thread that does not serve
    assert interrupt.wait(20) == 1
    with pytest.raises(OSError):
        served.device.trigger(9)


def test_level_of_intx_is_in_the_status_and_signalled_again_when_unmasked(serve: Serve) -> None:
    class Level(vmux.Device):
        intx = True
        level = vmux.Register(bar=0, at=0)

        @level.written
        def change(self, value: int) -> None:
            self.set_intx(value != 0)

    client = serve(Level()).client()
    (interrupt,) = client.interrupts(vmux.IrqKind.INTX, 1)
    bar, config = client.region(0), client.config
    bar.write_int(0, 1)
    bar.write_int(0, 1)
    assert (interrupt.take(), config.read_int(6, 2) & 8) == (1, 8)
    client._native.set_irqs(vmux.IrqKind.INTX, 1, 0, 0, 1, [])  # unmask, as QEMU does when the guest has looked
    assert interrupt.take() == 1
    bar.write_int(0, 0)
    client._native.set_irqs(vmux.IrqKind.INTX, 1, 0, 0, 1, [])
    assert (interrupt.take(), config.read_int(6, 2) & 8) == (0, 0)
    config.write_int(4, 1 << 10, 2)  # INTx disable
    bar.write_int(0, 1)
    assert interrupt.take() == 0


def test_shared_parts_are_the_same_memory_on_both_sides(serve: Serve) -> None:
    served = serve(Card())
    region = served.client().region(4)
    assert region.areas == [(4096, 4096)]
    mapped = region.map()
    mapped[0:4] = b"abcd"
    assert served.device.shared(4)[4096:4100] == b"abcd"
    assert region.read(4096, 4) == b"abcd"  # by message as well
    region.write(4100, b"efgh")
    assert mapped[0:8] == b"abcdefgh"


def test_table_of_msix_is_memory(serve: Serve) -> None:
    table = serve(Card()).client().region(1)
    table.write(0, bytes(range(16)))
    assert table.read(0, 16) == bytes(range(16))
    table.write(3 * 16, b"\xff" * 8)  # pending bits are not the guest's
    assert table.read(3 * 16, 8) == bytes(8)


def test_reset_and_disconnection_bring_registers_back(serve: Serve) -> None:
    card = Card()
    served = serve(card)
    client = served.client()
    client.region(0).write_int(0, 5)
    client.reset()
    assert client.region(0).read_int(0) == 0x11223344
    client.share_memory(RAM, 0x1000)
    client.region(0).write_int(0, 6)
    client.close()
    assert card.has_left.wait(60)
    assert card.resets == [vmux.ResetKind.CLIENT, vmux.ResetKind.DISCONNECT]
    again = served.client()
    assert again.region(0).read_int(0) == 0x11223344
    assert card.ranges == []


def test_state_moves_to_another_device(serve: Serve) -> None:
    source, target = serve(Card()).client(), serve(Card()).client()
    source.region(0).write_int(8, 0x1234567812345678, 8)
    target.load_state(source.save_state())
    assert target.region(0).read_int(8, 8) == 0x1234567812345678
    assert target.migration_state == 2


@pytest.mark.parametrize("state", [b"", b"{}", b"[]", b'{"plain": 1}'])
def test_foreign_state_is_refused(serve: Serve, state: bytes) -> None:
    client = serve(Card()).client()
    with pytest.raises(OSError):
        client.load_state(state)
    client.reset()
    assert client.region(0).read_int(0) == 0x11223344


def test_rom_is_read_only(serve: Serve) -> None:
    class WithRom(vmux.Device):
        rom = b"\x55\xaa" + bytes(3000)

    region = serve(WithRom()).client().region(6)
    assert (region.size, region.read(0, 2), region.writable) == (4096, b"\x55\xaa", False)


def describe(**attributes: object) -> vmux.Device:
    made: vmux.Device = type("Described", (vmux.Device,), attributes)()
    return made


@pytest.mark.parametrize(("attributes", "complaint"), [
    ({"bars": {0: vmux.Bar(100)}}, "power of two"),
    ({"bars": {6: vmux.Bar(4096)}}, "no BAR 6"),
    ({"bars": {1: vmux.Bar(4096, "memory64")}}, "even number"),
    ({"bars": {0: vmux.Bar(8192, shared=[(100, 4096)])}}, "whole pages"),
    ({"bars": {0: vmux.Bar(16)}, "far": vmux.Register(bar=0, at=14)}, "far lies outside"),
    ({"one": vmux.Register(bar=0, at=0), "two": vmux.Register(bar=0, at=3, size=1)}, "one and two overlap"),
    ({"msix": 2049}, "1 to 2048"),
    ({"msi": 3}, "1, 2, 4, 8, 16 or 32"),
    ({"bars": {0: vmux.Bar(4096, "memory64"), 2: vmux.Bar(4096, "memory64"), 4: vmux.Bar(4096, "memory64")}, "msix": 1},
     "no BAR is free"),
])
def test_wrong_description_is_told_in_a_sentence(tmp_path: object, attributes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        vmux.Server(describe(**attributes), f"{tmp_path}/never.sock")


def test_register_takes_what_fits() -> None:
    card = Card()
    card.byte = 255
    with pytest.raises(ValueError, match="byte: 256 does not fit"):
        card.byte = 256
    with pytest.raises(ValueError, match="1, 2, 4 or 8"):
        vmux.Register(bar=0, at=0, size=3)
    with pytest.raises(RuntimeError, match="not served"):
        card.trigger()
