# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user server that shares nothing with ours: written from the specification (QEMU docs/interop/vfio-user.rst), in Python.

Its device has one BAR of 4 KiB, all of it by message. Writing an address to register 0 makes it read the four bytes there
into register 8; a write to register 16 makes it hang up without an answer.
"""
import array
import json
import mmap
import os
import socket
import struct
import threading

HEADER = struct.Struct("<HHIII")  # id, command, size, flags, errno
REPLY, NO_REPLY, ERROR = 1, 1 << 4, 1 << 5
BAR0, CONFIG, REGIONS, IRQS = 0, 7, 9, 5
SIZES = {BAR0: 4096, CONFIG: 256}
EINVAL, ENOENT = 22, 2
HANG_UP = object()


class ForeignServer:
    def __init__(self, path):
        self.commands = []  # numbers, in order
        self.mapped = {}  # IOVA: (size, memory)
        self.memory = {BAR0: bytearray(4096), CONFIG: bytearray(256)}
        struct.pack_into("<HHIB3s", self.memory[CONFIG], 0, 0x1b36, 0x0010, 0, 1, b"\x00\x00\xff")
        self.handlers = {1: self.version, 2: self.dma_map, 3: self.dma_unmap, 4: self.device_info, 5: self.region_info,
                         7: self.irq_info, 8: lambda body, fds: body[:0], 9: self.region_read, 10: self.region_write,
                         13: lambda body, fds: b""}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.listener.close()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                while self.answer(peer):
                    pass
            self.mapped.clear()

    def answer(self, peer):
        head, fds = self.receive(peer, HEADER.size)
        if len(head) < HEADER.size:
            return False
        number, command, size, flags, _ = HEADER.unpack(head)
        body, more = self.receive(peer, size - HEADER.size)
        self.commands.append(command)
        handler = self.handlers.get(command)
        result = handler(body, fds + more) if handler else EINVAL
        for fd in fds + more:
            os.close(fd)
        if result is HANG_UP:
            return False
        failed = isinstance(result, int)
        data = b"" if failed else bytes(result)
        if not flags & NO_REPLY:
            peer.sendall(HEADER.pack(number, command, HEADER.size + len(data), REPLY | (ERROR if failed else 0), result if failed else 0) + data)
        return True

    @staticmethod
    def receive(peer, size):
        data, fds = b"", []
        while len(data) < size:
            part, ancillary, _, _ = peer.recvmsg(size - len(data), socket.CMSG_SPACE(64))
            for _, _, payload in ancillary:
                fds += array.array("i", payload)
            if not part:
                break
            data += part
        return data, fds

    @staticmethod
    def version(body, _):
        return struct.pack("<HH", 0, 0) + json.dumps({"capabilities": {"max_msg_fds": 1}}).encode() + b"\0"

    def dma_map(self, body, fds):
        _, _, offset, address, size = struct.unpack("<IIQQQ", body)
        if not fds:
            return EINVAL
        self.mapped[address] = (size, mmap.mmap(fds[0], size, offset=offset))
        return b""

    def dma_unmap(self, body, _):
        _, _, address, size = struct.unpack("<IIQQ", body[:24])
        if self.mapped.get(address, (0,))[0] != size:
            return ENOENT
        del self.mapped[address]
        return body[:24]

    @staticmethod
    def device_info(body, _):
        return struct.pack("<IIII", 16, 3, REGIONS, IRQS)  # can be reset, is PCI

    @staticmethod
    def region_info(body, _):
        index = struct.unpack_from("<I", body, 8)[0]
        size = SIZES.get(index, 0)
        return struct.pack("<IIIIQQ", 32, 3 if size else 0, index, 0, size, index << 40) if index < REGIONS else EINVAL

    @staticmethod
    def irq_info(body, _):
        index = struct.unpack_from("<I", body, 8)[0]
        return struct.pack("<IIII", 16, 0, index, 0)

    def region_read(self, body, _):
        offset, region, count = struct.unpack("<QII", body[:16])
        if offset + count > SIZES.get(region, 0):
            return EINVAL
        return body[:16] + self.memory[region][offset:offset + count]

    def region_write(self, body, _):
        offset, region, count = struct.unpack("<QII", body[:16])
        if offset + count > SIZES.get(region, 0):
            return EINVAL
        self.memory[region][offset:offset + count] = body[16:16 + count]
        if region == BAR0 and offset == 16:
            return HANG_UP
        if region == BAR0 and offset == 0:
            wanted = struct.unpack_from("<Q", self.memory[BAR0])[0]
            for start, (size, memory) in self.mapped.items():
                if start <= wanted and wanted + 4 <= start + size:
                    self.memory[BAR0][8:12] = memory[wanted - start:wanted - start + 4]
        return body[:16]
