#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A GPIO card that Linux has a driver for (gpio-pci-idio-16): inputs change with every third reading.

Usage: gpio.py SOCKET     Then, in the guest: modprobe gpio-pci-idio-16; gpioget gpiochip0 16; gpioset gpiochip0 3=1
"""
import logging
import sys

import vmux


class Gpio(vmux.Device):
    """ACCES 104-IDIO-16: outputs 0 to 7 and 8 to 15 at 0 and 4 of BAR 2, inputs at 1 and 5."""

    vendor_id, device_id = 0x494F, 0x0DC8
    bars = {2: vmux.Bar(256)}
    outputs_low = vmux.Register(bar=2, at=0, size=1)
    inputs_low = vmux.Register(bar=2, at=1, size=1, writable=0)
    outputs_high = vmux.Register(bar=2, at=4, size=1)
    inputs_high = vmux.Register(bar=2, at=5, size=1, writable=0)

    def __init__(self) -> None:
        self.readings = 0

    @outputs_low.written
    @outputs_high.written
    def output(self, _value: int) -> None:
        print(f"outputs: {self.outputs_high << 8 | self.outputs_low:016b}", flush=True)

    @inputs_low.reading
    @inputs_high.reading
    def sense(self) -> int:
        self.readings += 1
        return 0xFF if (self.readings - 1) // 3 % 2 else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO)
    try:
        Gpio().serve(sys.argv[1])
    except KeyboardInterrupt:
        pass
