# SPDX-License-Identifier: BSD-3-Clause
"""vmuxctl capture: what passes ports, as tshark reads it; and ports as interfaces of tshark itself."""
import os
import signal
import subprocess

import pytest
from harness import BIN
from harness.traffic import ping
from harness.vmux import wait_until
from harness.wire import raw_socket

FIELDS = ["frame.interface_name", "frame.packet_flags_direction", "frame.comment", "frame.cap_len", "frame.len"]
IN, OUT = "0x00000001", "0x00000002"


def vmuxctl(vmux, *words, **options):
    return subprocess.Popen([str(BIN / "vmuxctl"), "--rpc", str(vmux.rpc), *map(str, words)], stderr=subprocess.PIPE, text=True, **options)


def running(vmux):
    return [one for one in vmux.ctl("captures") if one["end"] is None]


def read(file, *fields, only="frame"):
    """A row of fields for each frame."""
    done = subprocess.run(["tshark", "-n", "-r", str(file), "-Y", only, "-T", "fields", *[word for field in fields for word in ("-e", field)]],
                          capture_output=True, text=True, timeout=90, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_a_ping_is_seen_from_both_ends_with_its_directions(pair, tmp_path):
    """Of a port both ways; of a switch each frame where it enters, ports by their names."""
    vmux, port, whole = pair.vmux, tmp_path / "port.pcapng", tmp_path / "whole.pcapng"
    with vmuxctl(vmux, "capture", "a", "--filter", "icmp", "--count", 4, "-w", port) as one, \
         vmuxctl(vmux, "capture", "default", "--filter", "icmp", "--snaplen", 0, "-w", whole) as all_ports:
        wait_until(lambda: len(running(vmux)) == 2, "both captures to run")
        assert ping(pair.a, pair.address_b, count=3, size=500).loss == 0
        assert one.wait(90) == 0  # it has its four frames
        all_ports.send_signal(signal.SIGINT)
        assert all_ports.wait(90) == 0
        assert "4 frames of a, 0 missed" in one.stderr.read() and " of default, 0 missed" in all_ports.stderr.read()
    rows = read(port, *FIELDS, "icmp.type")
    assert len(rows) == 4 and ["a", IN, "", "128", "542", "8"] in rows and ["a", OUT, "", "128", "542", "0"] in rows
    rows = read(whole, *FIELDS, "icmp.type")
    for seen in (["a", IN, "", "542", "542", "8"], ["b", IN, "", "542", "542", "0"]):
        assert rows.count(seen) >= 3  # a slow guest's ping may ask once more
    assert {row[1] for row in rows} == {IN}
    assert oct(port.stat().st_mode & 0o777) == "0o600"
    told = [(event["event"], event["name"], event["number"]) for event in vmux.ctl("events")["events"] if event["event"].startswith("capture")]
    assert sorted(told[-4:]) == [(event, name, os.geteuid()) for event in ("capture_started", "capture_stopped") for name in ("a", "default")]


def test_dropped_frames_are_seen_with_the_reason_that_stats_count(pair, tmp_path):
    vmux, file = pair.vmux, tmp_path / "drops.pcapng"
    try:
        vmux.ctl("port", "set", "b", "mtu=1000")
        before = vmux.stats("b")["counters"]["drop_too_long"]
        with vmuxctl(vmux, "capture", "default", "--dropped", "-w", file) as capture:
            wait_until(lambda: running(vmux), "the capture to run")
            assert ping(pair.a, pair.address_b, count=2, size=1400, extra="-W 1").received == 0
            capture.send_signal(signal.SIGINT)
            assert capture.wait(90) == 0
        drops = [row for row in read(file, *FIELDS, only="icmp")]
        assert [row[:3] for row in drops] == [["b", OUT, "dropped: too_long"]] * 2
        assert vmux.stats("b")["counters"]["drop_too_long"] - before >= 2
    finally:
        vmux.ctl("port", "set", "b", "mtu=")


# --- without guests ---

def speak(interface, frames):
    """Frames for everybody from an interface of the host."""
    with raw_socket(interface, 3) as socket:
        for _ in range(frames):
            socket.send(b"\xff" * 6 + bytes.fromhex("020000000077") + b"\x88\xb5" + bytes(46))


@pytest.fixture
def tap(rig):
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "up", "--backend", "tap", "--device", "vmuxcap0")
    subprocess.run("sysctl -qw net.ipv6.conf.vmuxcap0.disable_ipv6=1; ip link set vmuxcap0 up", shell=True, check=True)
    return vmux


def test_a_capture_ends_when_nobody_reads_it_or_what_it_sees_is_gone(tap, tmp_path):
    with vmuxctl(tap, "capture", "up", "-w", "-", stdout=subprocess.PIPE) as capture:
        wait_until(lambda: running(tap), "the capture to run")
        capture.stdout.close()
        wait_until(lambda: speak("vmuxcap0", 1) or not running(tap), "it to end")
        assert capture.wait(90) == 0
    with vmuxctl(tap, "capture", "up", "-w", "/dev/full") as full:
        assert full.wait(90) == 1 and "cannot write /dev/full: " in full.stderr.read()
    wait_until(lambda: not running(tap), "it to end")
    with vmuxctl(tap, "capture", "up", "-w", tmp_path / "gone.pcapng") as gone:
        wait_until(lambda: running(tap), "the capture to run")
        tap.ctl("uplink", "remove", "up")
        assert gone.wait(90) == 1 and "uplink up is gone" in gone.stderr.read()
    assert read(tmp_path / "gone.pcapng", "frame.number") == []
    assert tap.ctl_run("capture", "up", "-w", tmp_path / "none").returncode == 1 and not (tmp_path / "none").exists()


def test_a_capture_ends_with_its_daemon_and_keeps_what_it_has(tap, tmp_path):
    file = tmp_path / "end.pcapng"
    with vmuxctl(tap, "capture", "up", "-w", file) as capture:
        wait_until(lambda: running(tap), "the capture to run")
        speak("vmuxcap0", 5)
        wait_until(lambda: running(tap)[0]["frames"] == 5, "five frames")
        assert tap.stop() == 0
        assert capture.wait(90) == 1
    assert read(file, *FIELDS) == [["up", IN, "", "60", "60"]] * 5
    tap.start()


def test_tshark_lists_ports_by_itself(tap, tmp_path):
    """As an extcap program, in a directory that no other process sees."""
    where = subprocess.run("tshark -G folders | sed -n 's/^Extcap path:[[:space:]]*//p'", shell=True, capture_output=True, text=True, timeout=90,
                           check=True).stdout.strip()
    (tmp_path / "vmux-extcap").symlink_to(BIN / "vmux-extcap")

    def tshark(command, **options):
        script = f"mount --bind {tmp_path} {where} && exec {command}"
        return subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True, env={**os.environ, "VMUX_RPC": str(tap.rpc)}, **options)

    with tshark("tshark -D") as listing:
        assert "vmux-up (vMux uplink up on switch default)" in listing.communicate(timeout=90)[0]
    with tshark("tshark -n -i vmux-up -f 'ether proto 0x88b5' -c 2 -T fields -e eth.src") as reader:
        wait_until(lambda: running(tap), "tshark to capture")
        speak("vmuxcap0", 3)
        assert reader.communicate(timeout=90)[0].split() == ["02:00:00:00:00:77"] * 2
    wait_until(lambda: not running(tap), "the capture to end")
