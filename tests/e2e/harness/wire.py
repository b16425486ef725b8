# SPDX-License-Identifier: BSD-3-Clause
"""Frames made and judged by hand, and the files that carry them."""
import socket
import struct


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def raw_socket(interface, ethertype):
    """Hears this interface alone: one that is made with its protocol hears all of them until it is bound."""
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    heard.bind((interface, ethertype))
    return heard


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


ADDRESSES = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd00::9:1", "fd00::9:2")}
PROTOCOLS = {"tcp": 6, "udp": 17}


def packed_addresses(version, addresses):
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return b"".join(socket.inet_pton(family, address) for address in addresses)


def ip_frame(destination, source, payload, l4="udp", version=4, addresses=None, ports=(4000, 4001), tags=(), flags=0x18,
             right_ip=True, right_l4=True):
    """Ethernet, tags (TPID, TCI), IPv4 or IPv6, TCP or UDP, with wrong checksums if asked."""
    both = packed_addresses(version, addresses or ADDRESSES[version])
    number = PROTOCOLS[l4]
    size = len(payload) + (8 if l4 == "udp" else 20)
    if l4 == "udp":
        head, at = struct.pack("!HHHH", *ports, size, 0), 6
    else:
        head, at = struct.pack("!HHIIBBHHH", *ports, 1000, 2000, 0x50, flags, 8192, 0, 0), 16
    segment = head + payload
    total = checksum(both + struct.pack("!II", size, number) + segment) or 0xffff
    total ^= 0 if right_l4 else 0x5555
    segment = segment[:at] + struct.pack("!H", total) + segment[at + 2:]
    if version == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 64, number, 0) + both
        ip = ip[:10] + struct.pack("!H", checksum(ip) ^ (0 if right_ip else 0x5555)) + ip[12:]
    else:
        ip = struct.pack("!IHBB", 6 << 28, size, number, 64) + both
    kinds = b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", 0x0800 if version == 4 else 0x86dd)
    return mac_bytes(destination) + mac_bytes(source) + kinds + ip + segment


def toeplitz(key, data):
    """The hash of receive-side scaling, bit by bit."""
    window, result = int.from_bytes(key, "big"), 0
    bits = len(key) * 8
    for number, byte in enumerate(data):
        for bit in range(8):
            if byte & 0x80 >> bit:
                result ^= window >> (bits - 32 - number * 8 - bit) & 0xffffffff
    return result


def vlan_of(frame):
    return struct.unpack("!H", frame[14:16])[0] & 0xfff if frame[12:14] == b"\x81\x00" else None


def has_right_sums(frame):
    """Of an untagged IPv4/UDP frame."""
    ip = frame[14:34]
    length = struct.unpack("!H", ip[2:4])[0]
    udp = frame[34:14 + length]
    return checksum(ip) == 0 and checksum(ip[12:20] + struct.pack("!BBH", 0, 17, len(udp)) + udp) == 0


def transport_of(frame):
    """(IP header, segment) of an untagged frame without IP options."""
    if frame[12:14] == b"\x08\x00":
        return frame[14:34], frame[34:14 + struct.unpack("!H", frame[16:18])[0]]
    return frame[14:54], frame[54:54 + struct.unpack("!H", frame[18:20])[0]]


def sums_are_right(frame):
    """Of an untagged frame as ip_frame() makes them."""
    ip, segment = transport_of(frame)
    addresses, number = (ip[12:20], ip[9]) if ip[0] >> 4 == 4 else (ip[8:40], ip[6])
    return ((ip[0] >> 4 == 6 or checksum(ip) == 0)
            and checksum(addresses + struct.pack("!II", len(segment), number) + segment) == 0)


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
