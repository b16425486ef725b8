#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The educational device of QEMU (docs/specs/edu.rst), outside of QEMU: factorials, interrupts and DMA.

Usage: edu.py SOCKET      Then, in the guest: edu-guest.sh

It differs in one thing: a factorial is computed on the spot, so the status never says that one is under way.
"""
import logging
import math
import sys

import vmux

BUFFER, BUFFER_SIZE = 0x40000, 4096
START, TO_MEMORY, INTERRUPT_AFTERWARDS = 1, 2, 4
FACTORIAL_DONE, DMA_DONE = 0x001, 0x100


class Edu(vmux.Device):
    """Registers of 4 bytes below 0x80, and of 4 or 8 bytes from there on; all in BAR 0."""

    vendor_id, device_id, revision, class_code = 0x1234, 0x11E8, 0x10, 0x00FF00
    bars = {0: vmux.Bar(1 << 20)}
    intx, msi = True, 1
    identification = vmux.Register(bar=0, at=0x00, reset=0x010000ED, writable=0)
    liveness = vmux.Register(bar=0, at=0x04)
    factorial = vmux.Register(bar=0, at=0x08)
    status = vmux.Register(bar=0, at=0x20, writable=0x80)  # 0x80: interrupt after a factorial
    interrupt_status = vmux.Register(bar=0, at=0x24, writable=0)
    interrupt_raise = vmux.Register(bar=0, at=0x60)
    interrupt_acknowledge = vmux.Register(bar=0, at=0x64)
    dma_source = vmux.Register(bar=0, at=0x80, size=8)
    dma_destination = vmux.Register(bar=0, at=0x88, size=8)
    dma_count = vmux.Register(bar=0, at=0x90, size=8)
    dma_command = vmux.Register(bar=0, at=0x98, size=8)

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER_SIZE)

    def raise_interrupt(self, bits: int) -> None:
        self.interrupt_status |= bits
        self.set_intx(True)
        if self.uses_messages:
            self.trigger()

    @liveness.written
    def invert(self, value: int) -> None:
        self.liveness = value ^ 0xFFFFFFFF

    @factorial.written
    def compute(self, value: int) -> None:
        self.factorial = math.factorial(value) & 0xFFFFFFFF if value < 34 else 0  # 34! and more end in 32 zero bits
        if self.status & 0x80:
            self.raise_interrupt(FACTORIAL_DONE)

    @interrupt_raise.written
    def raise_by_hand(self, value: int) -> None:
        self.raise_interrupt(value)

    @interrupt_acknowledge.written
    def acknowledge(self, value: int) -> None:
        self.interrupt_status &= ~value
        self.set_intx(self.interrupt_status != 0)

    @dma_command.written
    def transfer(self, command: int) -> None:
        if not command & START:
            return
        inside = self.dma_source if command & TO_MEMORY else self.dma_destination
        at, size = inside - BUFFER, self.dma_count
        if 0 <= at <= BUFFER_SIZE and size <= BUFFER_SIZE - at:  # else nothing happens
            if command & TO_MEMORY:
                self.write_memory(self.dma_destination, self.buffer[at : at + size])
            else:
                self.buffer[at : at + size] = self.read_memory(self.dma_source, size)
        self.dma_command = command & ~START
        if command & INTERRUPT_AFTERWARDS:
            self.raise_interrupt(DMA_DONE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO)
    try:
        Edu().serve(sys.argv[1])
    except KeyboardInterrupt:
        pass
