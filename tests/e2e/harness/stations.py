# SPDX-License-Identifier: BSD-3-Clause
"""A VM with an e1000 and an iavf, each in a network namespace of its own, and the host: three stations of one switch."""
import base64
import gzip
import json
import os
import socket
import struct
import subprocess
import threading
from types import SimpleNamespace

from .extremes import CTAG, INNER_VLAN, MARKER, SHAPES, THROUGH, VLAN, frame_of, marker, replace
from .traffic import put_program
from .vmux import wait_until
from .wire import ADDRESSES as OF_ROWS
from .wire import mac_bytes, packed_addresses, raw_socket

TAP = "vmuxedge0"
MACS = {"e1000": "52:54:00:65:00:01", "iavf": "52:54:00:65:00:02"}
ADDRESSES = {"host": ("10.60.0.1", "fd60::1"), "e1000": ("10.60.0.2", "fd60::2"), "iavf": ("10.60.0.3", "fd60::3")}
OTHER = {"e1000": "iavf", "iavf": "e1000"}
EVERYONE = "ff:ff:ff:ff:ff:ff"
SILENCE_MS = 20000  # after which a station has nothing more to hear; only a row that fails waits for it

SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SUM_IS_NOT_READY, HAS_TAG, HAS_TPID = 1 << 3, 1 << 4, 1 << 6


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Tap(threading.Thread):
    """The host's end, frame by frame; hears all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.heard, self._is_over = [], False
        self.mac = json.loads(sh(f"ip -j link show {TAP}"))[0]["address"]
        self._in = raw_socket(TAP, 3)
        self._in.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._in.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._in.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self._in.settimeout(0.5)
        self._out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._out.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self._out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
        self._out.bind((TAP, 0))
        self.start()

    def send(self, data):
        """A virtio-net header and a frame."""
        self._out.send(data)

    def run(self):
        while not self._is_over:
            try:
                frame, extra, _, _ = self._in.recvmsg(1 << 17, 256)
            except TimeoutError:
                continue
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", extra[0][2])
            if status & HAS_TAG:
                frame = frame[:12] + struct.pack("!HH", tpid if status & HAS_TPID else CTAG, tci) + frame[12:]
            self.heard.append((frame, bool(status & SUM_IS_NOT_READY)))

    def close(self):
        self._is_over = True
        self.join()
        self._in.close()
        self._out.close()


def table(tap, numbers):
    """The bytes of these rows of both senders, a frame and a marker each, and where each row begins."""
    data, offsets, by = bytearray(), {}, list(THROUGH)
    for sender, mac in MACS.items():
        for number in numbers:
            offsets[sender, number] = len(data)
            data += frame_of(SHAPES[number], destination(tap, sender, SHAPES[number]), mac).record(by.index(SHAPES[number].through))
            data += marker(mac, number)
    return bytes(data) + bytes(512 - len(data) % 512), offsets


def destination(tap, sender, shape):
    return {"peer": MACS[OTHER[sender]], "host": tap.mac, "all": EVERYONE}[shape.to]


def records(text):
    """What guest-frames heard: (frame, whether its sum is still to be made); and what it could not send: (markers heard before, error)."""
    data, heard, errors, at, markers = gzip.decompress(base64.b64decode(text)), [], [], 0, 0
    while at < len(data):
        length, status = struct.unpack_from("<II", data, at)
        frame = data[at + 8:at + 8 + length]
        at += 8 + length
        if length == 0:
            errors.append((markers, os.strerror(status)))
            continue
        heard.append((frame, bool(status & SUM_IS_NOT_READY)))
        markers += frame[12:14] == struct.pack("!H", MARKER)
    return heard, errors


def by_row(heard, source):
    """What came before each row's marker: {number: [(frame, whether its sum is still to be made)]}."""
    rows, waiting = {}, []
    for frame, sum_is_left in heard:
        if frame[12:14] == struct.pack("!H", MARKER) and frame[6:12] == mac_bytes(source):
            rows[struct.unpack("!I", frame[14:18])[0]], waiting = waiting, []
        else:
            waiting.append((frame, sum_is_left))
    return rows


def boot(rig, kernel, numbers):
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", TAP)
    address, address6 = ADDRESSES["host"]
    sh(f"ip addr add {address}/24 dev {TAP}; ip addr add {address6}/64 dev {TAP} nodad; ip link set {TAP} up")
    tap = Tap()
    data, offsets = table(tap, numbers)
    path = rig.directory / "table"
    path.write_bytes(data)
    guest = rig.guest("edge", kernel=kernel, cpus=2, memory=320,
                      sockets=[vmux.add_port("e1000", "--mac", MACS["e1000"]),
                               vmux.add_port("iavf", "--mac", MACS["iavf"], "--queues", "1", model="iavf")],
                      qemu_args=["-drive", f"file={path},format=raw,if=virtio,readonly=on"])
    rig.boot(guest)
    guest.check("""modprobe -a 8021q
        card() { for i in /sys/bus/pci/drivers/$1/*/net/*; do test -e $i && echo ${i##*/} && return 0; done; return 1; }
        for model in e1000 iavf; do
          until name=$(card $model); do sleep 0.1; done
          ip netns add $model && ip link set $name netns $model name nic && ip -n $model link set lo up
          ip netns exec $model sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.nic.accept_dad=0
          ip netns exec $model ethtool -K nic gro off
        done""")
    net = SimpleNamespace(rig=rig, vmux=vmux, guest=guest, tap=tap, numbers=numbers, offsets=offsets, frames=put_program(guest, "frames"),
                          sockets=put_program(guest, "sockets"))
    for model in MACS:
        open_card(net, model)
    return net


def open_card(net, model):
    """Opens (anew) the interface of a card, which gets its queues new."""
    address, address6 = ADDRESSES[model]
    vlan, both = f"nic.{VLAN}", f"nic.{VLAN}.{INNER_VLAN}"
    net.guest.check(f"""ip -n {model} link del {vlan} 2>/dev/null; ip -n {model} link set nic down
        ip -n {model} -batch - <<END || exit 1
addr flush dev nic
link set nic up
addr add {address}/24 dev nic
addr add {address6}/64 dev nic nodad
link add link nic name {vlan} type vlan id {VLAN}
link add link {vlan} name {both} type vlan id {INNER_VLAN}
link set {vlan} up
link set {both} up
END
        end=$(($(date +%s) + 60))
        until ip netns exec {model} ping -c 1 -i 0.2 -w 5 -q {ADDRESSES["host"][0]} >/dev/null; do test $(date +%s) -lt $end || exit 2; done
        until ip netns exec {model} ping -c 1 -i 0.2 -w 5 -q {ADDRESSES["host"][1]} >/dev/null; do test $(date +%s) -lt $end || exit 3; done
        """)


def send_rows(net, sender):
    """Has the sender's card send all rows, each when its peer has heard the marker of the one before: {number: row}. `stopped`: the
    marker did not come, and the interface was opened anew."""
    rows, left = {}, list(net.numbers)
    while left:
        net.tap.heard.clear()
        heard, errors = exchange(net, sender, left)
        at_peer = by_row(heard, MACS[sender])
        wait_until(lambda: not at_peer or list(at_peer)[-1] in by_row(list(net.tap.heard), MACS[sender]), "the host to hear a marker")
        at_host = by_row(list(net.tap.heard), MACS[sender])
        for number in at_peer:
            rows[number] = SimpleNamespace(peer=at_peer[number], host=at_host.get(number, []), error=errors.get(number), stopped=False)
            left.remove(number)
        if left:
            rows[left.pop(0)] = SimpleNamespace(stopped=True)
            open_card(net, sender)
    return rows


def is_alive(net, model):
    return net.guest.run(f"ip netns exec {model} ping -c 1 -i 0.2 -w 20 -q {ADDRESSES['host'][0]}").status == 0


def exchange(net, sender, numbers):
    """What the peer heard, and the kernel's errors by row."""
    command = (f"{net.frames} exchange {net.offsets[sender, numbers[0]]} {len(numbers)} /run/netns/{OTHER[sender]} nic {SILENCE_MS} "
               f"{' '.join(f'nic{through}' for through in THROUGH)} </dev/vda >/tmp/heard")
    net.guest.check(f"ip netns exec {sender} {command}")
    heard, errors = records(net.guest.check("gzip -c /tmp/heard | base64"))
    return heard, {numbers[markers]: error for markers, error in errors}


def send_rows_from_host(net, receiver):
    """Each row by the tap, when a ping has been answered after the one before: {number: row}."""
    rows = {}
    hearing = net.guest.spawn(f"ip netns exec {receiver} {net.frames} hear nic {len(net.numbers)} {SILENCE_MS} >/tmp/heard")
    wait_until(lambda: "ready" in hearing.output(), "the guest to hear")
    for number in net.numbers:
        row = rows[number] = SimpleNamespace(heard=[], error=None)
        try:
            frame = frame_of(by_the_host(SHAPES[number]), MACS[receiver], net.tap.mac)
            net.tap.send(frame.header + frame.sent)
        except OSError as error:
            row.error = error
        net.tap.send(marker(net.tap.mac, number)[8:])
        row.is_alive = subprocess.run(["ping", "-c", "1", "-i", "0.2", "-w", "20", "-q", ADDRESSES[receiver][0]],
                                      stdout=subprocess.DEVNULL, check=False).returncode == 0
    hearing.wait()
    heard, _ = records(net.guest.check("gzip -c /tmp/heard | base64"))
    for number, frames in by_row(heard, net.tap.mac).items():
        rows[number].heard = frames
    return rows


def by_the_host(shape):
    """The same frames where no VLAN interface puts tags in."""
    return replace(shape, through="", tags=THROUGH[shape.through] + shape.tags)


def of_row(heard, source, shape):
    """Without what the stacks have said meanwhile."""
    addresses = packed_addresses(shape.version, OF_ROWS[shape.version])
    return [one for one in heard if one[0][6:12] == mac_bytes(source) and addresses in one[0][:80]]
