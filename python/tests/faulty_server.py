# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user server in raw bytes that keeps to the specification, but for the faults that it is told to have.

Its device: BARs 0 (4 KiB, may be mapped) and 2 (256 bytes), 256 bytes of configuration space, INTx and 32 vectors of MSI-X.
"""
from __future__ import annotations

import array
import errno
import json
import os
import socket
import struct
import threading
from typing import Callable

CAPABILITIES = {"max_msg_fds": 16, "max_data_xfer_size": 1 << 20, "max_dma_maps": 65535, "pgsizes": 4096,
                "write_multiple": False}
SIZES = {0: 4096, 2: 256, 7: 256}
VECTORS = {0: 1, 2: 32, 3: 1, 4: 1}
REPLY_SIZES = {2: 0, 3: 24, 4: 16, 7: 16, 8: 0, 10: 16, 13: 0}  # where errors are as long


class Refused(Exception):
    """An error reply with this errno."""


class Gone(Exception):
    """The connection ends."""


class FaultyServer:
    def __init__(self, path: str, *faults: str) -> None:
        self.faults = set(faults)
        self.config = bytearray(256)
        struct.pack_into("<HHHH", self.config, 0, 0x1234, 0x5678, 0, 0)
        self.ranges: list[tuple[int, int]] = []
        self.seen = 0  # clients
        self._bar = os.memfd_create("bar0")
        os.ftruncate(self._bar, 4096)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def has(self, fault: str) -> bool:
        return fault in self.faults

    def wait(self) -> None:
        """For the end that a fault brings."""
        self._thread.join()
        self._listener.close()
        os.close(self._bar)

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        os.close(self._bar)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.seen += 1
            if self.has("serves_one_client") and self.seen > 2:
                continue
            self._greeted = False
            if not self.has("keeps_memory"):
                self.ranges = []
            with client:
                try:
                    while True:
                        self._message(client)
                except (Gone, OSError, struct.error):
                    pass
            if self.has("ends_with_its_client"):
                return

    def _take(self, client: socket.socket, size: int, fds: list[int]) -> bytes:
        data = b""
        while len(data) < size:
            part, controls, _, _ = client.recvmsg(size - len(data), 4096)
            for _, _, content in controls:
                fds += array.array("i", content[: len(content) // 4 * 4])
            if not part:
                raise Gone
            data += part
            if self.has("wants_whole_messages") and len(data) < size:
                raise Gone
        return data

    def _message(self, client: socket.socket) -> None:
        fds: list[int] = []
        try:
            number, command, size, flags, _ = struct.unpack("<HHIII", self._take(client, 16, fds))
            if not 16 <= size < 1 << 22 and not self.has("believes_sizes"):
                raise Gone
            payload = self._take(client, max(size, 16) - 16, fds)
            if flags & 0xF and not self.has("takes_any_type"):
                raise Gone
            self._answer(client, number, command, flags, payload, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _answer(self, client: socket.socket, number: int, command: int, flags: int, payload: bytes, fds: list[int]) -> None:
        out: list[int] = []
        try:
            answer, error = self._do(command, payload, fds, out), 0
        except struct.error:
            answer, error = b"", 0 if self.has("short_is_fine") else errno.EINVAL
        except Refused as reason:
            error = int(str(reason))
            size = REPLY_SIZES.get(command, 16 + struct.unpack_from("<I", payload, 12)[0] if command == 9 else 0)
            answer = b"" if self.has("short_errors") or size > 4096 else bytes(size)
        if flags & 0x10 and not self.has("ignores_no_reply") and not (error and self.has("errors_despite_no_reply")):
            return
        number += self.has("wrong_number")
        command += self.has("wrong_command")
        kind = (0 if self.has("no_reply_type") else 1) | (0x20 if error and not self.has("no_error_flag") else 0)
        head = struct.pack("<HHIII", number & 0xFFFF, command, 16 + len(answer), kind, error)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", out))] if out else []
        client.sendmsg([head + answer], control)

    def _do(self, command: int, payload: bytes, fds: list[int], out: list[int]) -> bytes:
        if command == 1:
            return self._version(payload)
        if not self._greeted and not self.has("serves_before_version"):
            raise Gone
        handlers: dict[int, Callable[[bytes, list[int], list[int]], bytes]] = {
            2: self._map, 3: self._unmap, 4: self._info, 5: self._region, 7: self._irq, 8: self._irqs, 9: self._read,
            10: self._write, 13: self._reset, 16: self._feature,
        }
        if command not in handlers:
            raise Gone() if self.has("unknown_ends") else Refused(errno.ENOSYS)
        return handlers[command](payload, fds, out)

    def _version(self, payload: bytes) -> bytes:
        major, minor = struct.unpack_from("<HH", payload)
        if (major != 0 and not self.has("any_major")) or self._greeted:
            raise Refused(errno.EINVAL)
        try:
            asked = json.loads(payload[4:].rstrip(b"\0"))
            good = payload.endswith(b"\0") and isinstance(asked, dict) and isinstance(asked.get("capabilities", {}), dict)
            good = good and isinstance(asked.get("capabilities", {}).get("max_msg_fds", 1), int)
        except (ValueError, RecursionError):
            good = False
        if not good and not self.has("any_json"):
            raise Refused(errno.EINVAL)
        self._greeted = True
        capabilities = dict(CAPABILITIES, max_msg_fds=1000) if self.has("many_fds") else CAPABILITIES
        text = json.dumps({} if self.has("no_capabilities") else {"capabilities": capabilities}).encode()
        text += b" " * (300 if self.has("long_version") else 0) + (b"" if self.has("no_nul") else b"\0")
        return struct.pack("<HH", 0, 1 if self.has("minor_1") else 0) + text

    def _map(self, payload: bytes, fds: list[int], _out: list[int]) -> bytes:
        argsz, flags, _offset, start, size = struct.unpack_from("<IIQQQ", payload)
        if argsz < 32 or flags & ~3 or start + size > 1 << 64 or (self.has("maps_need_fds") and not fds):
            raise Refused(errno.EINVAL)
        if any(start < other + length and other < start + size for other, length in self.ranges):
            if not self.has("maps_may_overlap"):
                raise Refused(errno.EEXIST)
        self.ranges.append((start, size))
        return b"\0" if self.has("long_map_reply") else b""

    def _unmap(self, payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        argsz, flags, start, size = struct.unpack_from("<IIQQ", payload)
        if argsz < 24 or flags & ~2 or (flags & 2 and (start or size or self.has("no_unmap_all"))):
            raise Refused(errno.EINVAL)
        if flags & 2:
            self.ranges = []
        elif (start, size) in self.ranges:
            self.ranges.remove((start, size))
        elif not self.has("unmaps_parts"):
            raise Refused(errno.ENOENT)
        return b"" if self.has("short_unmap_reply") else payload[:24]

    def _info(self, payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        if struct.unpack_from("<IIII", payload)[0] < 16 and not self.has("any_argsz"):
            raise Refused(errno.EINVAL)
        flags = (0 if self.has("not_pci") else 2) | 1
        return struct.pack("<IIII", 16, flags, 7 if self.has("few_regions") else 9, 5)

    def _region(self, payload: bytes, _fds: list[int], out: list[int]) -> bytes:
        argsz, _, index, _, _, _ = struct.unpack_from("<IIIIQQ", payload)
        if argsz < 32 or index > 8:
            raise Refused(errno.EINVAL)
        size = SIZES.get(index, 0) + (44 if index == 7 and self.has("odd_config") else 0)
        flags = 3 if size else 0
        if index != 0:
            return struct.pack("<IIIIQQ", 32, flags, index, 0, size, 0)
        if not self.has("no_region_fd") and not (argsz > 32 and self.has("one_region_fd")):
            out.append(self._bar)
        head = struct.pack("<IIIIQQ", 64, flags | 12, index, 32 if argsz >= 64 else 0, size, 0)
        length = 8192 if self.has("areas_too_long") else 4096
        areas = struct.pack("<HHIIIQQ", 1, 1, 32 if self.has("looping_areas") else 0, 1, 0, 0, length)
        return head + areas if argsz >= 64 else head

    def _irq(self, payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        argsz, _, index, _ = struct.unpack_from("<IIII", payload)
        if argsz < 16 or index > 4:
            raise Refused(errno.EINVAL)
        return struct.pack("<IIII", 16, 1, index, VECTORS.get(index, 0))

    def _irqs(self, payload: bytes, fds: list[int], _out: list[int]) -> bytes:
        argsz, flags, index, first, count = struct.unpack_from("<IIIII", payload)
        data, action = flags & 7, flags & 0x38
        if argsz < 20 or index > 4 or flags & ~0x3F or data not in (1, 2, 4):
            raise Refused(errno.EINVAL)
        if action not in (8, 16, 32) and not self.has("two_actions"):
            raise Refused(errno.EINVAL)
        if first + count > VECTORS.get(index, 0):
            raise Refused(errno.EINVAL)
        if data == 4 and ((self.has("msix_needs_fds") and not fds) or (self.has("few_irq_fds") and len(fds) > 8)):
            raise Refused(errno.EINVAL)
        if data == 4 and action == 16 and self.has("no_resample"):
            raise Refused(errno.EINVAL)
        return b""

    def _place(self, payload: bytes) -> tuple[int, int, int]:
        offset, region, count = struct.unpack_from("<QII", payload)
        if self.has("wraps") and offset >= 1 << 63:
            return offset, region, count
        if region not in SIZES or (offset + count > SIZES[region] and not self.has("reads_beyond")):
            raise Refused(errno.EINVAL)
        return offset, region, count

    def _read(self, payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        offset, region, count = self._place(payload)
        data = self.config[offset : offset + count] if region == 7 else b""
        if self.has("config_by_4_differs") and count == 4 and offset == 8:
            data = bytearray(b"odd!")
        return payload[:16] + bytes(data).ljust(min(count, 4096), b"\0") + (b"\0" if self.has("long_read") else b"")

    def _write(self, payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        offset, region, count = self._place(payload)
        if len(payload) - 16 != count:
            raise Refused(errno.EINVAL)
        for at, byte in enumerate(payload[16:], offset):
            if region == 7 and (at >= 4 or self.has("writes_ids")):
                self.config[at] = byte
        self._size_bars()
        return payload[:16]

    def _size_bars(self) -> None:
        """The sizes that firmware finds: an address has no bits below them."""
        for bar in range(6):
            (address,) = struct.unpack_from("<I", self.config, 0x10 + 4 * bar)
            size = 0 if self.has("bars_have_no_size") else SIZES.get(bar, 0)
            struct.pack_into("<I", self.config, 0x10 + 4 * bar, address & -size & 0xFFFFFFFF if size else 0)

    def _reset(self, _payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        if self.has("no_reset"):
            raise Refused(errno.ENOTSUP)
        if self.has("dies_at_reset"):
            self._listener.shutdown(socket.SHUT_RDWR)
            raise Gone
        return b""

    def _feature(self, payload: bytes, _fds: list[int], _out: list[int]) -> bytes:
        struct.unpack_from("<II", payload)
        if self.has("any_feature"):
            return payload
        raise Gone() if self.has("features_end") else Refused(errno.ENOTTY)
