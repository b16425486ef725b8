# SPDX-License-Identifier: BSD-3-Clause
"""VFIO's calls with linux/vfio.h's numbers, as a program makes them of a descriptor, and a line for what each answers."""
import ctypes
import errno
import os
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
for name in ("pread", "pwrite"):
    getattr(LIBC, name).argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    getattr(LIBC, name).restype = ctypes.c_ssize_t


def vfio(number):
    return 0x3b00 + 100 + number


# linux/vfio.h
(GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, GROUP_SET_CONTAINER, GROUP_UNSET_CONTAINER,
 GROUP_GET_DEVICE_FD, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, DEVICE_RESET,
 GET_HOT_RESET_INFO) = map(vfio, range(13))
HOT_RESET, IOMMU_GET_INFO, MAP_DMA, UNMAP_DMA, DIRTY_PAGES, FEATURE = vfio(13), vfio(12), vfio(13), vfio(14), vfio(17), vfio(17)
TYPE1, TYPE1V2, SPAPR, NOIOMMU = 1, 3, 2, 8
BAR0, ROM, CONFIG, VGA = 0, 6, 7, 8
REGION = 1 << 40  # from one region's offset in a device's descriptor to the next one's
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 16, 32
READ, WRITE = 1, 2
PAGE, TOP = 4096, 1 << 64
NOWHERE = 0x10  # an address that no program has
SHARED, PRIVATE, ANONYMOUS = 1, 2, 0x20


def checked(result):
    return result if result >= 0 else -ctypes.get_errno()


class Descriptor:
    """A file of VFIO's, the kernel's or a stand-in's. Answers are numbers, negative ones errnos."""

    def __init__(self, fd):
        self.fd = fd

    def ioctl(self, request, argument=None):
        """bytes are handed over in a buffer, and what is in there afterwards comes back with the answer."""
        buffer = ctypes.create_string_buffer(argument, max(len(argument), 1)) if isinstance(argument, bytes) else None
        result = checked(LIBC.ioctl(self.fd, request, argument if buffer is None else ctypes.addressof(buffer)))
        return result, buffer and buffer.raw

    def pread(self, address, size, offset):
        return checked(LIBC.pread(self.fd, address, size, offset))

    def pwrite(self, address, size, offset):
        return checked(LIBC.pwrite(self.fd, address, size, offset))

    def seek(self):
        return checked(LIBC.lseek(self.fd, 0, 0))

    def mmap(self, length, protection, flags, offset):
        """Maps and lets go: 0."""
        got = LIBC.mmap(None, length, protection, flags, self.fd, offset)
        if got == TOP - 1:
            return -ctypes.get_errno()
        LIBC.munmap(got, length)
        return 0

    def close(self):
        os.close(self.fd)


class Memory:
    """Shared memory that a stand-in can pass on, at an address of its own; `size` of it are mapped."""
    all = []

    def __init__(self, size, file_size=None, writable=True):
        self.fd, self.size = os.memfd_create("probe"), size
        os.ftruncate(self.fd, size if file_size is None else file_size)
        if not writable:
            self.fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY)
        self.address = LIBC.mmap(None, size, 3 if writable else 1, SHARED, self.fd, 0)
        self.all.append(self)


def shown(answer):
    """Of what cannot be asked there is no answer."""
    if answer is None:
        return "-"
    return errno.errorcode[-answer] if answer < 0 else str(answer)


def line(name, *answers):
    print(name.replace(" ", "_"), *answers, flush=True)


def ask(name, whom, request, argument=None, fields=None):
    """One ioctl. What `fields` picks of the buffer afterwards belongs to the answer."""
    answer, raw = whom.ioctl(request, argument)
    said = [shown(answer)]
    if answer is not None and answer >= 0 and fields:
        said += [str(field) for field in fields(raw)]
    if name:
        line(name, *said)
    return answer, raw


def u32(raw, *at):
    return [f"{struct.unpack_from('<I', raw, where)[0]:#x}" for where in at]
