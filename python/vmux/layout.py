# SPDX-License-Identifier: BSD-3-Clause
"""From a device's description to regions and capabilities: all that can be wrong with it is found here."""
from __future__ import annotations

import struct
from dataclasses import dataclass, field

from .device import Bar, Device, Register

READ_WRITE, MEMORY, BITS_64, PREFETCH, READ_ONLY = 3, 1 << 2, 1 << 4, 1 << 5, 1
ROM_REGION = 6
PAGE = 4096


@dataclass
class Layout:
    """What a server has to know of a device."""

    bars: dict[int, Bar]
    registers: dict[int, list[Register]]  #: by BAR, in the order of their places
    msix_bar: int | None = None
    msix_table: int = 0  #: bytes of it
    capabilities: list[bytes] = field(default_factory=list)


def power_of_two(size: int, least: int = PAGE) -> int:
    """The smallest power of two that is no less than both."""
    return max(least, 1 << (size - 1).bit_length())


def flags_of(bar: Bar) -> int:
    """Region flags of the C interface."""
    flags = READ_WRITE | (0 if bar.kind == "io" else MEMORY)
    return flags | (BITS_64 if bar.kind == "memory64" else 0) | (PREFETCH if bar.prefetchable else 0)


def lay_out(device: Device) -> Layout:
    """Checks the description. ValueError says what is wrong with it."""
    registers = _sorted_registers(device)
    bars = dict(device.bars)
    for number, those in registers.items():
        bars.setdefault(number, Bar(power_of_two(max(each.at + each.size for each in those))))
    layout = Layout(bars, registers)
    _add_msix(device, layout)
    _add_msi(device, layout)
    layout.capabilities += [bytes(each) for each in device.capabilities]
    _check(layout)
    return layout


def _sorted_registers(device: Device) -> dict[int, list[Register]]:
    by_bar: dict[int, list[Register]] = {}
    for register in device.registers().values():
        by_bar.setdefault(register.bar, []).append(register)
    for those in by_bar.values():
        those.sort(key=lambda each: each.at)
        for before, after in zip(those, those[1:]):
            if before.at + before.size > after.at:
                raise ValueError(f"registers {before.name} and {after.name} overlap")
    return by_bar


def _taken(bars: dict[int, Bar]) -> set[int]:
    return set(bars) | {number + 1 for number, bar in bars.items() if bar.kind == "memory64"}


def _add_msix(device: Device, layout: Layout) -> None:
    if device.msix == 0:
        return
    if not 1 <= device.msix <= 2048:
        raise ValueError(f"MSI-X has 1 to 2048 vectors, not {device.msix}")
    free = [number for number in range(6) if number not in _taken(layout.bars)]
    if not free:
        raise ValueError("no BAR is free for the table of MSI-X")
    layout.msix_bar, layout.msix_table = free[0], 16 * device.msix
    pending = layout.msix_table
    layout.bars[free[0]] = Bar(power_of_two(pending + -(-device.msix // 64) * 8))
    layout.capabilities.append(struct.pack("<BBHII", 0x11, 0, device.msix - 1, free[0], pending | free[0]))


def _add_msi(device: Device, layout: Layout) -> None:
    if device.msi == 0:
        return
    if device.msi not in (1, 2, 4, 8, 16, 32):
        raise ValueError(f"MSI has 1, 2, 4, 8, 16 or 32 vectors, not {device.msi}")
    control = 0x80 | (device.msi.bit_length() - 1) << 1  # addresses of 64 bits
    layout.capabilities.append(struct.pack("<BBHQHHII", 0x05, 0, control, 0, 0, 0, 0, 0))


def _check(layout: Layout) -> None:
    for number, bar in layout.bars.items():
        least = 4 if bar.kind == "io" else 16
        if not 0 <= number <= 5:
            raise ValueError(f"there is no BAR {number}")
        if bar.size < least or bar.size & (bar.size - 1):
            raise ValueError(f"BAR {number}: its size is a power of two, at least {least}, not {bar.size}")
        if bar.kind == "memory64" and (number % 2 or number + 1 in layout.bars):
            raise ValueError(f"BAR {number} of 64 bits has an even number, and takes the next one too")
        for offset, size in bar.areas():
            if offset % PAGE or size % PAGE or size <= 0 or offset < 0 or offset + size > bar.size or bar.kind == "io":
                raise ValueError(f"BAR {number}: a shared part is whole pages of memory inside it")
    for number, those in layout.registers.items():
        for register in those:
            if register.at < 0 or register.at + register.size > layout.bars[number].size:
                raise ValueError(f"register {register.name} lies outside of BAR {number}")
