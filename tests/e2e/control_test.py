# SPDX-License-Identifier: BSD-3-Clause
"""vmux and vmuxctl as programs, without guests: starting, stopping, refusing, changing at run time."""
import json
import os
import signal
import socket
import subprocess

import pytest
from harness import BIN
from harness.vmux import wait_until


def run(*arguments, **options):
    return subprocess.run([str(BIN / "vmux"), *map(str, arguments)], capture_output=True, text=True, timeout=90, **options)


def call(path, *lines):
    """Raw lines to the RPC socket; the answers."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(90)
        peer.connect(str(path))
        peer.sendall("".join(line + "\n" for line in lines).encode())
        peer.shutdown(socket.SHUT_WR)
        return [json.loads(line) for line in peer.makefile().read().splitlines()]


def test_flags_become_ports_on_one_switch_and_sockets_go_with_the_daemon(rig, tmp_path):
    a, b = tmp_path / "a.sock", tmp_path / "b.sock"
    vmux = rig.vmux("-s", a, "-m", "e1000-emu", "-s", b)
    ports = {port["name"]: port for port in vmux.ctl("port", "list")}
    assert {name: port["switch"] for name, port in ports.items()} == {"a": "default", "b": "default"}
    assert ports["a"]["mac"] != ports["b"]["mac"]
    assert not ports["a"]["connected"]
    assert a.is_socket() and b.is_socket()
    assert vmux.stop() == 0
    assert not a.exists() and not b.exists() and not vmux.rpc.exists()
    vmux.start()  # the rig ends it again


def test_macs_are_the_same_after_a_restart(rig, tmp_path):
    vmux = rig.vmux("-s", tmp_path / "a.sock", "-s", tmp_path / "b.sock")
    before = [port["mac"] for port in vmux.ctl("port", "list")]
    assert vmux.stop() == 0
    vmux.start()
    assert [port["mac"] for port in vmux.ctl("port", "list")] == before
    assert int(before[0][:2], 16) & 3 == 2  # locally administered, unicast


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_cleanly(rig, tmp_path, number):
    vmux = rig.vmux("-s", tmp_path / "a.sock")
    vmux.process.send_signal(number)
    assert vmux.process.wait(90) == 0
    assert not (tmp_path / "a.sock").exists()
    vmux.start()


@pytest.mark.parametrize("flags, expected", [
    (["--nonsense"], "--nonsense"),
    (["-m", "e1000-emu"], "-m: expected a -s PATH as well"),
    (["-s", "{dir}/a.sock", "-m", "ne2000"], "'ne2000' is not known; known are: e1000-emu, iavf, virtio-net"),
    (["-s", "{dir}/a.sock", "-m", "mediation", "-d", "0000:00:01.0"], "not built yet; built are: e1000-emu, iavf, virtio-net, emulation, passthrough"),
    (["-s", "{dir}/a.sock", "-s", "{dir}/a.sock"], "is that of port a"),
    (["-s", "{dir}/a.sock", "-t", "a/b"], "-t (for -s"),
    (["-s", "{dir}/a.sock", "--base-mac", "x"], "--base-mac: expected a unicast MAC address"),
    (["-s", "{dir}/a.sock", "--pollers", "0"], "--pollers: expected a number from 1 to 64"),
    (["-s", "{dir}/a.sock", "--config", "{dir}/none.toml"], "--config: cannot read"),
    (["-s", "{dir}/a.sock", "-s", "{dir}/" + 120 * "b"], "-s (for -s"),
])
def test_bad_flags_name_the_option_and_leave_nothing_behind(tmp_path, flags, expected):
    done = run("--rpc", tmp_path / "rpc.sock", *(flag.format(dir=tmp_path) for flag in flags))
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_half_way_is_undone(tmp_path):
    (tmp_path / "taken.sock").write_text("not a socket")
    done = run("--rpc", tmp_path / "rpc.sock", "-s", tmp_path / "a.sock", "-s", tmp_path / "taken.sock")
    assert done.returncode == 1
    assert "taken.sock" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken.sock"]


def test_a_dead_processs_sockets_are_replaced_and_a_live_ones_refused(rig, tmp_path):
    a = tmp_path / "a.sock"
    vmux = rig.vmux("-s", a)
    refused = run("--rpc", tmp_path / "other.sock", "-s", a)
    assert refused.returncode == 1 and str(a) in refused.stderr
    refused = run("--rpc", vmux.rpc)
    assert refused.returncode == 1 and str(vmux.rpc) in refused.stderr
    assert vmux.ctl("port", "show", "a")["name"] == "a"
    vmux.process.kill()
    vmux.process.wait()
    assert a.is_socket() and vmux.rpc.is_socket()
    vmux.start()
    assert vmux.ctl("port", "show", "a")["name"] == "a"


def test_ports_switches_and_uplinks_come_and_go(rig):
    vmux = rig.vmux()
    vmux.ctl("switch", "add", "br0", "--mac-age", "60")
    vmux.ctl("uplink", "add", "up0", "--switch", "br0", "--backend", "null")
    path = vmux.add_port("vm0", "--switch", "br0", "--vlan", "7", "--doorbell", "trap", "--mac", "02:00:00:00:00:99")
    shown = vmux.ctl("port", "show", "vm0")
    assert (shown["mac"], shown["vlan"], shown["doorbell"]) == ("02:00:00:00:00:99", 7, "trap")
    assert {(port["name"], port["kind"]) for port in vmux.ctl("switch", "show", "br0")["ports"]} == {
        ("vm0", "port"), ("up0", "uplink")}
    assert vmux.stats("vm0")["counters"]["rx_frames"] == 0
    assert vmux.ctl_run("switch", "remove", "br0").returncode == 1
    vmux.remove_port("vm0")
    assert not path.exists()
    vmux.ctl("uplink", "remove", "up0")
    vmux.ctl("switch", "remove", "br0")
    assert [switch["name"] for switch in vmux.ctl("switch", "list")] == ["default"]
    assert vmux.ctl("port", "list") == [] and vmux.ctl("uplink", "list") == []


def test_a_port_that_is_refused_leaves_no_trace(rig):
    vmux = rig.vmux()
    (vmux.directory / "vm0.sock").write_text("not a socket")
    done = vmux.ctl_run("port", "add", "vm0", "--model", "e1000", "--socket", vmux.directory / "vm0.sock")
    assert done.returncode == 1 and "vm0.sock" in done.stderr
    assert vmux.ctl("port", "list") == []
    (vmux.directory / "vm0.sock").unlink()
    vmux.add_port("vm0")


@pytest.mark.parametrize("arguments, status, expected", [
    (["port", "add", "vm0", "--model", "ne2000", "--socket", "/tmp/x"], 2, "--model: 'ne2000' is not known"),
    (["port", "add", "vm0", "--model", "e1000", "--socket", "/tmp/x", "--vlan", "5000"], 2, "--vlan: expected a number"),
    (["port", "add", "vm0"], 2, "--model"),
    (["port", "add", "vm0", "--model", "mediation", "--device", "0000:00:01.0", "--socket", "/tmp/x"], 1, "not built yet"),
    (["port", "remove", "ghost"], 1, "NAME: there is no port named ghost"),
    (["uplink", "add", "u", "--backend", "tap"], 2, "--device: is missing"),
    (["switch", "remove", "default"], 2, "cannot be removed"),
    (["nonsense"], 2, "nonsense"), ([], 2, "expected a command: port, switch"),
])
def test_vmuxctl_fails_with_a_sentence_and_the_right_status(lone, arguments, status, expected):
    done = lone.ctl_run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert expected in done.stderr


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """One daemon without ports, for tests that change nothing."""
    from harness.vmux import Vmux
    vmux = Vmux(tmp_path_factory.mktemp("lone")).start()
    yield vmux
    assert vmux.stop() == 0


@pytest.mark.parametrize("arguments", [["version"], ["port", "list"], ["port", "stats"], ["switch", "list"],
                                       ["switch", "show", "default"], ["uplink", "list"], ["pollers"], ["models"],
                                       ["backends"], ["counters"], ["log-level"]])
def test_every_reading_command_has_json_and_a_table(lone, arguments):
    lone.ctl(*arguments)
    table = lone.ctl_run(*arguments)
    assert table.returncode == 0 and table.stdout.endswith("\n")


def test_a_transport_is_shown_and_one_that_is_none_is_refused_in_a_sentence(rig):
    vmux = rig.vmux()
    vmux.add_port("vm0", "--transport", "vfio-user")
    assert vmux.ctl("port", "show", "vm0")["transport"] == "vfio-user"
    assert vmux.ctl("port", "list", "--columns", "transport") == [{"transport": "vfio-user"}]
    done = vmux.ctl_run("port", "add", "vm1", "--model", "e1000", "--transport", "pigeon", "--socket", vmux.socket("vm1"))
    assert (done.returncode, done.stderr) == (2, "vmuxctl: --transport: e1000 is served over vfio-user, got 'pigeon'\n")


@pytest.mark.parametrize("vmm, expected", [
    ("qemu", '"driver":"vfio-user-pci"'), ("libvirt", "<qemu:arg value='-device'/>"),
    ("cloud-hypervisor", "--user-device socket="),
])
def test_vm_args_are_lines_to_paste(rig, vmm, expected):
    vmux = rig.vmux()
    path = vmux.add_port("vm0")
    lines = "\n".join(vmux.ctl("vm-args", "vm0", "--vmm", vmm)["lines"])
    assert expected in lines and str(path) in lines


def test_roles_are_flags_too(rig):
    vmux = rig.vmux("--rpc-read", "all", "--rpc-admin", "user:root")
    assert vmux.ctl("port", "list") == []


def test_vmuxctl_says_when_no_daemon_answers(tmp_path):
    done = subprocess.run([str(BIN / "vmuxctl"), "--rpc", str(tmp_path / "none.sock"), "port", "list"], capture_output=True,
                          text=True, timeout=90)
    assert done.returncode == 1 and f"no vmux answers at {tmp_path}/none.sock" in done.stderr


def test_a_configuration_file_is_the_first_calls(rig, tmp_path):
    file = tmp_path / "vmux.toml"
    file.write_text(f'[daemon]\nbase_mac = "02:00:00:00:01:00"\n[[switch]]\nname = "br0"\n'
                    f'[[uplink]]\nname = "up0"\nswitch = "br0"\nbackend = "null"\n'
                    f'[[port]]\nname = "vm0"\nmodel = "e1000"\nsocket = "{tmp_path}/vm0.sock"\nswitch = "br0"\nvlan = 3\n')
    vmux = rig.vmux("--config", file)
    port = vmux.ctl("port", "show", "vm0")
    assert (port["mac"], port["switch"], port["vlan"]) == ("02:00:00:00:01:00", "br0", 3)
    assert run("--check", "--config", file).returncode == 0


def test_a_bad_configuration_file_is_told_by_its_line(tmp_path):
    file = tmp_path / "vmux.toml"
    file.write_text('[daemon]\nlog_level = "info"\n\n[[port]]\nname = "vm0"\nmodel = "e1000"\n')
    done = run("--config", file)
    assert done.returncode == 2 and f"{file}:4:1: [[port]]: socket: is missing" in done.stderr


def test_the_service_manager_is_told(rig, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify.sock"))
        manager.settimeout(90)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify.sock"))
        vmux = rig.vmux()
        assert manager.recv(100) == b"READY=1"
        assert vmux.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"
        vmux.start()


def test_malformed_calls_get_the_codes_of_json_rpc_and_the_daemon_goes_on(lone):
    answers = call(lone.rpc, "nonsense", "[]", '{"jsonrpc":"2.0","method":"nothing","id":1}', 300_000 * "x",
                   '[{"jsonrpc":"2.0","method":"version","id":7},{"jsonrpc":"2.0","method":"version"}]')
    assert [answer["error"]["code"] for answer in answers[:4]] == [-32700, -32600, -32601, -32600]
    assert [answer["id"] for answer in answers[4]] == [7]


def test_eight_ports_can_come_and_go_a_hundred_times_without_leaving_descriptors(rig):
    vmux = rig.vmux()
    descriptors = f"/proc/{vmux.process.pid}/fd"
    vmux.add_port("warm")
    vmux.remove_port("warm")
    wait_until(lambda: len(vmux.ctl("port", "list")) == 0, "the port to go")
    before = len(os.listdir(descriptors))
    requests = [json.dumps({"jsonrpc": "2.0", "method": method, "id": index, "params": params})
                for index in range(100) for method, params in
                [("port.add", {"name": f"p{index % 8}", "model": "e1000", "socket": f"{vmux.directory}/p{index % 8}.sock"}),
                 ("port.remove", {"name": f"p{index % 8}"})]]
    answers = call(vmux.rpc, *requests)
    assert [answer for answer in answers if "error" in answer] == []
    wait_until(lambda: len(os.listdir(descriptors)) <= before, "descriptors to be as before")
