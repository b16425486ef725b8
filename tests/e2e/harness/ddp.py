# SPDX-License-Identifier: BSD-3-Clause
"""A package (DDP) for Intel's E800 series that a driver accepts and that does nothing: what names it, and the packet types that exist.
Written from how drivers check and read such a file; there is nothing of Intel's in it."""
import struct

E800_SEGMENT, METADATA, PTYPE_MARKERS = 0x10, 1, 55
BUFFER = 4096
VERSION = (1, 3, 77, 0)
NAME = "vMux test package"
# L2; fragment, other, UDP, TCP, SCTP, ICMP of IPv4, and the same of IPv6.
PTYPES = [1] + [base + kind for base in (22, 88) for kind in (0, 1, 2, 4, 5, 6)]


def buffer(*sections):
    """Sections (type, content) behind a table of them."""
    table, content = b"", b""
    first = (4 + 8 * len(sections) + 7) // 8 * 8
    for kind, data in sections:
        at = first + len(content)
        table += struct.pack("<IHH", kind, at, len(data))
        content += data + bytes(-len(data) % 8)
    end = first + len(content)
    made = struct.pack("<HH", len(sections), end) + table
    made += bytes(first - len(made)) + content
    assert len(made) <= BUFFER
    return made + bytes(BUFFER - len(made))


def metadata(name, version):
    return struct.pack("<4B28sI", *version, name.encode(), 0xC0DE0001)


def markers():
    """Per packet type where in the marker's memory it stands, its number, and the key that says so."""
    entries = b"".join(struct.pack("<HH20x", index, ptype) for index, ptype in enumerate(PTYPES))
    return struct.pack("<HH", len(PTYPES), 0) + entries


def package(name=NAME, version=VERSION):
    buffers = [buffer((METADATA, metadata(name, version)), (PTYPE_MARKERS, markers()))]
    body = struct.pack("<I", 0) + struct.pack("<I", 0) + struct.pack("<I", len(buffers)) + b"".join(buffers)
    size = 44 + len(body)
    segment = struct.pack("<I4BI32s", E800_SEGMENT, *version, size, name.encode()) + body
    header = struct.pack("<4BI", 1, 0, 0, 0, 1)
    return header + struct.pack("<I", len(header) + 4) + segment


if __name__ == "__main__":
    import sys
    sys.stdout.buffer.write(package())
