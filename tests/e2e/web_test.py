# SPDX-License-Identifier: BSD-3-Clause
"""vmux-web beside a daemon: who is answered what, and what is seen of a daemon that moves frames, goes, and comes back."""
import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest
from harness import ROOT
from harness.vmm import attach, read_register, write_register
from harness.vmux import Vmux, wait_until
from harness.web import PROMTOOL, Web

SINK = "02:00:00:73:6e:6b"
READER, OTHER = 12345, 12346  # users; nobody's


@contextlib.contextmanager
def serving(directory, rpc, *flags, **options):
    web = Web(directory, rpc, *flags, **options).start()
    try:
        yield web
    finally:
        web.stop()


def as_user(user):
    return lambda command: ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]


@pytest.fixture
def daemon(rig):
    return rig.vmux()


def test_metrics_are_those_of_a_daemon_that_moves_frames(daemon, tmp_path):
    daemon.ctl("uplink", "add", "sink", "--backend", "sink")
    daemon.ctl("uplink", "add", "gen", "--backend", "generator", "--device", f"size=64,to={SINK}")
    daemon.add_port("vm0")
    vmm = attach(daemon.socket("vm0"))
    read_register(vmm, 2, 8)
    with serving(tmp_path, daemon.rpc) as web:
        first = web.metrics_when(lambda now: now['vmux_switch_turn_seconds_count{switch="default"}'] > 0, "turns to be timed")
        frames = 'vmux_port_tx_frames_total{port="sink",kind="uplink",poller="0"}'
        last = web.metrics_when(lambda now: now[frames] > first[frames], "frames to be counted")
        _, headers, text = web.ask("/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert last['vmux_port_connected{port="vm0"}'] == 1
    assert last['vmux_client_region_reads_total{port="vm0",transport="vfio-user"}'] == 1
    assert last['vmux_poller_busy_seconds_total{poller="0"}'] > first['vmux_poller_busy_seconds_total{poller="0"}']
    assert last['vmux_switch_mac_addresses{switch="default",type="learnt"}'] >= 2
    if PROMTOOL:
        said = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=90)
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_page_is_for_this_machine_and_changes_nothing(daemon, tmp_path):
    with serving(tmp_path, daemon.rpc, "--allow-host", "vmux.example") as web:
        for host, status in (("localhost", 200), ("127.0.0.1:9640", 200), ("vmux.example", 200), ("evil.example", 421), ("", 421)):
            for path in ("/", "/metrics", "/api/state"):
                assert web.ask(path, Host=host)[0] == status, (host, path)
        assert web.ask("/", "POST")[0] == 405
        _, headers, page = web.ask("/")
        assert "script-src 'self'" in headers["Content-Security-Policy"] and "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert page.startswith("<!DOCTYPE html>")
        assert web.ask("/page.js", If_None_Match=web.ask("/page.js")[1]["ETag"])[0] == 304
        assert json.loads(web.ask("/api/state")[2])["up"]
        with socket.create_connection(("127.0.0.1", web.port)) as raw:  # no HTTP at all, and a request that has no end
            raw.sendall(b"\x16\x03\x01\x02\x00" + b"A" * 100_000 + b"\r\n\r\n")
            raw.settimeout(90)
            with contextlib.suppress(ConnectionError):
                while raw.recv(4096):
                    pass
        assert web.ask("/")[0] == 200


def test_it_is_reached_by_a_unix_socket_with_the_mode_that_is_asked_for(daemon, tmp_path):
    path = tmp_path / "http.sock"
    with serving(tmp_path, daemon.rpc, "--socket-mode", "0606", listen=f"unix:{path}"):
        assert path.stat().st_mode & 0o777 == 0o606
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(90)
            raw.connect(str(path))
            raw.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert b" 200 OK\r\n" in answer[:40] and b"\nvmux_up 1\n" in answer
    assert not path.exists()


def test_it_reads_with_the_least_role(public):
    (public / "vmux.toml").write_text(f'[daemon]\nrpc_mode = "0666"\nrpc_read = "user:{READER}"\n')
    daemon = Vmux(public / "vmux", "--config", public / "vmux.toml").start()
    (public / "vmux").chmod(0o755)
    with serving(public, daemon.rpc, wrap=as_user(READER)) as web:
        assert web.metrics()["vmux_up"] == 1
        assert len(json.loads(web.ask("/api/state")[2])["pollers"]) == 1
        assert os.stat(f"/proc/{web.process.pid}").st_uid == READER
    with serving(public, daemon.rpc, wrap=as_user(OTHER)) as web:
        assert web.metrics()["vmux_up"] == 0
        assert "read" in json.loads(web.ask("/api/state")[2])["why"]
    assert daemon.stop() == 0


def test_a_daemon_that_is_away_is_met_again(tmp_path):
    daemon = Vmux(tmp_path / "vmux").start()
    with serving(tmp_path, daemon.rpc) as web:
        assert web.metrics()["vmux_up"] == 1
        assert daemon.stop() == 0
        wait_until(lambda: web.metrics()["vmux_up"] == 0, "vmux-web to see that the daemon is away")
        assert not [name for name in web.metrics() if name.startswith(("vmux_port", "vmux_poller"))]
        assert "is it running?" in json.loads(web.ask("/api/state")[2])["why"]
        daemon.start()
        wait_until(lambda: web.metrics()["vmux_up"] == 1, "vmux-web to see that it is back")
        assert daemon.stop() == 0


def test_a_daemon_that_hangs_is_away(daemon, tmp_path):
    with serving(tmp_path, daemon.rpc) as web:
        assert web.metrics()["vmux_up"] == 1
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            web.metrics_when(lambda now: now["vmux_up"] == 0, "vmux-web to see that the daemon hangs")
            assert "did not answer" in json.loads(web.ask("/api/state")[2])["why"]
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        web.metrics_when(lambda now: now["vmux_up"] == 1, "vmux-web to see that it goes on")


def test_it_says_why_it_cannot_serve(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = Web(tmp_path, tmp_path / "rpc", listen=f"127.0.0.1:{taken.getsockname()[1]}")
        done = subprocess.run(web.command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1
    assert "cannot bind to it: Address already in use" in done.stderr


def test_a_card_that_its_guest_breaks_is_told(daemon, tmp_path):
    """Bus mastering, and a transmit descriptor in memory that nobody has given."""
    daemon.add_port("vm0")
    vmm = attach(daemon.socket("vm0"))
    for number, (offset, value, region) in enumerate(((4, 6, 7), (0x3800, 0x1000, 0), (0x3808, 4096, 0), (0x400, 2, 0), (0x3818, 1, 0))):
        write_register(vmm, number, offset, value, region)
    with serving(tmp_path, daemon.rpc) as web:
        wait_until(lambda: web.metrics()['vmux_model_guest_fault_total{port="vm0",model="e1000",direction="tx"}'] == 1, "the fault to be counted")


@pytest.mark.parametrize("unit", sorted((ROOT / "dist").glob("*.service.in")), ids=lambda path: path.name)
def test_a_unit_that_refuses_system_calls_kills_nobody_for_them(unit):
    lines = unit.read_text().splitlines()
    assert not any(line.startswith("SystemCallFilter=") for line in lines) or "SystemCallErrorNumber=EPERM" in lines
