# SPDX-License-Identifier: BSD-3-Clause
"""What users of a guest can do with sockets and their options to a card, and the host's side of it. See tests/in_guest/sockets.cpp."""
import contextlib
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import stations
from .extremes import DESTINATION, HOP_BY_HOP, PATTERN, ROUTING, extension
from .stations import ADDRESSES, MACS, SO_RCVBUFFORCE
from .vmux import wait_until
from .wire import packed_addresses

ROOT, NOBODY = 0, 65534
FIRST_PORT = 6000
SECONDS = 60  # for what fails; what works takes none
# Levels and options: linux/in.h, in6.h, tcp.h, udp.h.
IP_OPTIONS, IPV6_ROUTING, IPV6_HOP_BY_HOP, IPV6_DESTINATION, TCP_MAXSEG, UDP_SEGMENT = (0, 4), (41, 57), (41, 54), (41, 59), (6, 2), (17, 103)
OPTION_OF = {HOP_BY_HOP: IPV6_HOP_BY_HOP, ROUTING: IPV6_ROUTING, DESTINATION: IPV6_DESTINATION}


@dataclass(frozen=True)
class Use:
    what: str
    how: str              # "begin": only its first frame is looked for, on the host's tap; "stream", "datagram": all has to arrive
    version: int = 4
    size: int = 0         # of a write
    count: int = 1
    header: tuple = None  # of IPv6: (kind, size)
    options: tuple = ()   # (level, option), value
    user: int = NOBODY
    models: tuple = tuple(MACS)


def number(value):
    return struct.pack("=i", value)


def _begun():
    for size in (24, 184, 200, 208, 248, 504, 1000):
        yield Use(f"routing{size}", "begin", 6, header=(ROUTING, size))
    for size in (192, 208, 1000):  # these two want CAP_NET_RAW
        yield Use(f"destination{size}", "begin", 6, header=(DESTINATION, size), user=ROOT)
        yield Use(f"hop{size}", "begin", 6, header=(HOP_BY_HOP, size), user=ROOT)


def _streams():
    yield Use("super-frames", "stream", 4, 65536, 8)
    yield Use("super-frames-v6", "stream", 6, 65536, 8)
    yield Use("options40", "stream", 4, 65536, 2, options=((IP_OPTIONS, b"\x01" * 40),))
    for size, write in ((88, 8000), (536, 65536)):
        yield Use(f"maxseg{size}", "stream", 4, write, 1, options=((TCP_MAXSEG, number(size)),))
        yield Use(f"maxseg{size}-v6", "stream", 6, write, 1, options=((TCP_MAXSEG, number(size)),))
    for size in (8, 104, 128):
        yield Use(f"destination{size}", "stream", 6, 65536, 2, header=(DESTINATION, size), user=ROOT)
    for size in (208, 448, 1000):  # Linux leaves these sums to the 82540EM, which has 8 bits for where they are
        yield Use(f"destination{size}", "stream", 6, 65536, 2, header=(DESTINATION, size), user=ROOT, models=("iavf",))


def _datagrams():
    yield Use("fragments", "datagram", 4, 65507)
    yield Use("fragments-v6", "datagram", 6, 65527)
    yield Use("options40", "datagram", 4, 1432, 3, options=((IP_OPTIONS, b"\x01" * 40),))
    for size, count in ((1, 60), (8, 64), (100, 60), (1472, 44)):
        yield Use(f"segments{size}", "datagram", 4, size * count, options=((UDP_SEGMENT, number(size)),))
    yield Use("segments1452-v6", "datagram", 6, 1452 * 45, options=((UDP_SEGMENT, number(1452)),))
    yield Use("destination128", "datagram", 6, 1300, 3, header=(DESTINATION, 128), user=ROOT)


USES = (*_begun(), *_streams(), *_datagrams())


def command(program, use, port):
    """For the guest's shell."""
    family, host = (socket.AF_INET, ADDRESSES["host"][0]) if use.version == 4 else (socket.AF_INET6, ADDRESSES["host"][1])
    options = list(use.options)
    if use.header:
        kind, size = use.header
        options.append((OPTION_OF[kind], extension(kind, size, 0, packed_addresses(6, [host]))))
    words = [f"{level}:{option}:{value.hex()}" for (level, option), value in options]
    return " ".join([program, str(use.user), use.how, socket.inet_pton(family, host).hex(), str(port), str(use.size), str(use.count), *words])


class Server:
    """The host's socket for a use."""

    def __init__(self, use, port):
        self.use = use
        family, host = (socket.AF_INET, ADDRESSES["host"][0]) if use.version == 4 else (socket.AF_INET6, ADDRESSES["host"][1])
        self.socket = socket.socket(family, socket.SOCK_DGRAM if use.how == "datagram" else socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        self.socket.settimeout(SECONDS)
        self.socket.bind((host, port))
        if use.how == "stream":
            self.socket.listen(1)

    def receive(self):
        """All that comes."""
        got = b""
        with contextlib.suppress(TimeoutError):
            if self.use.how == "datagram":
                while len(got) < self.use.size * self.use.count:
                    got += self.socket.recv(1 << 16)
                return got
            taken, _ = self.socket.accept()
            with taken:
                taken.settimeout(SECONDS)
                while data := taken.recv(1 << 16):
                    got += data
        return got

    def close(self):
        self.socket.close()


def has_left(tap, use, port):
    """Whether the host has seen a frame of this TCP port behind those headers. No look at addresses: see extremes_test.places_of_sums()."""
    at = 14 + 40 + use.header[1]
    return any(frame[at + 2:at + 4] == struct.pack("!H", port) for frame, _ in list(tap.heard))


def use_socket(net, sender, use, port):
    """Has a program in the guest do it; what is wrong with the outcome, and whether the card goes on. It is opened anew if not."""
    line, left = f"ip netns exec {sender} {command(net.sockets, use, port)}", ""
    net.tap.heard.clear()
    if use.how == "begin":
        net.guest.check(line)
        is_alive = stations.is_alive(net, sender)  # what was given to the card before has left
        if is_alive:
            wait_until(lambda: has_left(net.tap, use, port), "the frame to be seen by the host", timeout=20)
    else:
        with ThreadPoolExecutor(1) as pool, contextlib.closing(Server(use, port)) as server:
            receiving = pool.submit(server.receive)
            status, text = net.guest.run(line, timeout=SECONDS)
            is_alive = stations.is_alive(net, sender)
            got, wanted = receiving.result(), PATTERN[:use.size * use.count]
        if status != 0:
            left = f"guest-sockets ended with status {status}: {text}"
        elif got != wanted:
            left = f"{len(got)} bytes arrived that are not the {len(wanted)} that were sent"
    if not is_alive:
        stations.open_card(net, sender)
    return left, is_alive
