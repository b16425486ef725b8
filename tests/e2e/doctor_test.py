# SPDX-License-Identifier: BSD-3-Clause
"""What an operator sees of a VM that does not do what it should: doctor, port dma, trace, bug-report, the log. Each condition is made to happen."""
import ctypes
import json
import mmap
import os
import re
import signal
import stat
import subprocess
import threading
from types import SimpleNamespace

import pytest
from conftest import Rig
from guest import CACHE, Guest
from harness import BIN
from harness.vmux import wait_until


class PrivateGuest(Guest):
    """Has its memory for itself: QEMU passes the file all the same."""

    def command_line(self):
        return [word.replace("share=on", "share=off") for word in super().command_line()]


class FilelessGuest(Guest):
    def command_line(self):
        return [re.sub(r"memory-backend-memfd,(.*),share=on", r"memory-backend-ram,\1", word) for word in super().command_line()]


def doctor(vmux, *arguments):
    """Its findings by name, and its status."""
    done = vmux.ctl_run("doctor", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == any(each["severity"] != "note" for each in findings)
    return SimpleNamespace(names={each["finding"] for each in findings}, findings=findings, status=done.returncode)


def finds(vmux, name, *arguments):
    wait_until(lambda: name in doctor(vmux, *arguments).names, f"the doctor to find {name}")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A VM with an e1000 (a), an iavf (b) and a virtio-net (c)."""
    made = Rig(tmp_path_factory.mktemp("doctor"))
    vmux = made.vmux("--log-format", "json")
    models = {"a": "e1000", "b": "iavf", "c": "virtio-net"}
    guest = made.guest("vm", kernel="6.12", sockets=[vmux.add_port(name, model=model) for name, model in models.items()])
    made.boot(guest)
    yield SimpleNamespace(rig=made, vmux=vmux, guest=guest)
    made.close()


def interface_of(guest, driver):
    return guest.run(f"for i in /sys/bus/pci/drivers/{driver}/*/net/* /sys/bus/virtio/drivers/{driver}/*/net/*; do "
                       "test -e $i && echo ${i##*/} && break; done").output.strip()


def test_a_driver_that_is_up_down_and_gone(net):
    vmux, guest = net.vmux, net.guest
    name = interface_of(guest, "e1000")
    guest.check(f"ip link set {name} up")
    wait_until(lambda: doctor(vmux, "a", "--over", 0).status == 0, "the driver to be up")
    guest.check(f"ip link set {name} down")
    finds(vmux, "driver_down", "a", "--over", 0)
    slot = guest.check(f"readlink -f /sys/class/net/{name}/device").strip().rsplit("/", 1)[1]
    guest.check(f"echo {slot} >/sys/bus/pci/drivers/e1000/unbind")
    wait_until(lambda: doctor(vmux, "a", "--over", 0).names & {"bus_master_off", "power_saving"}, "the function to be off")
    said = vmux.ctl_run("doctor", "a", "--over", 0)
    assert said.returncode == 1 and "warning: port a: " in said.stdout
    guest.check(f"echo {slot} >/sys/bus/pci/drivers/e1000/bind")
    vmux.ctl("port", "set", "a", "link=down")
    assert "link_down" in doctor(vmux, "a", "--over", 0).names
    vmux.ctl("port", "set", "a", "link=up")


def may_know_frames():
    """Whether the kernel tells this user where pages are: it shows zeroes to all without CAP_SYS_ADMIN."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page, open("/proc/self/pagemap", "rb", buffering=0) as file:
        page[0] = 1
        at = ctypes.addressof(ctypes.c_char.from_buffer(page))
        entry = os.pread(file.fileno(), 8, at // mmap.PAGESIZE * 8)
    return int.from_bytes(entry, "little") & ((1 << 55) - 1) != 0


def test_memory_of_a_vm_and_where_an_address_lies(net):
    dma = net.vmux.ctl("port", "dma", "b", "--translate", "0x100000", "--physical")
    assert dma["client"] == net.guest.process.pid and dma["bytes"] >= 200 << 20
    assert "shared" in {file["client_maps"] for file in dma["files"]}
    where = dma["translated"]
    assert where["reached"] == "mapped" and where["in_memory"] and where["file_offset"] == "0x100000"
    assert (where["physical"] is not None) == may_know_frames()
    assert where["physical"] is None or int(where["physical"], 16) % 4096 == 0
    nowhere = net.vmux.ctl("port", "dma", "b", "--translate", hex(1 << 50))
    assert nowhere["translated"]["range"] is None
    assert "0x100000 is in range" in net.vmux.ctl_run("port", "dma", "b", "--translate", "0x100000").stdout


@pytest.mark.parametrize("port, driver, wanted", [
    ("a", "e1000", {"write CTRL", "read STATUS", "write RCTL", "write Command"}),
    ("b", "iavf", {"command VIRTCHNL_OP_VERSION", "command VIRTCHNL_OP_GET_VF_RESOURCES", "write ATQT1", "read VFGEN_RSTAT",
                   "message VFIO_USER_DEVICE_SET_IRQS"}),
    ("c", "virtio_net", {"write device_status", "write queue_enable", "command VIRTIO_NET_CTRL_MAC_TABLE_SET"}),
])
def test_a_driver_is_traced_while_it_comes_up(net, port, driver, wanted):
    tracer = subprocess.Popen([str(BIN / "vmuxctl"), "trace", port, "--json"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "VMUX_RPC": str(net.vmux.rpc)})
    seen = set()

    def read():
        for line in tracer.stdout:
            record = json.loads(line)
            seen.add(f"{record['what']} {record.get('name')}")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: ("trace_started", port) in events(net), "the trace to begin")
        net.guest.check(f"modprobe -r {driver} && modprobe {driver}")
        name = wait_until(lambda: interface_of(net.guest, driver), "the interface")
        net.guest.check(f"ip link set {name} up")
        wait_until(lambda: wanted <= seen, f"{wanted} among what is traced")
        tracer.send_signal(signal.SIGINT)
        assert tracer.wait(60) == 0
    finally:
        tracer.kill()
        tracer.wait()
        reader.join()
    assert ("trace_stopped", port) in events(net)


def events(net):
    return {(event["event"], event.get("name")) for event in net.vmux.ctl("events")["events"]}


def test_a_port_that_is_limited_starved_and_flooded(net):
    vmux, guest = net.vmux, net.guest
    name = interface_of(guest, "e1000")
    guest.check(f"ip link set {name} up")
    wait_until(lambda: vmux.ctl("port", "show", "a")["ready"], "the driver to be up")
    mac = vmux.ctl("port", "show", "a")["mac"]
    vmux.ctl("port", "set", "a", "limit_out=1M")
    vmux.ctl("uplink", "add", "gen", "--backend", "generator", "--device", f"size=1000,to={mac}")
    try:
        finds(vmux, "limited_out", "a")
        finds(vmux, "poller_saturated", "a")
        vmux.ctl("port", "set", "a", "limit_out=")
        guest.process.send_signal(signal.SIGSTOP)
        finds(vmux, "ring_empty", "a")
    finally:
        guest.process.send_signal(signal.SIGCONT)
        vmux.ctl("uplink", "remove", "gen")
        vmux.ctl("port", "set", "a", "limit_out=")
    vmux.add_port("trapped", "--doorbell", "trap", model="iavf")
    finds(vmux, "doorbell_trapped", "trapped", "--over", 0)


def test_a_line_of_another_kind_of_port(net):
    """A VMM that is told to speak vhost-user to a socket of vfio-user, with the program that does so."""
    socket = net.vmux.add_port("other")
    qemu = subprocess.Popen([str(CACHE / "bin" / "qemu-system-x86_64"), "-M", "q35", "-nodefaults", "-display", "none", "-S", "-accel", "tcg",
                             "-m", "64M", "-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-machine", "memory-backend=ram",
                             "-chardev", f"socket,id=c,path={socket}", "-netdev", "vhost-user,id=n,chardev=c",
                             "-device", "virtio-net-pci,netdev=n"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    try:
        finds(net.vmux, "wrong_protocol", "other", "--over", 0)
    finally:
        qemu.kill()
        qemu.wait()
    line = wait_until(lambda: [each for each in log_of(net.vmux) if "speaks vhost-user" in each["message"]], "the log to say so")[0]
    assert line["port"] == "other" and line["component"] == "vfio_user" and "vm-args other" in line["advice"]


def log_of(vmux):
    return [json.loads(line) for line in vmux.log_path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def test_the_log_is_json_with_levels_for_parts_of_the_program(net):
    vmux = net.vmux
    attached = [each for each in log_of(vmux) if "client attached" in each["message"]]
    assert {each["port"] for each in attached} >= {"a", "b", "c"}
    assert vmux.ctl("log-level", "debug", "--component", "vfio_user") == {"level": "info", "components": {"vfio_user": "debug"}}
    assert vmux.ctl("log-level", "--component", "vfio_user") == {"level": "info"}
    refused = vmux.ctl_run("log-level", "debug", "--component", "nothing")
    assert refused.returncode == 2 and "--component: expected one of" in refused.stderr


def test_a_bug_report_has_all_of_it_and_is_for_its_user_alone(net, tmp_path):
    file = tmp_path / "report.json"
    assert "nothing of what they send" in net.vmux.ctl_run("bug-report", file).stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    report = json.loads(file.read_text())
    wrong = {key: value["error"] for key, value in report.items() if isinstance(value, dict) and "error" in value}
    assert set(wrong) <= {"keeper.status"}, wrong
    assert {port["name"] for port in report["port.stats"]} >= {"a", "b", "c"} and report["log.lines"]["lines"]
    assert report["machine"]["vmuxctl"] == report["version"]["version"] and report["host"]
    again = net.vmux.ctl_run("bug-report", file)
    assert again.returncode == 1 and "cannot make" in again.stderr


@pytest.mark.parametrize("kind, finding", [(PrivateGuest, "memory_private"), (FilelessGuest, "memory_by_message")])
def test_memory_that_a_card_cannot_reach(rig, tmp_path, kind, finding):
    vmux = rig.vmux()
    guest = kind("odd", kernel="6.12", sockets=[vmux.add_port("vm0")], directory=tmp_path / "odd")
    rig.adopt(guest)
    guest.launch()
    finds(vmux, finding, "vm0", "--over", 0)
