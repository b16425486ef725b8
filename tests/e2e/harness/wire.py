# SPDX-License-Identifier: BSD-3-Clause
"""Frames made and judged by hand, and the files that carry them."""
import struct


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    """The Internet checksum; 0 over data that carries a right one."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp_frame(destination, source, payload, vlan=None, right=True):
    """Ethernet, IPv4, UDP; with wrong checksums if asked."""
    udp_length = 8 + len(payload)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + udp_length, 1, 0, 64, 17, 0, bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2]))
    pseudo = ip[12:20] + struct.pack("!BBH", 0, 17, udp_length)
    udp = struct.pack("!HHHH", 4000, 4001, udp_length, 0) + payload
    ip_sum, udp_sum = checksum(ip), checksum(pseudo + udp) or 0xffff
    if not right:
        ip_sum, udp_sum = ip_sum ^ 0x5555, udp_sum ^ 0x5555
    ip = ip[:10] + struct.pack("!H", ip_sum) + ip[12:]
    udp = udp[:6] + struct.pack("!H", udp_sum) + udp[8:]
    tag = struct.pack("!HH", 0x8100, vlan) if vlan is not None else b""
    return mac_bytes(destination) + mac_bytes(source) + tag + struct.pack("!H", 0x0800) + ip + udp


def vlan_of(frame):
    return struct.unpack("!H", frame[14:16])[0] & 0xfff if frame[12:14] == b"\x81\x00" else None


def has_right_sums(frame):
    """Of an untagged IPv4/UDP frame."""
    ip = frame[14:34]
    length = struct.unpack("!H", ip[2:4])[0]
    udp = frame[34:14 + length]
    return checksum(ip) == 0 and checksum(ip[12:20] + struct.pack("!BBH", 0, 17, len(udp)) + udp) == 0


def write_pcap(path, frames):
    """A capture file of Ethernet frames (libpcap's format)."""
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            file.write(struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame)


def read_pcap(path):
    data, frames, at = open(path, "rb").read(), [], 24
    while at < len(data):
        length = struct.unpack("=I", data[at + 8:at + 12])[0]
        frames.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return frames
