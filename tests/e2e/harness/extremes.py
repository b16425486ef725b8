# SPDX-License-Identifier: BSD-3-Clause
"""A table of frames at the edges of what a stock stack hands to a card: long headers, tags, sums and cutting left to the card.

A row is made from a Shape; its number stays what it is while the table is only added to at its end. The same seed makes the same table.
"""
import random
import struct
from dataclasses import dataclass, replace

from .wire import ADDRESSES, PROTOCOLS, mac_bytes, packed_addresses

SEED = 12
MTU = 1500
HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60
KIND = {HOP_BY_HOP: "hop", ROUTING: "route", DESTINATION: "dest"}
CTAG, STAG, MARKER = 0x8100, 0x88a8, 0x88b5
VLAN, INNER_VLAN = 10, 20
MOST_PIECES = 150  # the ring of a receiver that sleeps has room for them
NEEDS_CHECKSUM = 1  # virtio 1.2, 5.1.6
CUT = {("tcp", 4): 1, ("tcp", 6): 4, ("udp", 4): 5, ("udp", 6): 5}
CHECKSUM_AT = {"tcp": 16, "udp": 6}
PUSH_FIN_ACK = 0x19

PATTERN = bytes(position * 2654435761 >> 24 & 0xff for position in range(1 << 20))


@dataclass(frozen=True)
class Shape:
    """What a frame is made of; sizes in bytes."""
    version: int = 4
    l4: str = "udp"
    payload: int = 100
    options: int = 0            # of the IPv4 header
    extensions: tuple = ()      # of IPv6: (kind, size)
    l4_options: int = 0         # of the TCP header
    segment: int = 0            # payload of each frame that it is to be cut into
    tags: tuple = ()            # in the frame as it is sent: (TPID, VLAN)
    through: str = ""           # the VLAN interface it is sent by: its tags are the card's or the stack's to put in
    sum_is_left: bool = True
    start: int | None = None    # of the sum, where it is not that of the header
    to: str = "peer"            # or "host", or "all"

    def __str__(self):
        words = [f"ipv{self.version}", self.l4, str(self.payload)]
        words += [f"options{self.options}"] * bool(self.options) + [f"{KIND[kind]}{size}" for kind, size in self.extensions]
        words += [f"tcp{20 + self.l4_options}"] * bool(self.l4_options) + [f"cut{self.segment}"] * bool(self.segment)
        words += [f"tag{tpid:x}" for tpid, _ in self.tags] + [f"by{self.through}"] * bool(self.through)
        words += ["summed"] * (not self.sum_is_left) + [f"start{self.start}"] * (self.start is not None)
        return "-".join([*words, f"to-{self.to}"])

    @property
    def header(self):
        """Bytes of IP and transport headers."""
        ip = 20 + self.options if self.version == 4 else 40 + sum(size for _, size in self.extensions)
        return ip + (8 if self.l4 == "udp" else 20 + self.l4_options)

    @property
    def pieces(self):
        """Where in the payload each of the frames begins that arrive in the end."""
        return range(0, self.payload, self.segment) if self.segment else (0,)

    def fits(self):
        return self.header + (self.segment or self.payload) <= MTU


def ones(data, total=0):
    """The sum of 16-bit words in ones' complement (RFC 1071), not inverted."""
    total += sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def extension(kind, size, following, segment):
    """A header of IPv6; `segment` is the address that a routing header has in each place."""
    if kind == ROUTING:  # a segment routing header at its end (RFC 8754): segments, and a padding TLV
        count = (size - 8) // 16
        head = struct.pack("!BBBBBBH", following, size // 8 - 1, 4, 0, max(count - 1, 0), 0, 0)
        body = segment * count
        return head + body + (b"\x04\x06" + bytes(6) if len(head + body) < size else b"")
    made = struct.pack("!BB", following, size // 8 - 1)
    while len(made) < size:  # options that whoever does not know them skips (RFC 4727: 30 is for experiments)
        length = min(size - len(made) - 2, 255)
        if size - len(made) - 2 - length == 1:  # one byte would be left, which is no option of this kind
            length -= 1
        made += struct.pack("!BB", 30, length) + bytes(length)
    return made


def _ip(shape, size, identity):
    """Header in front of `size` bytes of transport."""
    both, number = packed_addresses(shape.version, ADDRESSES[shape.version]), PROTOCOLS[shape.l4]
    if shape.version == 4:
        length = 20 + shape.options
        head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + size, identity, 0, 64, number, 0) + both
        head += b"\x01" * shape.options
        return head[:10] + struct.pack("!H", ~ones(head) & 0xffff) + head[12:]
    numbers = [kind for kind, _ in shape.extensions] + [number]
    extensions = b"".join(extension(kind, length, following, both[16:]) for (kind, length), following in zip(shape.extensions, numbers[1:]))
    return struct.pack("!IHBB", 6 << 28, len(extensions) + size, numbers[0], 64) + both + extensions


def _transport(shape, payload, position, is_last, is_partial):
    """Header and payload; with the pseudo-header's sum alone in the place of the checksum if `is_partial`."""
    if shape.l4 == "udp":
        head, size = struct.pack("!HHHH", 4000, 4001, 8 + len(payload), 0), 8 + len(payload)
    else:
        flags = PUSH_FIN_ACK if is_last else 0x10
        head = struct.pack("!HHIIBBHHH", 4000, 4001, 1000 + position, 2000, 5 + shape.l4_options // 4 << 4, flags, 8192, 0, 0)
        head += b"\x01" * shape.l4_options
        size = len(head) + len(payload)
    pseudo = ones(packed_addresses(shape.version, ADDRESSES[shape.version]) + struct.pack("!II", size, PROTOCOLS[shape.l4]))
    total = pseudo if is_partial else ~ones(head + payload, pseudo) & 0xffff or 0xffff
    at = CHECKSUM_AT[shape.l4]
    return head[:at] + struct.pack("!H", total) + head[at + 2:] + payload


def _tags(tags, version):
    return b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", 0x0800 if version == 4 else 0x86dd)


THROUGH = {"": (), f".{VLAN}": ((CTAG, VLAN),), f".{VLAN}.{INNER_VLAN}": ((CTAG, VLAN), (CTAG, INNER_VLAN))}


@dataclass(frozen=True)
class Frame:
    """As it is given to the stack (`header` is virtio's), and the frames that are to arrive."""
    header: bytes
    sent: bytes
    arriving: list
    whole: bytes  # as it arrives where it need not be cut
    sum_at: int   # in there

    def record(self, by=0):
        return record(self.sent, self.header, by)


def record(frame, header=bytes(10), by=0):
    """For guest-frames, which sends it by the interface of this number."""
    return struct.pack("<II", len(header) + len(frame), by) + header + frame


def frame_of(shape, destination, source):
    macs = mac_bytes(destination) + mac_bytes(source)
    payload, ether = PATTERN[:shape.payload], macs + _tags(shape.tags, shape.version)
    wire = macs + _tags(THROUGH[shape.through] + shape.tags, shape.version)
    arriving = []
    for number, position in enumerate(shape.pieces):
        piece = payload[position:position + shape.segment] if shape.segment else payload
        transport = _transport(shape, piece, position, position + len(piece) == shape.payload, False)
        arriving.append(wire + _ip(shape, len(transport), 1 + number) + transport)
    whole = _transport(shape, payload, 0, True, shape.sum_is_left)
    ip = _ip(shape, len(whole), 1)
    begin = len(ether) + len(ip)
    flags, cut = (NEEDS_CHECKSUM if shape.sum_is_left else 0), (CUT[shape.l4, shape.version] if shape.segment else 0)
    header_size = begin + len(whole) - len(payload)
    at = CHECKSUM_AT[shape.l4]
    header = struct.pack("<BBHHHH", flags, cut, header_size, shape.segment, begin * shape.sum_is_left, at * shape.sum_is_left)
    sent = ether + ip + whole
    if shape.start is not None:
        header, arriving = header[:6] + struct.pack("<HH", shape.start, begin + at - shape.start), []
        sum_of = ~ones(sent[shape.start:]) & 0xffff
        arriving.append(wire[:-2] + sent[len(ether) - 2:begin + at] + struct.pack("!H", sum_of) + sent[begin + at + 2:])
    return Frame(header, sent, arriving, wire + ip + _transport(shape, payload, 0, True, False), len(wire) + len(ip) + at)


def marker(source, number):
    """A record of a frame for everyone that ends a row."""
    return record(b"\xff" * 6 + mac_bytes(source) + struct.pack("!HI", MARKER, number) + bytes(46))


def same_but_for(left, right, places):
    """Whether two frames are the same apart from the 16-bit words at these places, and from padding to 60 bytes."""
    size = max(len(left), len(right))
    if size > 60 and len(left) != len(right):
        return False
    pair = [bytearray(frame.ljust(size, b"\0")) for frame in (left, right)]
    for frame in pair:
        for place in places:
            frame[place:place + 2] = bytes(len(frame[place:place + 2]))
    return pair[0] == pair[1]


def _headers():
    """Lengths of IPv6 extension headers, around what offsets of 7, 8 and 9 bits and the cards' own fields can say."""
    for size in (8, 72, 80, 184, 192, 200, 208, 440, 448, 456, 464, 472, 504, 520, 712, 968, 1224):
        for l4 in ("tcp", "udp"):
            yield Shape(version=6, l4=l4, extensions=((DESTINATION, size),))
    for kinds in ((HOP_BY_HOP, DESTINATION), (ROUTING, DESTINATION), (HOP_BY_HOP, ROUTING)):
        for sizes in ((8, 8), (104, 104), (216, 216), (504, 504)):
            yield Shape(version=6, l4="tcp", extensions=tuple(zip(kinds, sizes)))
    for options in (4, 40):
        for l4_options in (0, 40):
            yield Shape(l4="tcp", options=options, l4_options=l4_options)
        yield Shape(options=options)


def _lengths():
    for payload in (0, 1, 17, 18, 19, 1471, 1472):
        yield Shape(payload=payload)
        yield Shape(payload=payload, sum_is_left=False)
    yield Shape(version=6, l4="tcp", payload=0)
    yield Shape(version=6, l4="tcp", payload=1440, to="all")


def _tagged():
    one, two = f".{VLAN}", f".{VLAN}.{INNER_VLAN}"
    yield Shape(through=one, payload=1472)
    yield Shape(through=one, l4="tcp", payload=30000, segment=1460)
    yield Shape(through=two, payload=1472, to="host")
    yield Shape(through=two, l4="tcp", payload=1456)
    for through in (one, two):
        yield Shape(through=through, version=6, l4="tcp", extensions=((DESTINATION, 208),))
    yield Shape(tags=((STAG, VLAN),), to="host")
    yield Shape(tags=((STAG, VLAN), (CTAG, INNER_VLAN)), to="host", payload=1464)
    yield Shape(tags=((CTAG, VLAN), (CTAG, INNER_VLAN)), to="all", version=6, extensions=((ROUTING, 248),))
    yield Shape(tags=((CTAG, VLAN), (CTAG, INNER_VLAN)), l4="tcp", payload=8000, segment=1000)


def _super_frames():
    """Of TCP up to 64 KB, of UDP up to its 64 datagrams; no more pieces than the receiver's ring has room for."""
    for segment, payload in ((1, 60), (8, 800), (63, 6300), (64, 6400), (88, 8800), (536, 65000), (1459, 65000), (1460, 65495), (1460, 1461)):
        yield Shape(l4="tcp", segment=segment, payload=payload)
    for segment, payload in ((64, 6400), (1220, 65000), (1440, 65495)):
        yield Shape(l4="tcp", version=6, segment=segment, payload=payload)
    # Of so many bytes in so small pieces Linux's e1000 just makes descriptors enough for its ring; of more its queue waits for ever.
    yield Shape(l4="tcp", segment=48, payload=20000, to="host")
    yield Shape(l4="tcp", options=40, l4_options=40, segment=1380, payload=65000)
    for size in (8, 128, 248, 440, 520, 1000):
        yield Shape(l4="tcp", version=6, extensions=((DESTINATION, size),), segment=400, payload=20100)
        yield Shape(version=6, extensions=((HOP_BY_HOP, size),), segment=400, payload=20100)
    for segment, payload in ((1, 50), (8, 511), (100, 6399), (1472, 65000)):
        yield Shape(segment=segment, payload=payload)


def _strange_sums():
    """Sums that begin elsewhere, which a guest of this guest may ask for."""
    for start in (33, 35):
        yield Shape(start=start)


def _drawn(count):
    draw = random.Random(SEED)
    while count > 0:
        version, l4 = draw.choice((4, 6)), draw.choice(("tcp", "udp"))
        kinds = sorted(draw.sample((HOP_BY_HOP, ROUTING, DESTINATION), draw.randint(0, 3))) if version == 6 else ()
        shape = Shape(version=version, l4=l4, options=draw.randrange(0, 44, 4) if version == 4 else 0,
                      extensions=tuple((kind, 8 * draw.randint(1, 60)) for kind in kinds),
                      l4_options=draw.randrange(0, 44, 4) if l4 == "tcp" else 0, through=draw.choice(tuple(THROUGH)),
                      payload=draw.randint(0, 1400), to=draw.choice(("peer", "host", "all")))
        if draw.random() < 0.5 and shape.through != f".{VLAN}.{INNER_VLAN}":  # which Linux does not cut for it
            segment = draw.randint(64, 1400)
            shape = replace(shape, segment=segment, payload=draw.randint(segment + 1, 60 * segment) % 60000)
        if shape.fits() and shape.payload > shape.segment and len(shape.pieces) <= MOST_PIECES:
            count -= 1
            yield shape


SHAPES = (*_headers(), *_lengths(), *_tagged(), *_super_frames(), *_strange_sums(), *_drawn(24))
