# SPDX-License-Identifier: BSD-3-Clause
"""server_probe.py SOCKET [irqs]: puts the questions of vfio_probe.py, or those about interrupts, to a vfio-user server, call by
call, and prints its answers in the same lines. Nothing is judged on the way: a call becomes the message of the same meaning, whose
payload is the call's own structure; of what no message can say (addresses of a program, a container's own calls, mmap) the answer
is "-"."""
import ctypes
import os
import struct
import sys

import vfio_user as vu
from vfio_calls import (BOOL, DEVICE_GET_INFO, DEVICE_GET_IRQ_INFO, DEVICE_GET_REGION_INFO, DEVICE_RESET, DEVICE_SET_IRQS, EVENTFD,
                        FEATURE, MAP_DMA, NONE, NOWHERE, PAGE, REGION, TOP, UNMAP_DMA, Memory)
from vfio_grid import ask_about_irqs, ask_device, grid_dma
from vfio_questions import ask_iommu

VADDR = 8  # where it is in a vfio_iommu_type1_dma_map, and in the message the offset into the file


class Silent:
    """Whom no call reaches."""

    def __init__(self, vmm):
        self.vmm = vmm

    def ioctl(self, request, argument=None):
        translate = self.MESSAGES.get(request)
        message = translate and isinstance(argument, (bytes, type(None))) and translate(argument)
        if not message:
            return None, argument
        try:
            return 0, self.understand(request, argument, self.vmm.call(*message))
        except vu.Refused as refused:
            return -refused.errno, argument

    def understand(self, request, asked, reply):
        """The call's buffer as the kernel would leave it."""
        return reply

    def pread(self, address, size, offset):
        return None

    pwrite = pread

    def seek(self):
        return None

    def mmap(self, length, protection, flags, offset):
        return None


def map_dma(argument):
    vaddr, = struct.unpack_from("<Q", argument, VADDR)
    for memory in Memory.all:
        if memory.address <= vaddr < memory.address + memory.size:
            return vu.DMA_MAP, argument[:VADDR] + struct.pack("<Q", vaddr - memory.address) + argument[VADDR + 8:], [memory.fd]
    return None


def set_irqs(argument):
    """Descriptors go beside the message; -1 is none."""
    flags, = struct.unpack_from("<I", argument, 4)
    if flags & (NONE | BOOL | EVENTFD) != EVENTFD:
        return vu.SET_IRQS, argument
    fds = [fd for fd, in struct.iter_unpack("<i", argument[20:]) if fd != -1]
    if any(not os.path.exists(f"/proc/self/fd/{fd}") for fd in fds):
        return None
    return vu.SET_IRQS, argument[:20], fds


class Container(Silent):
    MESSAGES = {MAP_DMA: map_dma, UNMAP_DMA: lambda argument: (vu.DMA_UNMAP, argument)}


class Device(Silent):
    MESSAGES = {
        DEVICE_GET_INFO: lambda argument: (vu.GET_INFO, argument),
        DEVICE_GET_REGION_INFO: lambda argument: (vu.REGION_INFO, argument),
        DEVICE_GET_IRQ_INFO: lambda argument: (vu.IRQ_INFO, argument),
        DEVICE_SET_IRQS: set_irqs,
        DEVICE_RESET: lambda _: (vu.RESET,),
        FEATURE: lambda argument: (vu.DEVICE_FEATURE, argument),
    }

    def understand(self, request, asked, reply):
        if request != DEVICE_GET_REGION_INFO:
            return reply
        index, = struct.unpack_from("<I", asked, 8)  # regions have no offsets in a descriptor: here they get the kernel's
        return reply[:24] + struct.pack("<Q", index * REGION) + reply[32:]

    def pread(self, address, size, offset):
        return self.access(vu.REGION_READ, address, size, offset)

    def pwrite(self, address, size, offset):
        return self.access(vu.REGION_WRITE, address, size, offset)

    def access(self, command, address, size, offset):
        if address == NOWHERE:
            return None
        region, at = divmod(offset % TOP, REGION)
        data = ctypes.string_at(address, size) if command == vu.REGION_WRITE else b""
        try:
            reply = self.vmm.call(command, struct.pack("<QII", at, region, size) + data)
        except vu.Refused as refused:
            return -refused.errno
        count, = struct.unpack_from("<I", reply, 12)
        if command == vu.REGION_READ:
            ctypes.memmove(address, reply[16:], count)
        return count


def main(path, part=None):
    memory = Memory(16 * PAGE)
    with vu.Vmm(path) as vmm:
        if part == "irqs":
            ask_about_irqs(Device(vmm))
            return
        container = Container(vmm)
        ask_iommu(container, memory)
        grid_dma(container, memory)
        ask_device(Device(vmm), memory)


main(*sys.argv[1:])
