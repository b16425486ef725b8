# SPDX-License-Identifier: BSD-3-Clause
"""Traffic between guests, and between a guest and the host: set up, measured, and checked for what arrived."""
import base64
import json
import re
import subprocess
import warnings
from types import SimpleNamespace

from . import BIN
from .vmux import wait_until


MUTE = "transmits nothing although its carrier is up"
# Linux's e1000 can lose its transmitter where it restarts the card of an interface that is up. e1000_down() takes the carrier away and
# forbids the watchdog a few register accesses later; a watchdog that runs just between finds the link up, puts the carrier
# back, and later sees no reason to set TCTL.EN again ("Detected Tx Unit Hang" until the interface is opened anew). Once in some ten
# thousand restarts; a server that holds up the answer to the IMC in there sees it at once.
RESTARTED = f"""
is_mute() {{ ethtool -d $1 | grep -A 1 '(Transmit ctrl' | grep -q disabled; }}
restarted() {{  # restarted INTERFACE
  tries=0
  until carrier=$(cat /sys/class/net/$1/carrier 2>/dev/null) || return 0; test $carrier = 1; do
    tries=$((tries + 1)); test $tries -lt 300 || return 0; sleep 0.1
  done
  is_mute $1 && sleep 1 && is_mute $1 || return 0
  ip link set $1 down; ip link set $1 up; echo "$1 {MUTE}"
}}
"""


def check_restart(guest, command, interface="eth0"):
    """Guest.check() of what makes the e1000 driver restart its card: receive offloads, ring sizes, another MTU. A driver that lost
    its transmitter by that is told to open its interface anew, and the test's summary has a word of it."""
    output = guest.check(f"{RESTARTED}{command}\nstatus=$?; restarted {interface}; exit $status")
    if MUTE in output:
        warnings.warn(f"{guest.name}, after `{command}`: {output}", stacklevel=2)
    return output


def give_address(guest, address, interface="eth0", mtu=None):
    """Brings an interface up with just this address ("10.77.0.1/24")."""
    if mtu:
        check_restart(guest, f"test $(cat /sys/class/net/{interface}/mtu) = {mtu} || ip link set {interface} mtu {mtu}", interface)
    guest.check(f"ip -4 -batch - <<END\naddr flush dev {interface}\nlink set {interface} up\naddr add {address} dev {interface}\nEND")


def wait_for_peer(guest, address, timeout=90):
    """Until the address answers a ping, however late: links come up, and tables fill, when they do."""
    guest.check(f"end=$(($(date +%s) + {timeout})); until ping -c 1 -i 0.2 -w 5 -q {address} >/dev/null 2>&1; do sleep 0.2; "
                f"test $(date +%s) -lt $end || {{ echo no answer from {address}; ip -s link; exit 1; }}; done", timeout=timeout + 60)


def ping_deadline(count, interval):
    return int(count * interval) + 60


def answered(text, count):
    """How many of the first `count` requests have an answer among what ping said."""
    return len({int(number) for number in re.findall(r"icmp_seq=(\d+) ttl=", text)} & set(range(1, count + 1)))


def ping(guest, address, count=10, size=56, interval=0.05, extra=""):
    """Pings; gives received, loss in percent and RTT in ms.

    Left to itself ping waits for its last answers one interval or twice the longest RTT: a guest that gets no CPU for so
    long "loses" them, though both kernels counted every one. With a deadline it goes on until `count` answers have come,
    and what counts is which of the first `count` requests they answer. -W in `extra`: no answer is expected."""
    deadline = "" if "-W" in extra else f"-w {ping_deadline(count, interval)}"
    status, text = guest.run(f"ping -c {count} -i {interval} -s {size} {deadline} {extra} {address}")
    assert "packets transmitted" in text, f"{guest.name}: ping {address} said (status {status}):\n{text}"
    received = answered(text, count)
    rtt = next((one.split("=")[1].split("/")[1] for one in text.splitlines() if one.startswith("rtt")), None)
    return SimpleNamespace(received=received, sent=count, loss=100 * (count - received) / count,
                           rtt_ms=float(rtt) if rtt else None, text=text)


class BackgroundPing:
    """A ping that is left running while other things happen."""

    def __init__(self, guest, address, count, interval=0.05):
        self.count = count
        self.running = guest.spawn(f"ping -c {count} -i {interval} -w {ping_deadline(count, interval)} {address}")

    def lost(self):
        """How many of its requests have never been answered, once it is over."""
        text = self.running.wait(180).output
        assert "packets transmitted" in text, f"ping said:\n{text}"
        return self.count - answered(text, self.count)


def wait_for_listener(guest, port):
    """Until something in the guest listens on this TCP port."""
    guest.check(f"for i in $(seq 1 600); do netstat -ltn | grep -q ':{port} ' && exit 0; sleep 0.1; done; exit 1")


class IperfTrouble(AssertionError):
    """iperf3 itself came to no end."""


def _measured(attempt):
    """What attempt() measured. iperf3 says hello for a UDP stream once, and either side gives up when the other is late: it may
    try again. Nothing is judged here but that it has come to its end."""
    troubles = []
    for _ in range(3):
        try:
            return attempt()
        except IperfTrouble as trouble:
            troubles.append(str(trouble))
            print(f"iperf3 is started again: {trouble}")
    raise AssertionError("iperf3, three times:\n" + "\n".join(troubles))


def _iperf_client(client, address, seconds, options):
    """The `end` part of the client's report. Without a time it is a fixed amount that has to arrive, however long that takes."""
    length = f"-t {seconds}" if seconds else "-n 8M"
    text = client.check(f"iperf3 -J -c {address} {length} {options}; true", timeout=(seconds or 0) + 240)
    try:
        report = json.loads(text[text.index("{"):])
    except ValueError:
        raise IperfTrouble(f"the client gave no report:\n{text}") from None
    if "error" in report:
        raise IperfTrouble(f"the client said: {report['error']}")
    return report["end"]


def iperf(client, server, address, seconds=None, options="", server_options=""):
    """iperf3 from guest `client` to guest `server`; the `end` part of its report."""
    def attempt():
        serving = server.spawn(f"iperf3 -s -1 {server_options}")
        wait_for_listener(server, 5201)
        try:
            end = _iperf_client(client, address, seconds, options)
        except IperfTrouble as trouble:
            serving.kill("KILL")
            raise IperfTrouble(f"{trouble}; the server said:\n{serving.output()}") from None
        serving.wait()
        return end
    return _measured(attempt)


def iperf_with_host(guest, host_address, seconds=None, options=""):
    """iperf3 from a guest to the host (with -R: from the host to the guest)."""
    def attempt():
        server = subprocess.Popen(["iperf3", "-s", "-1", "-B", host_address], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: f"{host_address}:5201" in subprocess.check_output(["ss", "-ltn"], text=True), "iperf3 to listen")
            return _iperf_client(guest, host_address, seconds, options)
        finally:
            server.kill()
            server.wait()
    return _measured(attempt)


def tcp_both_ways(client, server, address, streams=1, enough=100_000):
    """TCP both ways at once, 2 s at a time, until each way has moved `enough` bytes: on a busy machine one of them may have all of a turn."""
    moved = {"sum_received": 0, "sum_received_bidir_reverse": 0}

    def moves_both_ways():
        end = iperf(client, server, address, seconds=2, options=f"--bidir -P {streams}")
        for way in moved:
            moved[way] += end[way]["bytes"]
        return min(moved.values()) > enough

    wait_until(moves_both_ways, "TCP to move both ways", timeout=120)


def udp_arrives(run, ways=("sum",)):
    """UDP streams, a run of iperf3 at a time, until most of one of a second or more arrives: how much does is a matter of who got the CPU."""
    def arrives():
        end = run()
        return all(end[way]["packets"] > 50 and end[way]["lost_percent"] < 50 for way in ways)

    wait_until(arrives, "most of a UDP stream to arrive", timeout=120)


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
    sender.check(f"test -s /tmp/random-{megabytes} || dd if=/dev/urandom of=/tmp/random-{megabytes} bs=1M count={megabytes}")
    sender.check(f"nc {address} {port} </tmp/random-{megabytes}", timeout=240)
    assert receiving.wait().status == 0
    sent = sender.check(f"sha256sum </tmp/random-{megabytes}")
    received = receiver.check("sha256sum </tmp/received; rm /tmp/received")
    assert received == sent, "the file that arrived is not the one that was sent"


def put_program(guest, name):
    """A program of tests/in_guest; where it is in the guest."""
    text = base64.b64encode((BIN.parent / "tests" / f"guest-{name}").read_bytes()).decode()
    guest.check(f"echo {text} | base64 -d >/tmp/{name} && chmod +x /tmp/{name}")
    return f"/tmp/{name}"
