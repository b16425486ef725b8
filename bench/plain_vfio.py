# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's VFIO without anything between: a VMM's side of a function, as small as passthrough's tests have it through
vfio-user (tests/e2e/in_host/vfio_user.py). linux/vfio.h has the numbers."""
import fcntl
import mmap
import os
import struct
from pathlib import Path

SET_IOMMU, GROUP_SET_CONTAINER, GROUP_GET_DEVICE_FD = 0x3b66, 0x3b68, 0x3b6a
GET_REGION_INFO, SET_IRQS = 0x3b6c, 0x3b6e
TYPE1V2 = 3
MSIX, CONFIG = 2, 7
EVENTFD_TRIGGER = 4 | 32


class Plain:
    def __init__(self, address):
        group = (Path("/sys/bus/pci/devices") / address / "iommu_group").resolve().name
        self.container = os.open("/dev/vfio/vfio", os.O_RDWR | os.O_CLOEXEC)
        self.group = os.open(f"/dev/vfio/{group}", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(self.group, GROUP_SET_CONTAINER, struct.pack("i", self.container))
        fcntl.ioctl(self.container, SET_IOMMU, TYPE1V2)
        self.device = fcntl.ioctl(self.group, GROUP_GET_DEVICE_FD, bytearray(address.encode() + b"\0"))  # the call's result

    def _region(self, index):
        """Size and offset."""
        info = fcntl.ioctl(self.device, GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
        return struct.unpack("<IIIIQQ", info)[4:]

    def config_reader(self):
        offset = self._region(CONFIG)[1]
        return lambda at: os.pread(self.device, 4, offset + at)

    def enable(self):
        offset = self._region(CONFIG)[1] + 4
        command, = struct.unpack("<H", os.pread(self.device, 2, offset))
        os.pwrite(self.device, struct.pack("<H", command | 6), offset)

    def map_bar(self, index):
        size, offset = self._region(index)
        return mmap.mmap(self.device, size, offset=offset)

    def listen(self):
        """Vector 0 of MSI-X, to an eventfd."""
        eventfd = os.eventfd(0, os.EFD_CLOEXEC)
        fcntl.ioctl(self.device, SET_IRQS, struct.pack("<IIIIIi", 24, EVENTFD_TRIGGER, MSIX, 0, 1, eventfd))
        return eventfd

    def close(self):
        for fd in (self.device, self.group, self.container):
            os.close(fd)
