# SPDX-License-Identifier: BSD-3-Clause
"""What is changed while it is there: by vmuxctl, without guests and with one that goes on; saved, and read again."""
import json
import os
import subprocess
import time
import tomllib

import pytest
from harness import BIN
from harness.iavf import card
from harness.traffic import give_address, ping, wait_for_peer
from harness.vmm import attach
from harness.vmux import wait_until
from harness.wire import mac_bytes, raw_socket


# --- without guests ---

@pytest.mark.parametrize("model", ["e1000", "iavf", "e810", "virtio-net"])
def test_settings_of_a_port_change_under_its_vmm(rig, model):
    vmux = rig.vmux()
    vmux.ctl("switch", "add", "br0")
    vmux.add_port("vm0", model=model)
    with attach(vmux.socket("vm0")) as vmm:
        for settings in (["link=down"], ["link="], ["vlan=7", "mtu=1400"], ["vlan=", "trunk=10,20", "native=10"], ["trunk=", "native="],
                         ["mac=02:00:00:00:00:42"], ["switch=br0"], ["mtu="]):
            assert vmux.ctl("port", "set", "vm0", *settings)["changed"] > 0, settings
        refused = vmux.ctl_run("port", "set", "vm0", "queues=1", "doorbell=" + ("poll" if model == "e1000" else "trap"))
        assert refused.returncode == 1 and "cannot change while a VM uses the port" in refused.stderr
        shown = vmux.ctl("port", "show", "vm0")
        assert (shown["mac"], shown["switch"], shown["link"], shown["connected"]) == ("02:00:00:00:00:42", "br0", "up", True)
        assert not {"vlan", "trunk", "native", "mtu"} & shown.keys()
        vmm.setblocking(False)
        with pytest.raises(BlockingIOError):  # still attached
            vmm.recv(1)
    assert [event["event"] for event in vmux.ctl("events")["events"] if event.get("name") == "vm0"].count("changed") == 8


def test_a_port_that_no_vm_uses_is_made_anew(rig):
    vmux = rig.vmux("--pollers", "2")
    vmux.add_port("vm0")
    other = vmux.directory / "other.sock"
    vmux.ctl("port", "set", "vm0", f"socket={other}", "doorbell=poll", "poller=1")
    assert other.is_socket() and not vmux.socket("vm0").exists()
    before = vmux.ctl("port", "show", "vm0")
    refused = vmux.ctl_run("port", "set", "vm0", "vlan=3", "socket=/nonexistent/x.sock")
    assert refused.returncode == 1 and "/nonexistent/x.sock" in refused.stderr
    assert {**vmux.ctl("port", "show", "vm0"), "generation": 0} == {**before, "generation": 0}
    assert other.is_socket()


def test_nobody_overwrites_what_another_has_changed(rig):
    vmux = rig.vmux()
    vmux.add_port("vm0")
    seen = vmux.ctl("port", "show", "vm0")["generation"]
    vmux.ctl("port", "set", "vm0", "vlan=7")
    late = vmux.ctl_run("port", "set", "vm0", "vlan=8", "--if-generation", seen, "--json")
    assert late.returncode == 1 and json.loads(late.stdout)["error"]["kind"] == "conflict"
    assert vmux.ctl_run("port", "remove", "vm0", "--if-generation", seen).returncode == 1
    assert vmux.ctl("port", "show", "vm0")["vlan"] == 7


def test_a_batch_is_made_as_a_whole_or_not_at_all(rig, tmp_path):
    vmux = rig.vmux()
    file = tmp_path / "calls.json"
    calls = [{"method": "switch.add", "params": {"name": "br0"}},
             {"method": "port.add", "params": {"name": "vm0", "model": "e1000", "socket": str(vmux.socket("vm0")), "switch": "br0"}},
             {"method": "port.add", "params": {"name": "vm1", "model": "e1000", "socket": "/nonexistent/vm1"}}]
    file.write_text(json.dumps(calls))
    refused = vmux.ctl_run("batch", file)
    assert refused.returncode == 1 and "[2], port.add vm1: socket: cannot listen" in refused.stderr
    assert vmux.ctl("port", "list") == [] and len(vmux.ctl("switch", "list")) == 1 and not vmux.socket("vm0").exists()
    file.write_text(json.dumps(calls[:2]))
    assert vmux.ctl("batch", file, "--dry-run")["results"] == [] and vmux.ctl("port", "list") == []
    assert len(vmux.ctl("batch", file)["results"]) == 2
    assert vmux.ctl("port", "show", "vm0")["switch"] == "br0"


def without(objects):
    """Objects but for what is of the moment."""
    return [{key: value for key, value in each.items() if key not in ("generation", "counters", "lanes")} for each in objects]


def test_what_runs_is_the_same_after_it_was_saved_and_started_again(rig, tmp_path):
    vmux = rig.vmux("--pollers", "2", "--log-level", "debug", "-s", tmp_path / "flag.sock", "-m", "iavf")
    vmux.ctl("switch", "add", "br0", "--mac-age", "60", "--group-forward-mask", "0x4000")
    vmux.ctl("uplink", "add", "up0", "--switch", "br0", "--backend", "null", "--trunk", "10,20-30")
    vmux.add_port("vm0", "--switch", "br0", "--socket-mode", "0660", model="virtio-net")
    vmux.add_port("vm1", "--vlan", "7")
    vmux.ctl("port", "set", "vm0", "link=down", "mtu=1400", "trunk=all", "native=5")
    vmux.ctl("switch", "set", "default", "mac_age_s=77")
    lists = [("port", "list"), ("switch", "list"), ("uplink", "list")]
    before = [without(vmux.ctl(*each)) for each in lists]
    file = tmp_path / "saved.toml"
    assert vmux.ctl("config", "save", file) == {"saved": str(file)}
    tomllib.loads(file.read_text())
    diff = vmux.ctl("config", "diff", file)
    assert (diff["calls"], diff["unchanged"]) == ([], 6)
    assert vmux.ctl_run("config", "save", "-").stdout == file.read_text()
    assert vmux.stop() == 0
    vmux.flags = ["--config", str(file)]
    vmux.start()
    assert [without(vmux.ctl(*each)) for each in lists] == before
    assert vmux.ctl("log-level") == {"level": "debug"}
    vmux.ctl("port", "set", "vm1", "vlan=8")
    assert vmux.ctl("config", "diff")["calls"] == [{"method": "port.set", "params": {"name": "vm1", "vlan": 7}}]
    vmux.ctl("config", "save")
    assert vmux.ctl("config", "diff")["calls"] == []
    text = file.read_text()
    file.write_text(text.replace("vlan = 8", "vlan = 9"))
    assert vmux.ctl("reload")["changed"] == 1
    assert vmux.ctl("port", "show", "vm1")["vlan"] == 9
    file.write_text(text + "[[port]]\n")
    wrong = vmux.ctl_run("reload")
    assert wrong.returncode == 2 and f"{file}:{len(text.splitlines()) + 1}:1: [[port]]: name: is missing" in wrong.stderr
    assert vmux.ctl("port", "show", "vm1")["vlan"] == 9


def test_addresses_are_flushed_and_rates_are_watched(rig):
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "gen", "--backend", "generator", "--device", "size=64,to=02:00:00:00:00:01,from=02:00:00:00:00:02")
    vmux.add_port("vm0")
    wait_until(lambda: vmux.ctl("switch", "show", "default")["mac_table"], "the generator to be heard")
    assert vmux.ctl("switch", "flush", "default", "--port", "vm0")["flushed"] == 0
    assert vmux.ctl("switch", "flush", "default")["flushed"] == 1
    rates = vmux.ctl_run("port", "stats", "--watch", "--times", "2", "--json").stdout.splitlines()
    assert [json.loads(line)[0]["name"] for line in rates] == ["vm0", "vm0"]
    top = vmux.ctl_run("top", "--times", "1").stdout.splitlines()
    assert top[0].startswith("vmux: 1 ports") and all(len(line) <= 80 for line in top)


def test_the_schema_has_every_method_and_completion_every_command(rig, tmp_path):
    vmux = rig.vmux()
    schema = vmux.ctl("schema")
    assert {method["name"] for method in schema["methods"]} >= {"port.set", "batch", "config.get", "rpc.schema"}
    for shell in ("bash", "zsh", "fish"):
        script = tmp_path / shell
        script.write_text(vmux.ctl_run("completion", shell).stdout)
        assert "port" in script.read_text()
    done = subprocess.run(["bash", "-c", f'source {tmp_path}/bash; PATH={BIN}:$PATH; COMP_WORDS=(vmuxctl port set vm0 lin); COMP_CWORD=4; '
                           '_vmuxctl; echo ${COMPREPLY[@]}'], capture_output=True, text=True, timeout=90)
    assert done.stdout == "link=\n"


def test_mirrors_are_saved_read_again_and_kept_from_leading_nowhere(rig, tmp_path):
    vmux = rig.vmux("--pollers", "2")
    for name, model in (("vm0", "iavf"), ("vm1", "virtio-net"), ("ear", "e1000")):
        vmux.add_port(name, model=model)
    with attach(vmux.socket("vm0")):
        assert vmux.ctl("port", "set", "vm0", "mirror=ear:in")["mirror"] == "ear:in"
        for wrong in ("vm0", "nobody", "ear:up", ":in"):
            assert vmux.ctl_run("port", "set", "vm0", f"mirror={wrong}").returncode in (1, 2), wrong
        assert vmux.ctl_run("port", "set", "ear", "mirror=vm1").returncode == 2
        refused = vmux.ctl_run("port", "remove", "ear")
        assert refused.returncode == 1 and "vm0 is mirrored to ear" in refused.stderr
        assert vmux.ctl("port", "show", "vm0")["connected"] is True
    file = tmp_path / "saved.toml"
    vmux.ctl("config", "save", file)
    assert vmux.stop() == 0
    vmux.flags = ["--config", str(file)]
    vmux.start()  # vm0 stands before ear
    assert vmux.ctl("port", "show", "ear")["mirror_of"] == ["vm0"]
    assert vmux.ctl("config", "diff")["calls"] == []
    file.write_text(file.read_text().replace('"ear:in"', '"vm1:out"'))
    assert vmux.ctl("reload")["changed"] == 1
    told = [(event["event"], event["name"], event["detail"], event["number"]) for event in vmux.ctl("events")["events"] if "detail" in event]
    assert told == [("mirror_begun", "vm0", "ear:in", os.geteuid()), ("mirror_ended", "vm0", "ear:in", os.geteuid()),
                    ("mirror_begun", "vm0", "vm1:out", os.geteuid())]


# --- two hundred ports ---

class Load:
    """What a process holds."""

    def __init__(self, pid):
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        self.threads = len(os.listdir(f"/proc/{pid}/task"))
        with open(f"/proc/{pid}/status") as status:
            self.kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    @classmethod
    def at_rest(cls, pid):
        """A moment after vmuxctl has gone its connection is closed, too."""
        looks = []
        for _ in range(20):
            looks.append(cls(pid))
            time.sleep(0.02)
        return min(looks, key=lambda look: look.descriptors)


def test_two_hundred_ports_come_are_used_changed_and_go_beside_traffic_that_loses_nothing(rig):
    vmux = rig.vmux("--pollers", "2")
    for switch, poller in (("beside0", 0), ("beside1", 1)):
        vmux.ctl("switch", "add", switch)
        vmux.ctl("uplink", "add", f"sink-{switch}", "--switch", switch, "--backend", "sink", "--poller", poller)
        vmux.ctl("uplink", "add", f"gen-{switch}", "--switch", switch, "--backend", "generator", "--poller", poller,
                 "--device", f"size=256,to=02:00:00:00:00:0{poller}")

    def bystanders():
        return {uplink["name"]: uplink["counters"] for uplink in vmux.ctl("uplink", "list")}

    def make(method, all_params):
        """In batches of some: where generators take every CPU, each change waits for its turn."""
        file = vmux.directory / "calls.json"
        for first in range(0, len(all_params), 25):
            file.write_text(json.dumps([{"method": method, "params": params} for params in all_params[first:first + 25]]))
            vmux.ctl("batch", file, "--timeout", "80")

    def a_life_of_all():
        names = [f"vm{index}" for index in range(200)]
        models = ("e1000", "iavf", "virtio-net", "e810")
        make("port.add", [{"name": name, "model": models[index % 4], "socket": str(vmux.socket(name))} for index, name in enumerate(names)])
        clients = [attach(vmux.socket(name)) for name in names]
        make("port.set", [{"name": name, "vlan": 1 + index, "link": "down", "mtu": 1400, "mac": f"02:00:00:00:01:{index:02x}"}
                          for index, name in enumerate(names)])
        assert all(port["connected"] for port in vmux.ctl("port", "list"))
        for client in clients:
            client.close()
        wait_until(lambda: not any(port["connected"] for port in vmux.ctl("port", "list")), "all VMMs to be gone")
        make("port.remove", [{"name": name} for name in names])
        assert vmux.ctl("port", "list") == []

    for _ in range(10):  # what the C library keeps for later grows for some, and no more
        a_life_of_all()
    before, load = bystanders(), Load.at_rest(vmux.process.pid)
    a_life_of_all()
    after = Load.at_rest(vmux.process.pid)
    assert (after.descriptors, after.threads) == (load.descriptors, load.threads)
    assert after.kilobytes <= load.kilobytes + 4096, "200 ports came and went"
    now = bystanders()
    for switch in ("beside0", "beside1"):
        sent, received = (now[name]["rx_frames"] - before[name]["rx_frames"] if name.startswith("gen") else
                          now[name]["tx_frames"] - before[name]["tx_frames"] for name in (f"gen-{switch}", f"sink-{switch}"))
        assert sent > 0 and received > 0
        lost = [now[name][drop] - before[name][drop] for name in (f"gen-{switch}", f"sink-{switch}")
                for drop in now[name] if drop.startswith("drop_")]
        assert sum(lost) == 0


# --- with guests ---

def uplink_counters(vmux):
    return vmux.ctl("uplink", "list")[0]["counters"]


def carrier(guest, interface="eth0"):
    return guest.run(f"cat /sys/class/net/{interface}/carrier").output.strip() == "1"


def test_the_operators_cable_vlan_and_mtu_reach_a_linux_guest(pair):
    """Both VMs go on; their connections are never cut."""
    vmux = pair.vmux
    connections = {name: vmux.stats(name)["client"]["connections"] for name in ("a", "b")}
    try:
        vmux.ctl("port", "set", "b", "link=down")
        wait_until(lambda: not carrier(pair.b), "b to see its link go down")
        assert ping(pair.a, pair.address_b, count=2, extra="-W 1").received == 0
        vmux.ctl("port", "set", "b", "link=up")
        wait_until(lambda: carrier(pair.b), "b to see its link come up")
        wait_for_peer(pair.a, pair.address_b)

        vmux.ctl("port", "set", "b", "vlan=10")
        assert ping(pair.a, pair.address_b, count=3, extra="-W 1").received == 0
        vmux.ctl("port", "set", "a", "vlan=10")
        wait_for_peer(pair.a, pair.address_b)
        assert {entry["vlan"] for entry in vmux.ctl("switch", "show", "default")["mac_table"]} == {10}
        vmux.ctl("port", "set", "a", "vlan=")
        assert ping(pair.a, pair.address_b, count=3, extra="-W 1").received == 0
        vmux.ctl("port", "set", "b", "vlan=")
        wait_for_peer(pair.a, pair.address_b)

        vmux.ctl("port", "set", "b", "mtu=1000")
        assert ping(pair.a, pair.address_b, count=2, size=900).loss == 0
        assert ping(pair.a, pair.address_b, count=2, size=1400, extra="-W 1").received == 0
        assert vmux.stats("b")["counters"]["drop_too_long"] >= 2
        vmux.ctl("port", "set", "b", "mtu=")
        assert ping(pair.a, pair.address_b, count=2, size=1400).loss == 0
    finally:
        for name in ("a", "b"):
            vmux.ctl("port", "set", name, "link=", "vlan=", "mtu=")
    assert {name: vmux.stats(name)["client"]["connections"] for name in ("a", "b")} == connections


def test_a_port_is_mirrored_to_an_interface_of_the_host(pair):
    """The guests notice nothing; what one says and hears is on the tap, and what the tap says goes nowhere."""
    vmux = pair.vmux
    vmux.ctl("uplink", "add", "ear", "--backend", "tap", "--device", "vmuxear0")
    try:
        subprocess.run("sysctl -qw net.ipv6.conf.vmuxear0.disable_ipv6=1; ip link set vmuxear0 up", shell=True, check=True)
        vmux.ctl("port", "set", "a", "mirror=ear")
        heard = raw_socket("vmuxear0", 3)
        heard.settimeout(60)
        assert ping(pair.a, pair.address_b, count=5).loss == 0
        said = {"request": 0, "reply": 0}
        while min(said.values()) < 5:
            frame = heard.recv(2048)
            if frame[12:14] == b"\x08\x00" and frame[23] == 1:
                said["request" if frame[34] == 8 else "reply"] += 1
        # What the tap sends is dropped, also what is for b.
        mac_b = vmux.ctl("port", "show", "b")["mac"]
        before = vmux.stats("b")["counters"]["tx_frames"]
        heard.send(mac_bytes(mac_b) + bytes.fromhex("020000000077") + b"\x88\xb5" + bytes(46))
        wait_until(lambda: uplink_counters(vmux)["drop_mirror_ingress"] >= 1, "the frame to be dropped")
        assert vmux.stats("b")["counters"]["tx_frames"] == before
        counters = vmux.stats("a")["counters"]
        assert counters["mirrored"] >= 10 and counters["drop_mirror_full"] == 0
        # A listener that does not listen (its interface is down) costs copies alone.
        subprocess.run(["ip", "link", "set", "vmuxear0", "down"], check=True)
        assert ping(pair.a, pair.address_b, count=5).loss == 0
        assert uplink_counters(vmux)["drop_not_ready"] >= 1
    finally:
        vmux.ctl("port", "set", "a", "mirror=")
        vmux.ctl("uplink", "remove", "ear")
    wait_for_peer(pair.a, pair.address_b)


def test_another_mac_is_found_by_a_linux_guest_that_loads_its_driver_again(pair):
    was = pair.vmux.ctl("port", "show", "b")["mac"]
    try:
        pair.vmux.ctl("port", "set", "b", "mac=02:00:00:00:00:42")
        assert ping(pair.a, pair.address_b, count=2).loss == 0  # the driver goes on as it was
        pair.b.check("rmmod e1000 && modprobe e1000")
        assert pair.b.run("cat /sys/class/net/eth0/address").output.strip() == "02:00:00:00:00:42"
        give_address(pair.b, f"{pair.address_b}/24")
        pair.a.check(f"ip neigh flush to {pair.address_b}")
        wait_for_peer(pair.a, pair.address_b)
    finally:
        pair.vmux.ctl("port", "set", "b", f"mac={was}")
        pair.b.check("rmmod e1000 && modprobe e1000")


def test_a_port_moves_to_another_switch_under_its_guest(pair):
    vmux = pair.vmux
    vmux.ctl("switch", "add", "elsewhere")
    try:
        vmux.ctl("port", "set", "b", "switch=elsewhere")
        assert ping(pair.a, pair.address_b, count=3, extra="-W 1").received == 0
        vmux.ctl("port", "set", "a", "switch=elsewhere")
        wait_for_peer(pair.a, pair.address_b)
    finally:
        for name in ("a", "b"):
            vmux.ctl("port", "set", name, "switch=")
        vmux.ctl("switch", "remove", "elsewhere")
    wait_for_peer(pair.a, pair.address_b)


@pytest.mark.reset_behind_the_driver
def test_another_mac_is_taken_by_an_iavf_guest_at_once(iavf):
    was = iavf.vmux.ctl("port", "show", "b")["mac"]
    name = card(iavf.b)

    def set_to(mac):
        iavf.vmux.ctl("port", "set", "b", f"mac={mac}")
        wait_until(lambda: iavf.b.run(f"cat /sys/class/net/{name}/address").output.strip() == mac, f"the guest to have {mac}")

    try:
        set_to("02:00:00:00:00:42")
    finally:
        set_to(was)


def test_a_guest_is_held_to_its_addresses(pair):
    """A guest that becomes somebody else is heard by nobody, and heard again when it is itself."""
    vmux, mac = pair.vmux, pair.vmux.ctl("port", "show", "a")["mac"]

    def reaches(source=None):
        pair.a.check(f"ip neigh flush to {pair.address_b}")
        return ping(pair.a, pair.address_b, count=2, extra="-W 1" + (f" -I {source}" if source else "")).received > 0

    def spoofed():
        return vmux.stats("a")["counters"]["drop_spoofed"]

    try:
        vmux.ctl("port", "set", "a", "anti_spoof=true")
        assert reaches()
        assert spoofed() == 0
        pair.a.check("ip link set eth0 address 02:00:00:00:00:66")
        assert not reaches()
        assert spoofed() > 0
        pair.a.check(f"ip link set eth0 address {mac}")
        assert reaches()
        vmux.ctl("port", "set", "a", f"addresses={pair.address_a}")
        pair.a.check("ip addr add 10.77.0.66/24 dev eth0")
        before = spoofed()
        assert reaches(pair.address_a)
        assert spoofed() == before
        assert not reaches("10.77.0.66")
        assert spoofed() > before
        vmux.ctl("port", "set", "a", f"addresses={pair.address_a},10.77.0.66")
        assert reaches("10.77.0.66")
    finally:
        vmux.ctl("port", "set", "a", "addresses=", "anti_spoof=")
        pair.a.run(f"ip addr del 10.77.0.66/24 dev eth0; ip link set eth0 address {mac}")
    wait_for_peer(pair.a, pair.address_b)
