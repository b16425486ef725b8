# SPDX-License-Identifier: BSD-3-Clause
"""What an operator does to a daemon, without guests: lets other users in, has it read its file again, meets strangers on
the RPC socket."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from harness import BIN
from harness.vmm import attach
from harness.vmux import Vmux, wait_until

USER, GROUP = 12345, 23456  # nobody's


@contextlib.contextmanager
def running(directory, *flags):
    vmux = Vmux(directory, *flags).start()
    try:
        yield vmux
    finally:
        assert vmux.stop() == 0


def may_connect(path, user, group):
    """Whether that user, of that group alone, may connect."""
    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", sys.executable, "-c", program,
                           str(path)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def test_other_users_connect_to_ports_by_owner_group_and_mode(public):
    with running(public, "-s", public / "vm0.sock", "--socket-group", GROUP, "--socket-mode", "0660") as vmux:
        vmux.add_port("own", "--socket-owner", USER, "--socket-group", "0", "--socket-mode", "0600")
        vmux.add_port("all", "--socket-mode", "666", "--socket-group", "0")
        vmux.add_port("none", "--socket-mode", "0600")
        allowed = {(name, who): may_connect(vmux.socket(name), *who)
                   for name in ("vm0", "own", "all", "none") for who in ((USER, 1), (USER + 1, GROUP), (USER + 1, 1))}
    assert {case for case, yes in allowed.items() if yes} == {
        ("vm0", (USER + 1, GROUP)), ("own", (USER, 1)),
        ("all", (USER, 1)), ("all", (USER + 1, GROUP)), ("all", (USER + 1, 1))}


def test_operators_of_a_group_reach_the_rpc_socket(public):
    with running(public, "--rpc-group", GROUP, "--rpc-mode", "0660") as vmux:
        assert may_connect(vmux.rpc, USER, GROUP)
        assert not may_connect(vmux.rpc, USER, 1)
    with running(public) as vmux:
        assert not may_connect(vmux.rpc, USER, GROUP)


# --- roles ---

def call_as(path, user, group, method, **params):
    """What that user, of that group alone, is answered: the result, or the error's kind."""
    program = """import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall((json.dumps({"jsonrpc": "2.0", "method": sys.argv[2], "params": json.loads(sys.argv[3]), "id": 1}) + "\\n").encode())
print(s.makefile().readline())"""
    said = subprocess.check_output(["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", sys.executable, "-c", program,
                                    str(path), method, json.dumps(params)], text=True, timeout=90)
    answer = json.loads(said)
    return answer["error"]["data"]["kind"] if "error" in answer else answer["result"]


READER, OPERATOR, ADMIN, OTHER = (USER, 1), (USER + 1, 1), (USER + 2, GROUP), (USER + 3, 1)


def roles(read):
    return f'[daemon]\nrpc_mode = "0666"\nrpc_read = "{read}"\nrpc_operate = "user:{OPERATOR[0]}"\nrpc_admin = "group:{GROUP}"\n'


def test_each_user_may_what_its_role_allows(public):
    file = public / "vmux.toml"
    file.write_text(roles(f"user:{READER[0]}"))
    with running(public / "vmux", "--config", file) as vmux:
        (public / "vmux").chmod(0o755)
        port = {"name": "vm0", "model": "e1000", "socket": str(vmux.socket("vm0"))}
        calls = {"look": ("port.list", {}), "port": ("port.add", port), "uplink": ("uplink.add", {"name": "u", "backend": "null"}),
                 "log": ("log.level", {"level": "info"}), "level": ("log.level", {})}
        refused = {(what, who) for who in (OTHER, READER, OPERATOR, ADMIN) for what, (method, params) in calls.items()
                   if call_as(vmux.rpc, *who, method, **params) == "not_allowed"}
        assert refused == {("look", OTHER), ("port", OTHER), ("uplink", OTHER), ("log", OTHER), ("level", OTHER),
                           ("port", READER), ("uplink", READER), ("log", READER), ("uplink", OPERATOR), ("log", OPERATOR)}
        said = vmux.log()
        assert f"RPC: user {OPERATOR[0]} (process " in said and "port.add vm0: done" in said
        assert f"RPC: user {ADMIN[0]} (process " in said and "uplink.add u: done" in said
        assert f"RPC: user {OTHER[0]} (process " in said and "takes the role" in said
        # Those who are connected have what the file says now.
        with socket.socket(socket.AF_UNIX) as unused:
            unused.connect(str(vmux.rpc))
            file.write_text(roles("all"))
            vmux.process.send_signal(signal.SIGHUP)
            wait_until(lambda: call_as(vmux.rpc, *OTHER, "port.list") != "not_allowed", "the new roles")
            assert call_as(vmux.rpc, *OTHER, "port.remove", name="vm0") == "not_allowed"


@pytest.mark.parametrize("line, expected", [
    ('socket_owner = "nobody-of-this-name"', 'socket_owner: expected a user of this machine, by name or number, got "nobody-of-this-name"'),
    ('socket_group = "nobody-of-this-name"', "socket_group: expected a group of this machine"),
    ("socket_mode = 660", "socket_mode: expected octal digits"),
])
def test_a_user_group_or_mode_that_is_none_is_told_before_anything_is_made(tmp_path, line, expected):
    file = tmp_path / "vmux.toml"
    file.write_text(f'[daemon]\nrpc = "{tmp_path}/rpc.sock"\n[[port]]\nname = "a"\nmodel = "e1000"\nsocket = "{tmp_path}/a.sock"\n'
                    f'[[port]]\nname = "b"\nmodel = "e1000"\nsocket = "{tmp_path}/b.sock"\n{line}\n')
    done = subprocess.run([str(BIN / "vmux"), "--config", str(file)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 2 and f"{file}:11:1: [[port]]: {expected}" in done.stderr
    assert list(tmp_path.iterdir()) == [file]


# --- reading the file again ---

def port(vmux, name, more=""):
    return f'[[port]]\nname = "{name}"\nmodel = "e1000"\nsocket = "{vmux.socket(name)}"\n{more}\n'


class Reloaded:
    """A daemon with a file."""

    def __init__(self, rig, tmp_path):
        self.file = tmp_path / "vmux.toml"
        self.vmux = Vmux(tmp_path / "vmux")
        self.file.write_text(port(self.vmux, "vm0") + port(self.vmux, "vm1") + port(self.vmux, "vm2"))
        self.vmux = rig.vmux("--config", self.file)

    def reload(self, text):
        """Sends SIGHUP; what was logged until it was through."""
        self.file.write_text(text)
        before = len(self.vmux.log_path.read_text())
        self.vmux.process.send_signal(signal.SIGHUP)

        def story():
            said = self.vmux.log_path.read_text()[before:]
            return said if "reload: " in said and ("unchanged" in said or "nothing was changed" in said) else None
        return wait_until(story, "the reload to be through")

    def ports(self):
        return [shown["name"] for shown in self.vmux.ctl("port", "list")]


@pytest.fixture
def reloaded(rig, tmp_path):
    return Reloaded(rig, tmp_path)


def test_sighup_makes_of_the_ports_what_the_file_says(reloaded):
    vmux = reloaded.vmux
    vmux.add_port("byhand")
    with attach(vmux.socket("vm0")) as vmm:
        before = vmux.ctl("port", "show", "vm0")
        inode = vmux.socket("vm0").stat().st_ino
        said = reloaded.reload(port(vmux, "vm0") + port(vmux, "vm1", 'vlan = 7\ndoorbell = "poll"') + port(vmux, "vm3", "[pollers]\nspin_us = 7"))
        assert sorted(reloaded.ports()) == ["byhand", "vm0", "vm1", "vm3"]
        assert vmux.ctl("port", "show", "vm1")["vlan"] == 7
        assert not vmux.socket("vm2").exists() and vmux.socket("vm3").is_socket()
        assert "reload: takes a restart: spin_us" in said
        assert "reload: 2 removed, 2 added, 0 changed, 0 failed, 0 kept as they were, 1 unchanged" in said
        assert vmux.ctl("port", "show", "vm0") == before
        assert vmux.socket("vm0").stat().st_ino == inode
        vmm.setblocking(False)
        with pytest.raises(BlockingIOError):  # still attached
            vmm.recv(1)


def test_of_a_port_that_a_vm_uses_changes_what_can_and_the_rest_once_it_has_gone(reloaded):
    vmux = reloaded.vmux
    text = port(vmux, "vm0", 'vlan = 7\ndoorbell = "poll"') + port(vmux, "vm1") + port(vmux, "vm2")
    with attach(vmux.socket("vm0")):
        said = reloaded.reload(text)
        assert f"{reloaded.file}:1:1: [[port]]: port vm0 is kept as it is, for a VM uses it: doorbell is trap, not poll" in said
        shown = vmux.ctl("port", "show", "vm0")
        assert (shown["vlan"], shown["doorbell"], shown["connected"]) == (7, "trap", True)
    wait_until(lambda: not vmux.is_connected("vm0"), "the VMM to be gone")
    reloaded.reload(text)
    assert vmux.ctl("port", "show", "vm0")["doorbell"] == "poll"


@pytest.mark.parametrize("text, expected", [
    ("[[port]\n", "{file}:1:"),
    ('[daemon]\nlog_level = "info"\n[[port]]\nname = "vm0"\n', "{file}:3:1: [[port]]: model: is missing"),
    ('[[port]]\nname = "new"\nmodel = "e1000"\nsocket = "/x"\nsocket_owner = "nobody-of-this-name"\n', "{file}:5:1: [[port]]: socket_owner"),
    ('[[port]]\nname = "new"\nmodel = "e1000"\nsocket = "{hand}"\n', "{file}:4:1: [[port]]: socket: {hand} is that of port byhand"),
])
def test_a_file_that_is_wrong_changes_nothing_and_is_told_by_its_line(reloaded, text, expected):
    hand = reloaded.vmux.add_port("byhand")
    before = reloaded.vmux.ctl("port", "list")
    said = reloaded.reload(text.replace("{hand}", str(hand)))
    assert expected.format(file=reloaded.file, hand=hand) in said and "nothing was changed" in said
    assert reloaded.vmux.ctl("port", "list") == before


def test_a_file_that_is_gone_changes_nothing(reloaded):
    before = reloaded.vmux.ctl("port", "list")
    reloaded.file.unlink()
    reloaded.vmux.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "nothing was changed" in reloaded.vmux.log(), "the reload to fail")
    assert reloaded.vmux.ctl("port", "list") == before


def test_a_pipe_is_not_read_again(tmp_path):
    file = tmp_path / "vmux.toml"
    file.write_text(f'[[port]]\nname = "vm0"\nmodel = "e1000"\nsocket = "{tmp_path}/vm0.sock"\n')
    vmux = Vmux(tmp_path, wrap=lambda command: ["bash", "-c", 'exec "$@" --config <(cat "$0")', str(file), *command]).start()
    vmux.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "is no file that can be read again" in vmux.log(), "the log line")
    assert [port["name"] for port in vmux.ctl("port", "list")] == ["vm0"]
    assert vmux.stop() == 0


def test_the_service_manager_is_told_of_a_reload(rig, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify.sock"))
        manager.settimeout(90)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify.sock"))
        reloaded = Reloaded(rig, tmp_path)
        assert manager.recv(100) == b"READY=1"
        reloaded.vmux.process.send_signal(signal.SIGHUP)
        assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("wrap", [lambda command: command, lambda command: ["nohup", *command]], ids=["plain", "nohup"])
def test_sighup_without_a_file_is_ignored_in_a_line_of_the_log(tmp_path, wrap):
    vmux = Vmux(tmp_path, "-s", tmp_path / "a.sock", wrap=wrap).start()
    vmux.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP is ignored: there is no configuration file to read again" in vmux.log(), "the log line")
    assert vmux.is_alive() and vmux.ctl("port", "show", "a")["name"] == "a"
    assert vmux.stop() == 0
    assert not (tmp_path / "a.sock").exists()


# --- what happened ---

def story(events):
    return [(event["kind"], event.get("name"), event["event"]) for event in events]


def test_events_are_followed_as_they_happen(reloaded):
    vmux = reloaded.vmux
    known = vmux.ctl("events")
    assert story(known["events"]) == [("port", name, "added") for name in ("vm0", "vm1", "vm2")]
    with subprocess.Popen([str(BIN / "vmuxctl"), "--rpc", str(vmux.rpc), "--json", "events", "--follow", "--since", str(known["next"])],
                          stdout=subprocess.PIPE, text=True) as following:
        attach(vmux.socket("vm0")).close()
        assert story(json.loads(following.stdout.readline()) for _ in range(2)) == [
            ("port", "vm0", "client_attached"), ("port", "vm0", "client_detached")]
        reloaded.reload(port(vmux, "vm0") + port(vmux, "vm1"))
        assert story(json.loads(following.stdout.readline()) for _ in range(2)) == [
            ("port", "vm2", "removed"), ("daemon", None, "reloaded")]
        following.terminate()
    assert [line.split()[2:] for line in vmux.ctl_run("events").stdout.splitlines()][-2:] == [
        ["port", "vm2", "removed"], ["daemon", "reloaded", "(1)"]]


def test_those_who_follow_and_do_not_read_keep_nobody_waiting(rig):
    vmux = rig.vmux()
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
            deaf.connect(str(vmux.rpc))
            deaf.sendall(20 * b'{"jsonrpc":"2.0","method":"events","params":{"since":0,"wait_s":3600},"id":1}\n')
        for _ in range(10):
            vmux.add_port("vm0")
            vmux.remove_port("vm0")
        assert len(vmux.ctl("events")["events"]) == 20
    assert vmux.ctl("version")["name"] == "vmux"


# --- the RPC socket and strangers ---

def test_a_hundred_idle_connections_lock_nobody_out(rig):
    vmux = rig.vmux()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(100)]
        for peer in idle:
            peer.settimeout(90)
            peer.connect(str(vmux.rpc))
        for _ in range(3):
            assert vmux.ctl("version")["name"] == "vmux"
        assert "idle for longest" in json.loads(idle[0].makefile().readline())["error"]["message"]
        idle[-1].sendall(b'{"jsonrpc":"2.0","method":"version","id":1}\n')
        assert json.loads(idle[-1].makefile().readline())["result"]["name"] == "vmux"


COMMANDS = [["port", "list"], ["port", "show", "a"], ["port", "stats"], ["port", "add", "a", "--model", "m", "--socket", "/s"],
            ["port", "remove", "a"], ["switch", "list"], ["switch", "show", "a"], ["switch", "add", "a"], ["uplink", "list"],
            ["uplink", "add", "a", "--backend", "null"], ["vm-args", "a"], ["pollers"], ["models"], ["backends"], ["counters"],
            ["events"], ["events", "--follow"], ["log-level"],
            ["version"]]
ANSWERS = {
    "a number": b'{"jsonrpc":"2.0","id":1,"result":5}\n',
    "a list of everything": b'{"jsonrpc":"2.0","id":1,"result":[null,1,"x",[],{}]}\n',
    "another version": b'{"jsonrpc":"1.0","id":1,"result":[]}\n',
    "another call": b'{"jsonrpc":"2.0","id":7,"result":[]}\n',
    "no JSON": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no line": b'{"jsonrpc":"2.0",',
    "nothing": b"",
}


@pytest.fixture
def stranger(tmp_path):
    """A server that answers whatever it is told to, and hangs up. `serve(answer)` starts it; its socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "stranger.sock"))
    listener.listen()
    answer = []

    def run():
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer[0])
    thread = threading.Thread(target=run, daemon=True)

    def serve(what):
        answer.append(what)
        thread.start()
        return tmp_path / "stranger.sock"
    yield serve
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_vmuxctl_tells_a_stranger_in_one_sentence(stranger, answer):
    path = stranger(answer)
    for command in COMMANDS:
        done = subprocess.run([str(BIN / "vmuxctl"), "--rpc", str(path), *command], capture_output=True, text=True, timeout=90)
        assert (done.returncode, done.stdout) == (1, ""), command
        assert done.stderr.startswith("vmuxctl: ") and done.stderr.count("\n") == 1, done.stderr


def test_vmuxctl_tells_how_long_it_waited_for_what(tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        done = subprocess.run([str(BIN / "vmuxctl"), "--rpc", str(tmp_path / "silent.sock"), "--timeout", "1", "port", "list"],
                              capture_output=True, text=True, timeout=90)
    assert done.returncode == 1
    assert done.stderr == f"vmuxctl: vmux at {tmp_path}/silent.sock did not answer port.list within 1 s\n"


def test_calls_that_may_be_made_twice(rig):
    vmux = rig.vmux()
    once = ["port", "add", "vm0", "--model", "e1000", "--socket", vmux.socket("vm0"), "--may-exist"]
    assert vmux.ctl(*once) == vmux.ctl(*once)
    other = vmux.ctl_run(*once, "--vlan", "7")
    assert other.returncode == 1 and "vm0 is there with other settings: vlan is not set, not 7" in other.stderr
    assert vmux.ctl("port", "remove", "vm0", "--if-exists") == {"removed": "vm0"}
    assert vmux.ctl("port", "remove", "vm0", "--if-exists") == {"removed": None}
    assert vmux.ctl_run("port", "remove", "vm0").returncode == 1


def test_a_name_of_a_file_forges_no_line(rig, tmp_path):
    vmux = rig.vmux()
    odd = f"{tmp_path}/a\n2026-01-01 error forged\x1b[2J.sock"
    vmux.ctl("port", "add", "odd", "--model", "e1000", "--socket", odd)
    assert os.path.exists(odd)
    for command in (["port", "list"], ["port", "show", "odd"], ["vm-args", "odd"]):
        shown = vmux.ctl_run(*command).stdout
        assert "\\n2026-01-01 error forged\\" in shown and "\x1b" not in shown
    refused = vmux.ctl_run("port", "add", "more", "--model", "e1000", "--socket", odd)
    assert refused.stderr.count("\n") == 1 and "\x1b" not in refused.stderr
    assert not any(line.startswith("2026-01-01 error") for line in vmux.log().splitlines())
