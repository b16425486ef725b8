# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user-blk front end as small as it can be, with the driver of its disk: from the specifications, nothing of vMux."""
import array
import mmap
import os
import select
import socket
import struct

GUEST = 0x1_0000_0000  # where its memory lies for the device
SIZE = 4 << 20
GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK, SET_CALL = 8, 9, 10, 11, 12, 13
GET_PROTOCOL, SET_PROTOCOL, ENABLE, GET_CONFIG = 15, 16, 18, 24
REPLY_ACK, CONFIG = 1 << 3, 1 << 9
VERSION_1, FLUSH, PROTOCOL = 1 << 32, 1 << 9, 1 << 30
READ, WRITE, FLUSH_DISK = 0, 1, 4
RING = 64


class Disk:
    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        fd = os.memfd_create("guest")
        os.ftruncate(fd, SIZE)
        self.memory = mmap.mmap(fd, SIZE)
        features = self.ask(GET_FEATURES)
        assert self.ask(GET_PROTOCOL) & (REPLY_ACK | CONFIG) == REPLY_ACK | CONFIG
        self.send(SET_PROTOCOL, struct.pack("<Q", REPLY_ACK | CONFIG))
        self.send(SET_OWNER)
        self.accept(SET_FEATURES, struct.pack("<Q", (VERSION_1 | FLUSH | PROTOCOL) & features))
        self.accept(SET_MEM_TABLE, struct.pack("<II4Q", 1, 0, GUEST, SIZE, GUEST, 0), [fd])
        os.close(fd)
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        self.memory[:0x2000] = bytes(0x2000)
        self.available = self.used = 0
        self.free = list(range(0, RING - 2, 3))  # of three descriptors each
        self.begin(0)

    def close(self):
        self.socket.close()
        os.close(self.kick)
        os.close(self.call)

    # --- the protocol ---

    def send(self, request, payload=b"", fds=(), flags=1):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([struct.pack("<III", request, flags, len(payload)) + payload], rights)

    def receive(self, request):
        head = self.socket.recv(12, socket.MSG_WAITALL)
        assert len(head) == 12, "the back end has hung up"
        said, flags, size = struct.unpack("<III", head)
        assert (said, flags) == (request, 5), (said, flags)
        return self.socket.recv(size, socket.MSG_WAITALL)

    def ask(self, request, payload=b""):
        self.send(request, payload)
        return struct.unpack("<Q", self.receive(request))[0]

    def accept(self, request, payload=b"", fds=()):
        self.send(request, payload, fds, flags=9)
        assert self.receive(request) == bytes(8), f"request {request} was refused"

    def capacity(self):
        """Bytes."""
        self.send(GET_CONFIG, struct.pack("<III", 0, 60, 0) + bytes(60))
        return struct.unpack_from("<Q", self.receive(GET_CONFIG), 12)[0] * 512

    def begin(self, base):
        self.send(SET_NUM, struct.pack("<II", 0, RING))
        self.send(SET_BASE, struct.pack("<II", 0, base))
        self.send(SET_ADDR, struct.pack("<II4Q", 0, 0, GUEST, GUEST + 0x1000, GUEST + 0x800, 0))
        self.send(SET_KICK, struct.pack("<Q", 0), [self.kick])
        self.send(SET_CALL, struct.pack("<Q", 0), [self.call])
        self.accept(ENABLE, struct.pack("<II", 0, 1))

    def stop(self):
        """Where the ring stands."""
        self.send(GET_BASE, struct.pack("<II", 0, 0))
        return struct.unpack("<II", self.receive(GET_BASE))[1]

    # --- the driver ---

    def post(self, kind, sector, data=b"", length=0):
        """A request under way; what finished() has of it is its head."""
        head = self.free.pop()
        at = 0x10000 + head * 0x8000
        self.memory[at:at + 16] = struct.pack("<IIQ", kind, 0, sector)
        self.memory[at + 16] = 0xff
        self.memory[at + 0x1000:at + 0x1000 + len(data)] = data
        parts = [(at, 16, 0)]
        if data or length:
            parts.append((at + 0x1000, len(data) or length, 0 if data else 2))
        parts.append((at + 16, 1, 2))
        for i, (where, size, flags) in enumerate(parts):
            last = i + 1 == len(parts)
            struct.pack_into("<QIHH", self.memory, 16 * (head + i), GUEST + where, size, flags | (0 if last else 1), 0 if last else head + i + 1)
        struct.pack_into("<H", self.memory, 0x800 + 4 + 2 * (self.available % RING), head)
        self.available += 1
        struct.pack_into("<H", self.memory, 0x802, self.available & 0xffff)
        os.eventfd_write(self.kick, 1)
        return head

    def finished(self, timeout=60):
        """The head of a request that is done, and what was read."""
        while struct.unpack_from("<H", self.memory, 0x1002)[0] == self.used & 0xffff:
            assert select.select([self.call], [], [], timeout)[0], "no request is done"
            os.eventfd_read(self.call)
        head, _ = struct.unpack_from("<II", self.memory, 0x1000 + 4 + 8 * (self.used % RING))
        self.used += 1
        self.free.append(head)
        at = 0x10000 + head * 0x8000
        assert self.memory[at + 16] == 0, f"the disk refuses a request: {self.memory[at + 16]}"
        return head, self.memory[at + 0x1000:at + 0x1000 + 0x6000]

    def write(self, sector, data):
        self.post(WRITE, sector, data=data)
        self.finished()

    def read(self, sector, length):
        self.post(READ, sector, length=length)
        return self.finished()[1][:length]

    def flush(self):
        self.post(FLUSH_DISK, 0)
        self.finished()
