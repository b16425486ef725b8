# SPDX-License-Identifier: BSD-3-Clause
"""PCI devices in userspace, and clients of them, over vfio-user.

A device is a class: what it is called on the bus, its registers, and what happens when a guest writes them.

    import vmux

    class Doubler(vmux.Device):
        vendor_id, device_id = 0x1234, 0x0002
        value = vmux.Register(bar=0, at=0)

        @value.written
        def double(self, value: int) -> None:
            self.value = 2 * value & 0xffffffff

    Doubler().serve("/tmp/doubler.sock")        # until Ctrl-C

Any VMM that speaks vfio-user attaches it (QEMU: `-device '{"driver":"vfio-user-pci","socket":{"type":"unix",
"path":"/tmp/doubler.sock"}}'`, with shared memory). `Client` is what such a VMM does, for tests and tools:

    with vmux.Client("/tmp/doubler.sock") as client:
        client.region(0).write_int(0, 21)
        assert client.region(0).read_int(0) == 42
"""
from .client import Capability, Client, DeviceInfo, Identity, Interrupt, IrqInfo, Limits, Memory, Region
from .device import Bar, Device, IrqKind, Register, ResetKind
from .server import Server

__all__ = [
    "Bar", "Capability", "Client", "Device", "DeviceInfo", "Identity", "Interrupt", "IrqInfo", "IrqKind", "Limits",
    "Memory", "Region", "Register", "ResetKind", "Server",
]
