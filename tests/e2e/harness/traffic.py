# SPDX-License-Identifier: BSD-3-Clause
"""Traffic between guests, and between a guest and the host: set up, measured, and checked for what arrived."""
import json
import re
import subprocess
from types import SimpleNamespace

from .vmux import wait_until


def give_address(guest, address, interface="eth0", mtu=None):
    """Brings an interface up with just this address ("10.77.0.1/24")."""
    mtu_part = f"ip link set {interface} mtu {mtu} && " if mtu else ""
    guest.check(f"ip -4 addr flush dev {interface} && {mtu_part}ip link set {interface} up && "
                f"ip addr add {address} dev {interface}", timeout=20)


def wait_for_peer(guest, address, timeout=20):
    """Until the address answers a ping: links come up, and tables fill, when they do."""
    guest.check(f"for i in $(seq 1 {timeout * 2}); do ping -c 1 -W 1 -q {address} >/dev/null 2>&1 && exit 0; "
                f"sleep 0.2; done; echo no answer from {address}; ip -s link; exit 1", timeout=timeout * 3)


def ping(guest, address, count=10, size=56, interval=0.05, extra=""):
    """Pings; gives received, loss in percent and RTT in ms.

    Left to itself ping waits for its last answers one interval or twice the longest RTT: a guest that gets no CPU for so
    long "loses" them, though both kernels counted every one. With a deadline it goes on until `count` answers have come,
    and what counts is which of the first `count` requests they answer. -W in `extra`: no answer is expected."""
    deadline = "" if "-W" in extra else f"-w {int(count * interval) + 10}"
    status, text = guest.run(f"ping -c {count} -i {interval} -s {size} {deadline} {extra} {address}", timeout=60)
    assert "packets transmitted" in text, f"{guest.name}: ping {address} said (status {status}):\n{text}"
    received = len({int(number) for number in re.findall(r"icmp_seq=(\d+) ttl=", text)} & set(range(1, count + 1)))
    rtt = next((one.split("=")[1].split("/")[1] for one in text.splitlines() if one.startswith("rtt")), None)
    return SimpleNamespace(received=received, sent=count, loss=100 * (count - received) / count,
                           rtt_ms=float(rtt) if rtt else None, text=text)


def wait_for_listener(guest, port):
    """Until something in the guest listens on this TCP port."""
    guest.check(f"for i in $(seq 1 200); do netstat -ltn | grep -q ':{port} ' && exit 0; sleep 0.1; done; exit 1", timeout=60)


def _iperf_client(address, seconds, options):
    return f"iperf3 -J -c {address} -t {seconds} {options}; true"


def _iperf_report(text):
    try:
        report = json.loads(text[text.index("{"):])
    except ValueError:
        raise AssertionError(f"iperf3 gave no report:\n{text}") from None
    assert "error" not in report, f"iperf3: {report['error']}"
    return report["end"]


def iperf(client, server, address, seconds=3, options="", server_options=""):
    """iperf3 from guest `client` to guest `server`; the `end` part of its report."""
    serving = server.spawn(f"iperf3 -s -1 {server_options}")
    wait_for_listener(server, 5201)
    end = _iperf_report(client.check(_iperf_client(address, seconds, options), timeout=seconds + 40))
    serving.wait(20)
    return end


def iperf_with_host(guest, host_address, seconds=3, options=""):
    """iperf3 from a guest to the host (with -R: from the host to the guest)."""
    server = subprocess.Popen(["iperf3", "-s", "-1", "-B", host_address], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_until(lambda: f"{host_address}:5201" in subprocess.check_output(["ss", "-ltn"], text=True), "iperf3 to listen")
    try:
        return _iperf_report(guest.check(_iperf_client(host_address, seconds, options), timeout=seconds + 40))
    finally:
        server.kill()
        server.wait()


def mbits(end):
    """What arrived, in Mbit/s."""
    return (end.get("sum_received") or end["sum"])["bits_per_second"] / 1e6


def protocol_errors(guest):
    """Kernel counters that a corrupted or wrongly checked-off packet would raise."""
    lines = guest.check("cat /proc/net/snmp").splitlines()
    values = {}
    for names, numbers in zip(lines[::2], lines[1::2]):
        protocol = names.split(":")[0]
        values.update({f"{protocol}.{key}": int(value) for key, value in zip(names.split()[1:], numbers.split()[1:])})
    for cause in ("RcvbufErrors", "MemErrors"):  # among InErrors: a receiver that was too slow
        values["Udp.InErrors"] -= values.get(f"Udp.{cause}", 0)
    wanted = ("Ip.InHdrErrors", "Tcp.InErrs", "Tcp.InCsumErrors", "Udp.InErrors", "Udp.InCsumErrors", "Icmp.InCsumErrors")
    return {name: values[name] for name in wanted if name in values}


def send_file(sender, receiver, address, megabytes=8, port=5000):
    """Sends random bytes over TCP; fails unless exactly those arrive."""
    # nc ends when either side says it has no more to send: the silent side gets an input that never ends.
    receiving = receiver.spawn(f"test -p /tmp/silence || mkfifo /tmp/silence; nc -l -p {port} <>/tmp/silence >/tmp/received")
    wait_for_listener(receiver, port)
    sender.check(f"test -s /tmp/random-{megabytes} || dd if=/dev/urandom of=/tmp/random-{megabytes} bs=1M count={megabytes}", timeout=60)
    sender.check(f"nc {address} {port} </tmp/random-{megabytes}", timeout=60)
    assert receiving.wait(60).status == 0
    sent = sender.check(f"sha256sum </tmp/random-{megabytes}", timeout=60)
    received = receiver.check("sha256sum </tmp/received; rm /tmp/received", timeout=60)
    assert received == sent, "the file that arrived is not the one that was sent"
