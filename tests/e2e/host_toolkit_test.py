# SPDX-License-Identifier: BSD-3-Clause
"""vmuxctl host against a real kernel: a host VM with VT-d, an igb with virtual functions, an e1000e and two e1000 in one
group. One boot serves all tests; each begins and ends with the machine as it booted."""
import json
from types import SimpleNamespace

import pytest
from conftest import Rig
from harness import BIN
from host_vm import HostVm

IGB, E1000E, E1000_A, E1000_B = "0000:01:00.0", "0000:02:00.0", "0000:04:01.0", "0000:04:02.0"
SYS = "/sys/bus/pci/devices"
JOURNAL = "/var/lib/vmux/host.journal"


class Machine:
    """The host VM, asked through vmuxctl and, to judge what it did, past it."""

    def __init__(self, vm):
        self.vm = vm
        self.first = self.ctl("save")

    def run(self, arguments):
        """Status and output, without what is told of long waits (on stderr, which a guest's shell joins to stdout)."""
        result = self.vm.run(f"{BIN}/vmuxctl host {arguments}", timeout=180)
        said = [line for line in result.output.splitlines(True) if not line.startswith("vmuxctl host: waiting for ")]
        return result._replace(output="".join(said))

    def ctl(self, arguments):
        """The result of a command that has to succeed."""
        status, output = self.run(f"--json {arguments}")
        assert status == 0, f"vmuxctl host {arguments}: status {status}\n{output}"
        return json.loads(output)

    def refused(self, arguments):
        """What a command that must not succeed says."""
        status, output = self.run(arguments)
        assert status == 1, f"vmuxctl host {arguments}: status {status}\n{output}"
        assert output.startswith("vmuxctl host: ") and output.count("\n") == 1, output
        return output

    def sh(self, command):
        return self.vm.check(command, timeout=180).strip()

    def driver(self, function):
        return self.sh(f"basename $(readlink {SYS}/{function}/driver) 2>/dev/null || true")

    def group(self, function):
        return self.sh(f"basename $(readlink {SYS}/{function}/iommu_group)")

    def interface(self, function):
        return self.sh(f"ls {SYS}/{function}/net")

    def vfs(self, function=IGB):
        return json.loads(self.sh(f"ip -j link show {self.interface(function)}"))[0].get("vfinfo_list", [])


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("host")
    rig = Rig(directory)
    disk = directory / "disk"
    with open(disk, "wb") as file:
        file.truncate(64 << 20)
    vm = HostVm(qemu_args=["-drive", f"file={disk},if=none,id=disk,format=raw", "-device", "virtio-blk-pci,drive=disk"])
    rig.adopt(vm)
    rig.boot(vm)
    yield Machine(vm)
    rig.close()


@pytest.fixture
def host(booted):
    yield booted
    booted.ctl("restore")
    assert booted.ctl("save") == booted.first
    assert booted.sh(f"grep -c kind {JOURNAL} 2>/dev/null || true") in ("", "0"), "the journal remembers what is restored"


def test_check_tells_what_the_machine_has(host):
    status, output = host.run("--json check")
    found = json.loads(output)
    by_name = {}
    for each in found["checks"]:
        by_name.setdefault(each["check"], []).append(SimpleNamespace(**each))
    assert by_name["iommu"][0].verdict == "good" and "VT-d" in by_name["iommu"][0].found
    assert by_name["interrupt remapping"][0].verdict == "good"
    assert by_name["iommu mode"][0].found.startswith("lazy")
    assert by_name["vfio modules"][0].verdict == "good"
    shared = [each for each in by_name["iommu groups"] if each.verdict == "warn"]
    assert {each.found.split()[0] for each in shared} == {E1000_A, E1000_B}
    assert any("conventional PCI" in each.found for each in by_name["acs"])
    assert all(each["mend"] for each in found["checks"] if each["verdict"] in ("warn", "bad"))
    assert status == (1 if found["verdict"] == "bad" else 0)


def test_check_as_an_ordinary_user_says_less_and_does_not_fail(host):
    status, output = host.vm.run(f"setpriv --reuid 65534 --regid 65534 --clear-groups {BIN}/vmuxctl --json host check", timeout=180)
    assert status == 1
    verdicts = {each["check"]: each["verdict"] for each in json.loads(output)["checks"]}
    assert verdicts["acs"] == "unknown" and verdicts["memlock"] == "bad" and verdicts["iommu"] == "good"
    status, output = host.vm.run(f"setpriv --reuid 65534 --regid 65534 --clear-groups {BIN}/vmuxctl host bind {E1000E}", timeout=180)
    assert status == 1 and "run it as root" in output
    assert host.driver(E1000E) == "e1000e"


def test_check_of_a_card_and_cpus(host):
    found = json.loads(host.run(f"--json check --nic {E1000E} --cpus 0-1").output)["checks"]
    assert any(each["check"] == "nic numa" and E1000E in each["found"] for each in found)
    assert "not online" in host.refused("check --cpus 7")


def test_list_agrees_with_sysfs(host):
    listed = {each["address"]: each for each in host.ctl("list --all")}
    assert sorted(listed) == host.sh(f"ls {SYS}").split()
    for address in (IGB, E1000E, E1000_A):
        assert listed[address]["driver"] == host.driver(address)
        assert str(listed[address]["group"]) == host.group(address)
        assert listed[address]["interfaces"][0]["name"] == host.interface(address)
    assert listed[IGB]["max_vfs"] == 7
    assert host.ctl(f"list {host.interface(IGB)}")[0]["address"] == IGB


def test_vfs_with_macs_for_vfio_and_back(host):
    pf = host.interface(IGB)
    rehearsed = host.ctl(f"vfs {pf} 2 --mac 52:54:00:aa:00:10 --vlan 7 --trust on --spoofchk off --driver vfio-pci --dry-run")
    assert host.sh(f"cat {SYS}/{IGB}/sriov_numvfs") == "0"
    done = host.ctl(f"vfs {pf} 2 --mac 52:54:00:aa:00:10 --vlan 7 --trust on --spoofchk off --driver vfio-pci")
    assert done["done"] == rehearsed["done"]
    first, second = host.vfs()
    assert (first["address"], second["address"]) == ("52:54:00:aa:00:10", "52:54:00:aa:00:11")
    assert first["vlan_list"][0]["vlan"] == 7 and first["trust"] and not first["spoofchk"]
    for vf in ("0000:01:10.0", "0000:01:10.2"):
        assert host.driver(vf) == "vfio-pci"
        host.sh(f"test -c /dev/vfio/{host.group(vf)}")
    assert not host.ctl(f"vfs {pf} 2 --mac 52:54:00:aa:00:10 --driver vfio-pci")["changed"]
    shown = host.ctl(f"vfs {pf}")
    assert [each["mac"] for each in shown] == ["52:54:00:aa:00:10", "52:54:00:aa:00:11"]
    host.ctl(f"vfs {pf} --vf 1 --mac 52:54:00:bb:00:01")
    assert [each["address"] for each in host.vfs()] == ["52:54:00:aa:00:10", "52:54:00:bb:00:01"]
    host.ctl("restore")
    assert host.sh(f"cat {SYS}/{IGB}/sriov_numvfs") == "0"
    assert host.sh(f"cat {SYS}/{IGB}/sriov_drivers_autoprobe") == "1"
    assert "UP" not in json.loads(host.sh(f"ip -j link show {pf}"))[0]["flags"]


def test_a_pf_with_vfs_is_not_taken_away(host):
    host.ctl(f"vfs {IGB} 1 --driver none")
    assert "virtual functions" in host.refused(f"bind {IGB}")
    status, said = host.run(f"vfs {IGB} 8")
    assert status == 2 and "7 virtual functions at most" in said
    assert len(host.vfs()) == 1


def test_bind_of_a_card_with_an_address_is_refused(host):
    name = host.interface(E1000E)
    host.sh(f"ip addr add 10.99.0.1/24 dev {name} && ip link set {name} up")
    said = host.refused(f"bind {E1000E}")
    assert "10.99.0.1/24" in said and "--force" in said
    assert host.driver(E1000E) == "e1000e"
    host.sh(f"ip addr flush dev {name} && ip route add 10.98.0.0/24 dev {name}")
    assert "the route 10.98.0.0/24" in host.refused(f"bind {name}")
    host.ctl(f"bind {name} --force")
    assert host.driver(E1000E) == "vfio-pci"
    host.ctl(f"unbind {E1000E}")
    assert host.driver(E1000E) == "e1000e"


def test_bind_to_a_driver_that_there_is_not_leaves_the_card_alone(host):
    name = host.interface(E1000E)
    index = host.sh(f"cat /sys/class/net/{name}/ifindex")
    host.sh(f"ip link set {name} up && ip addr add 10.99.0.1/24 dev {name}")
    try:
        assert "no driver nosuch" in host.refused(f"bind {E1000E} --driver nosuch --force")
        assert "did you mean 'vfio-pci'?" in host.refused(f"bind {E1000E} --driver vfio_pci --force")
        assert host.sh(f"cat /sys/class/net/{name}/ifindex") == index
        assert "10.99.0.1" in host.sh(f"ip -br addr show {name}")
    finally:
        host.sh(f"ip addr flush dev {name}; ip link set {name} down")


def test_an_override_that_somebody_left_is_there_again_after_restore(host):
    override = f"{SYS}/{E1000E}/driver_override"
    host.sh(f"echo vfio-pci >{override}")
    try:
        host.ctl(f"bind {E1000E}")
        host.ctl("restore")
        assert (host.driver(E1000E), host.sh(f"cat {override}")) == ("e1000e", "vfio-pci")
        assert not host.ctl(f"unbind {E1000E}")["changed"]
    finally:
        host.sh(f"echo >{override}")


def test_an_interface_is_known_by_its_names_after_it_went(host):
    name = host.interface(E1000E)
    host.sh(f"ip link property add dev {name} altname a-name-longer-than-sixteen-letters")
    for each in (name, "a-name-longer-than-sixteen-letters", E1000E):
        host.ctl(f"bind {each}")
        assert host.driver(E1000E) == "vfio-pci"
    host.ctl(f"unbind {name}")
    assert host.driver(E1000E) == "e1000e"
    assert not host.ctl(f"unbind {name}")["changed"]


def test_a_card_with_a_packet_socket_is_in_use(host):
    name = host.interface(E1000E)
    user = host.vm.spawn(f"exec python3 -c 'import socket, time; s = socket.socket(17, 3); s.bind((\"{name}\", 3)); time.sleep(1000)'")
    try:
        host.sh("until grep -q ' 0003 ' /proc/net/packet; do sleep 0.1; done")
        said = host.refused(f"bind {E1000E}")
        assert "(python3)" in said and f"packet socket on {name}" in said
        assert host.driver(E1000E) == "e1000e"
    finally:
        user.kill("KILL")
    host.sh("while grep -q ' 0003 ' /proc/net/packet; do sleep 0.1; done")


def test_a_disk_that_is_mounted_where_it_cannot_be_seen_is_in_use(host):
    host.sh("modprobe virtio_blk; until test -b /dev/vda; do sleep 0.1; done; mkfs.ext4 -q /dev/vda; mkdir -p /run/disk")
    function = host.sh("readlink -f /sys/class/block/vda | grep -o '0000:[0-9a-f:.]*' | tail -1")
    user = host.vm.spawn("exec unshare -m sh -c 'mount /dev/vda /run/disk && touch /run/disk-is-there; exec sleep 1000'")
    try:
        host.sh("until test -e /run/disk-is-there; do sleep 0.1; done")
        said = host.refused(f"bind {function}")
        assert "/dev/vda is claimed by the kernel or a program" in said
        assert host.driver(function) == "virtio-pci"
    finally:
        user.kill("KILL")
    host.sh("until python3 -c 'import os; os.open(\"/dev/vda\", os.O_EXCL)' 2>/dev/null; do sleep 0.1; done")
    host.ctl(f"bind {function} --dry-run")


def test_commands_wait_for_each_other_and_name_who_does_not_end(host):
    host.sh(f"mkdir -p /var/lib/vmux; (flock 9; echo $$ >&9; sleep 2) 9>/var/lib/vmux/host.lock & sleep 0.5; {BIN}/vmuxctl host hugepages 0")
    user = host.vm.spawn("exec 9>/var/lib/vmux/host.lock; flock 9; echo $$ >&9; touch /run/is-locked; exec sleep 1000")
    try:
        host.sh("until test -e /run/is-locked; do sleep 0.1; done")  # the file may still name the one before
        status, said = host.run("hugepages 0")
        assert status == 1 and "sleep 1000" in said and "changes this host and is not done after" in said.splitlines()[-1]
    finally:
        user.kill("KILL")
    host.sh("flock /var/lib/vmux/host.lock true")


def test_bind_of_a_shared_group(host):
    notes = host.ctl(f"bind {E1000_A}")["notes"]
    assert len(notes) == 1 and E1000_B in notes[0] and "--group" in notes[0]
    assert host.ctl(f"bind {E1000_A} --group")["notes"] == []
    assert host.driver(E1000_B) == "vfio-pci"


def test_bridges_stay(host):
    status, said = host.run("bind 0000:00:01.0")
    assert status == 2 and "is a PCI bridge" in said


def test_a_function_that_a_program_uses_is_not_taken_from_it(host):
    is_open = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q '/dev/vfio/[0-9]'"
    host.ctl(f"bind {E1000E}")
    user = host.vm.spawn(f"exec 9<>/dev/vfio/{host.group(E1000E)}; exec sleep 1000")
    try:
        host.sh(f"until {is_open}; do sleep 0.1; done")
        said = host.refused("restore")
        assert "(sleep)" in said and "/dev/vfio/" in said
        assert host.driver(E1000E) == "vfio-pci"
    finally:
        user.kill("KILL")
    host.sh(f"while {is_open}; do sleep 0.1; done")


def test_interrupts_go_to_cpus_and_back(host):
    name = host.interface(E1000E)
    host.sh(f"ip link set {name} up")
    try:
        before = host.ctl(f"irq {name}")
        assert len(before) > 1 and any(each["name"].startswith(name) for each in before)
        host.ctl(f"irq {name} --cpus 0-1")
        placed = [host.sh(f"cat /proc/irq/{each['irq']}/smp_affinity_list") for each in before]
        assert placed == [str(i % 2) for i in range(len(before))]
        host.ctl(f"irq {name} --back")
        assert [each["cpus"] for each in host.ctl(f"irq {name}")] == [each["cpus"] for each in before]
    finally:
        host.sh(f"ip link set {name} down")


def test_hugepages_all_or_none(host):
    pages = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
    host.ctl("hugepages 16 --size 2M")
    assert host.sh(f"cat {pages}") == "16"
    assert "only, not 4 " in host.refused("hugepages 4 --size 1G")
    assert [each["total"] for each in host.ctl("hugepages")] == [0, 16]


FILE = f"""
[[hugepages]]
count = 8
size = "2M"
[[nic]]
device = "{IGB}"
vfs = 2
vf_driver = "vfio-pci"
  [[nic.vf]]
  index = 0
  mac = "52:54:00:cc:00:01"
  vlan = 20
[[nic]]
device = "{E1000E}"
driver = "vfio-pci"
[cpus]
isolated = "1"
"""


def test_a_described_host_is_made_saved_and_undone(host):
    host.sh(f"cat >/run/host.toml <<'END'\n{FILE}\nEND")
    rehearsed = host.ctl("apply /run/host.toml --dry-run")
    assert host.ctl("save") == host.first
    done = host.ctl("apply /run/host.toml")
    assert done["done"] == rehearsed["done"]
    assert len(done["notes"]) == 1 and "isolcpus=" in done["notes"][0]
    assert host.vfs()[0]["address"] == "52:54:00:cc:00:01"
    assert [host.driver(each) for each in ("0000:01:10.0", "0000:01:10.2", E1000E)] == ["vfio-pci"] * 3
    assert not host.ctl("apply /run/host.toml")["changed"]
    host.sh(f"{BIN}/vmuxctl host save >/run/saved.toml")
    assert not host.ctl("apply /run/saved.toml")["changed"]
    host.sh(f"{BIN}/vmuxctl host save --format yaml >/run/saved.yaml")
    assert not host.ctl("apply /run/saved.yaml")["changed"]
    host.ctl("restore")
    host.ctl("apply /run/saved.yaml")
    assert host.vfs()[0]["vlan_list"][0]["vlan"] == 20 and host.driver(E1000E) == "vfio-pci"


def test_mistakes_in_a_described_host_are_told_with_their_line_before_anything_changes(host):
    pages = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
    pool = '[[hugepages]]\ncount = 16\nsize = "2M"\n'
    for text, line in ((f'{pool}[[nic]]\ndevice = "0000:0l:00.0"', 5), (pool + pool, 4),
                       (f'{pool}[[nic]]\ndevice = "{IGB}"\nvfs = 2\nvf_driver = "nosuch"', 7)):
        host.sh(f"cat >/run/bad.toml <<'END'\n{text}\nEND")
        status, said = host.run("apply /run/bad.toml")
        assert status == 2 and said.startswith(f"vmuxctl host: /run/bad.toml:{line}: "), said
        assert host.sh(f"cat {pages}") == "0"


def test_settings_for_no_virtual_function_are_refused(host):
    assert "has no virtual functions now" in host.refused(f"vfs {IGB} --vlan 5 --trust off")
    status, said = host.run(f"vfs {IGB} 0 --mac 52:54:00:00:10:00")
    assert status == 2 and "none to set" in said


def test_a_described_host_that_cannot_be_made_leaves_nothing(host):
    host.sh(f"cat >/run/host.toml <<'END'\n{FILE}\nEND")
    host.sh(f"ip addr add 10.99.0.1/24 dev {host.interface(E1000E)}")
    said = host.refused("apply /run/host.toml")
    assert "10.99.0.1/24" in said and "nothing has changed" in said
    assert host.ctl("save") == host.first
    host.sh(f"ip addr flush dev {host.interface(E1000E)}")


def test_killed_in_the_middle_is_undone(host):
    """Wherever the kill falls, what was begun is in the journal."""
    host.sh(f"cat >/run/host.toml <<'END'\n{FILE}\nEND")
    for delay in ("0.05", "0.2", "0.4"):
        host.sh(f"{BIN}/vmuxctl host apply /run/host.toml >/dev/null 2>&1 & sleep {delay}; kill -9 $!; wait $!; true")
        host.ctl("restore")
        assert host.ctl("save") == host.first
