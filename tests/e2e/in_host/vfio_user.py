# SPDX-License-Identifier: BSD-3-Clause
"""A VMM as small as it can be, for tests inside a host VM: vfio-user from its specification, nothing of vMux."""
import array
import json
import mmap
import os
import select
import socket
import struct

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IRQ_INFO, SET_IRQS = 1, 2, 3, 4, 5, 7, 8
REGION_READ, REGION_WRITE, RESET, DEVICE_FEATURE = 9, 10, 13, 16
BAR0, BAR3, ROM, CONFIG = 0, 3, 6, 7
INTX, MSI, MSIX, ERR, REQ = range(5)
NONE, BOOL, EVENTFD = 1, 2, 4
MASK, UNMASK, TRIGGER = 8, 16, 32


class Refused(OSError):
    """With the server's errno."""


class Gone(Exception):
    """The server has closed the connection."""


class Vmm:
    def __init__(self, path, timeout=90):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.id, self.fds = 0, []
        capabilities = json.dumps({"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576,
                                                    "pgsizes": 4096, "max_dma_maps": 65535, "write_multiple": False}})
        self.call(VERSION, struct.pack("<HH", 0, 0) + capabilities.encode() + b"\0")

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, command, payload=b"", fds=()):
        self.id += 1
        message = struct.pack("<HHIII", self.id & 0xffff, command, 16 + len(payload), 0, 0) + payload
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.sendmsg([message], ancillary)
        except BrokenPipeError:
            raise Gone() from None
        head = self._receive(16)
        _, _, size, flags, error = struct.unpack("<HHIII", head)
        body = self._receive(size - 16)
        if flags & 0x20:
            raise Refused(error, os.strerror(error))
        return body

    def _receive(self, size):
        data = b""
        while len(data) < size:
            try:
                part, ancillary, _, _ = self.socket.recvmsg(size - len(data), socket.CMSG_SPACE(16 * 4))
            except ConnectionResetError:
                raise Gone() from None
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self.fds += list(array.array("i", raw[:len(raw) // 4 * 4]))
            if not part:
                raise Gone()
            data += part
        return data

    # -- regions ------------------------------------------------------------------------------------------------------

    def region(self, index):
        """Size, flags, offset and mappable areas; the descriptor to map is the last of self.fds."""
        body = self.call(REGION_INFO, struct.pack("<IIIIQQ", 4096, 0, index, 0, 0, 0))
        _, flags, _, cap, size, offset = struct.unpack_from("<IIIIQQ", body)
        areas = []
        if flags & 8 and cap:
            _, _, _, count, _ = struct.unpack_from("<HHIII", body, cap)
            areas = [struct.unpack_from("<QQ", body, cap + 16 + 16 * i) for i in range(count)]
        return size, flags, offset, areas

    def read(self, region, offset, size):
        return self.call(REGION_READ, struct.pack("<QII", offset, region, size))[16:]

    def write(self, region, offset, data):
        self.call(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data)

    def read32(self, region, offset):
        return struct.unpack("<I", self.read(region, offset, 4))[0]

    def write32(self, region, offset, value):
        self.write(region, offset, struct.pack("<I", value))

    def config16(self, offset):
        return struct.unpack("<H", self.read(CONFIG, offset, 2))[0]

    def map_bar(self, index):
        """The first mappable area: its offset, and the memory."""
        _, _, offset, areas = self.region(index)
        start, size = areas[0]
        return start, mmap.mmap(self.fds[-1], size, offset=offset + start)

    def enable(self, bits=7):
        """Memory, I/O and bus master on, INTx not disabled."""
        self.write(CONFIG, 4, struct.pack("<H", self.config16(4) & ~0x407 | bits))

    def capabilities(self):
        found, at = {}, self.read(CONFIG, 0x34, 1)[0] & 0xfc
        while at:
            identity, following = self.read(CONFIG, at, 2)
            found[identity], at = at, following & 0xfc
        return found

    def extended_capabilities(self):
        found, at = {}, 0x100
        while at:
            header = self.read32(CONFIG, at)
            if header == 0:
                break
            found[header & 0xffff], at = at, header >> 20
        return found

    # -- memory -------------------------------------------------------------------------------------------------------

    def give_memory(self, size, iova=0):
        fd = os.memfd_create("vm")
        os.ftruncate(fd, size)
        self.dma_map(fd, 0, size, iova)
        return fd, mmap.mmap(fd, size)

    def dma_map(self, fd, offset, size, iova, flags=3):
        self.call(DMA_MAP, struct.pack("<IIQQQ", 32, flags, offset, iova, size), [fd] if fd is not None else [])

    def dma_unmap(self, iova, size, flags=0):
        self.call(DMA_UNMAP, struct.pack("<IIQQ", 24, flags, iova, size))

    # -- interrupts ---------------------------------------------------------------------------------------------------

    def irq(self, index):
        """Flags and count."""
        return struct.unpack_from("<IIII", self.call(IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0)))[1::2]

    def set_irqs(self, index, flags, start=0, count=1, fds=(), data=b""):
        self.call(SET_IRQS, struct.pack("<IIIII", 20 + len(data), flags, index, start, count) + data, list(fds))

    def listen(self, index, start=0, count=1):
        fds = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count)]
        self.set_irqs(index, EVENTFD | TRIGGER, start, count, fds)
        return fds if count > 1 else fds[0]

    def reset(self):
        self.call(RESET)


def heard(eventfd, seconds=60):
    """How often it was signalled, waiting for the first."""
    if not select.select([eventfd], [], [], seconds)[0]:
        return 0
    return os.eventfd_read(eventfd)
