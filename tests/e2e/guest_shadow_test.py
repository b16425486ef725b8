# SPDX-License-Identifier: BSD-3-Clause
"""A guest's strict IOMMU without maps and unmaps: guest/shadow between stock drivers and their NICs."""
import base64
import hashlib
import json
import os
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import USUAL_KERNEL, Rig, and_exhaustively
from guest import KERNELS, Guest
from harness import ddp, shadow
from harness.e810 import PACKAGE
from harness.stations import sh
from harness.traffic import wait_for_peer
from harness.wire import mac_bytes, raw_socket

TAP = "vmuxshadow0"
NICS = {"iavf": "iavf", "e1000": "e1000", "virtio-net": "virtio-pci", "e810": "ice"}  # a model, and what drives it
HOST, ADDRESS = {}, {}
for _number, _model in enumerate(NICS, 1):
    HOST[_model], ADDRESS[_model] = f"10.66.{_number}.1", f"10.66.{_number}.2"
MEGABYTES = 1
SOURCE, REFLECTED = Path(__file__).resolve().parents[1] / "in_guest" / "reflect.bpf.c", 0x88B5  # what it is for: frames of this type


@pytest.fixture(scope="module", params=KERNELS, ids="linux-{}".format)
def any_kernel(request):
    return request.param


@pytest.fixture(scope="module")
def vm(any_kernel, tmp_path_factory, request):
    """With the NICs that the tests of this run are for: each takes its time to boot in a strict domain."""
    models = [model for model in NICS if model == "iavf" or request.config.getoption("--every-kernel")]
    directory = tmp_path_factory.mktemp("shadow")
    shadow.build(any_kernel, directory)
    rig = Rig(directory)
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", TAP)
    sh("; ".join(f"ip addr add {address}/24 dev {TAP}" for address in HOST.values()) + f"; ip link set {TAP} up")
    options = ["-device", "intel-iommu,intremap=off,caching-mode=on"]  # before all devices that it is for
    for name in models:
        options += ["-device", json.dumps(Guest.device(vmux.add_port(name, model=name), name))]
    guest = rig.guest("shadow", kernel=any_kernel, cpus=2, memory=384, append="intel_iommu=on iommu.strict=1", modules=directory, qemu_args=options)
    rig.boot(guest)
    guest.vmux = vmux
    yield guest
    rig.close()


@pytest.fixture
def nic_of(vm):
    """A model's NIC, which has its driver and nothing else again afterwards."""
    used = []

    def nic(model):
        used.append(shadow.Nic(vm, NICS[model]))
        used[-1].model = model
        return used[-1]

    yield nic
    for each in used:
        if vm.run("lsmod | grep -q vmux_shadow").status == 0:
            each.unload()
    console = vm.console()
    vm.check("dmesg | grep -e WARNING: -e BUG: && exit 1; true")
    assert "WARNING:" not in console and "BUG:" not in console, console[-4000:]


def bring_up(nic):
    nic.guest.check(f"ip addr flush dev {nic.name()}; ip addr add {ADDRESS[nic.model]}/24 dev {nic.name()}; ip link set {nic.name()} up; "
                    f"ping -q -c 2 -i 0.2 -w 60 {HOST[nic.model]}")


def exchange(nic):
    """Random bytes to the host and others from it over TCP, compared."""
    guest, data = nic.guest, os.urandom(MEGABYTES << 20)
    heard = hashlib.sha256()

    def serve():
        for is_sending in (True, False):
            peer, _ = listener.accept()
            with peer:
                if is_sending:
                    peer.sendall(data)
                while not is_sending and (block := peer.recv(1 << 16)):
                    heard.update(block)

    with socket.create_server((HOST[nic.model], 0)) as listener:
        port = listener.getsockname()[1]
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        guest.check("test -p /tmp/silence || mkfifo /tmp/silence")
        sum_there = guest.check(f"nc {HOST[nic.model]} {port} <>/tmp/silence | sha256sum", timeout=240).split()[0]
        assert sum_there == hashlib.sha256(data).hexdigest(), "what the guest heard is not what the host said"
        said = guest.check(f"head -c {MEGABYTES << 20} /dev/urandom >/tmp/random; nc {HOST[nic.model]} {port} </tmp/random; sha256sum </tmp/random",
                           timeout=240)
        server.join(60)
    assert said.split()[0] == heard.hexdigest(), f"what the host heard is not what the guest said: {said}"


def messages_during(nic, work):
    """How many maps and unmaps vMux was asked for meanwhile."""
    def count():
        client = nic.guest.vmux.stats(nic.model)["client"]
        return client["dma_maps"] + client["dma_unmaps"]
    before = count()
    work()
    return count() - before


def faults(nic):
    """What the model has found unmapped: a touch after completion is among it, because an unmap is answered when nobody is at the page."""
    counted = {name: value for name, value in nic.guest.vmux.stats(nic.model)["model"].items() if "guest_fault" in name}
    assert counted, "a model that counts no faults"
    return {name: value for name, value in counted.items() if value}


@pytest.mark.parametrize("model", and_exhaustively(["iavf"], [model for model in NICS if model != "iavf"]))
def test_strict_protection_costs_no_message(vm, nic_of, model):
    """Traffic both ways arrives whole, in a domain that stays strict, and without one map or unmap; and the way back."""
    nic = nic_of(model)
    domain = nic.group_type()
    assert domain == "DMA", domain
    bring_up(nic)
    assert messages_during(nic, lambda: exchange(nic)) > 100, "a strict domain has no maps to get rid of"
    assert faults(nic) == {}
    nic.load()
    bring_up(nic)
    exchange(nic)  # whatever is mapped once is mapped now
    before = nic.stats()
    assert messages_during(nic, lambda: exchange(nic)) == 0
    after = nic.stats()
    assert nic.group_type() == domain
    assert faults(nic) == {}
    assert after["bytes_to_device"] - before["bytes_to_device"] > MEGABYTES << 20
    assert after["bytes_from_device"] - before["bytes_from_device"] > MEGABYTES << 20
    assert not {name: value for name, value in after.items() if value and (name.startswith("fallbacks") or name == "strays")}
    assert vm.run("rmmod vmux_shadow").status != 0, "the module went although a driver's buffers are in its pools"
    nic.unload()
    bring_up(nic)
    assert messages_during(nic, lambda: exchange(nic)) > 100


# What is for nothing without the module, if the checks are good for anything.
NEED_THE_MODULE = {"copies_are_private", "nothing_after_completion", "skipped_copies", "exhausted", "many_processors"}
PARAMETERS = [({}, {}), ({"both_mb": 2}, {"both": 1}), ({"zero_freed": 1}, {"wiped": 1}), ({"tx_mb": 4, "rx_mb": 2}, {})]


@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel != USUAL_KERNEL])
def test_module_is_built_without_a_warning(kernel, tmp_path):
    """Also for kernels of which no guest boots in this run."""
    shadow.build(kernel, tmp_path)


def test_promises_of_the_dma_api_are_kept(vm, nic_of):
    """By the module's own checks on both processors: copies, syncs, short writes, recycled pages, XDP's too, full pools. Some fail without it."""
    nic = nic_of("iavf")
    nic.unbind()
    found = nic.check()
    assert len(found) == 16, found
    assert {name for name, result in found.items() if result != "ok"} - {"syncs_are_wanted"} == NEED_THE_MODULE
    for ours, theirs in PARAMETERS:
        nic.insert(**ours)
        found = nic.check(**theirs)
        assert len(found) == 16 and set(found.values()) == {"ok"}, (ours, found)
        nic.remove()
    nic.bind()
    bring_up(nic)


@pytest.mark.exhaustive
def test_full_pools_lose_nothing(vm, nic_of):
    """What finds no slot is mapped by the kernel; it arrives all the same, is counted, and the log says so once."""
    def complaints():
        return int(vm.check("dmesg | grep -c 'mapped the kernel.s way'; true"))

    nic = nic_of("iavf")
    bring_up(nic)
    nic.load(tx_mb=2, rx_mb=2)  # two rings of 512 pages
    bring_up(nic)
    for _ in range(60):  # the log speaks 10 s after the first that found no slot
        exchange(nic)
        if complaints():
            break
    for _ in range(5):
        exchange(nic)
    stats = nic.stats()
    assert stats["fallbacks_full"] > 0 and stats["rx_bytes_peak"] == stats["rx_bytes"] == 2 << 20, stats
    assert complaints() == 1
    assert faults(nic) == {}


@pytest.mark.parametrize("large", [0, 1], ids=["slot", "mapped-by-the-kernel"])
def test_buffer_that_outlives_its_driver(vm, nic_of, large):
    """As a page_pool's pages do, on some kernels: its slot is there until it is unmapped, though another driver has come and gone meanwhile."""
    def another_driver():
        assert vm.run("rmmod vmux_shadow").status != 0, "the module went although a buffer is to come back through it"
        nic.bind()
        bring_up(nic)
        nic.unbind()
        assert vm.run("rmmod vmux_shadow").status != 0, "the module went although a buffer is to come back through it"

    nic = nic_of("iavf")
    nic.unbind()
    nic.insert()
    assert nic.check(another_driver, late=1, large=large) == {"late": "ok"}
    nic.remove()
    nic.bind()


def test_unplugged_device_lets_the_module_go(vm, nic_of):
    """Although nobody unmaps pools any more of a domain that is gone with its device."""
    def unplug():
        vm.check(f"echo 1 >/sys/bus/pci/devices/{nic.bdf}/remove")

    nic = nic_of("iavf")
    nic.unbind()
    nic.insert()
    assert set(nic.check(unplug, late=1)) == {"late"}  # it comes to us no more where the kernel takes an unplugged device's operations away
    nic.remove()
    vm.check("echo 1 >/sys/bus/pci/rescan")
    bring_up(nic)


def reflected(nic, count):
    """Frames of random bytes to the NIC and back, out of the buffers that they were received into (tests/in_guest/reflect.bpf.c)."""
    theirs = mac_bytes(nic.guest.check(f"cat /sys/class/net/{nic.name()}/address").strip())
    ours = mac_bytes(json.loads(sh(f"ip -j link show {TAP}"))[0]["address"])
    with raw_socket(TAP, REFLECTED) as tap:
        tap.settimeout(60)
        for _ in range(count):
            payload = os.urandom(900)
            tap.send(theirs + ours + struct.pack("!H", REFLECTED) + payload)
            frame = tap.recv(2000)
            while frame[:6] != ours:  # what was sent is heard too
                frame = tap.recv(2000)
            assert frame[14] == payload[0] ^ 0xFF and frame[15:] == payload[1:], "what came back is not what was sent"


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", ["virtio-net", "e810"])
def test_xdp_sends_what_it_has_changed(vm, nic_of, model, tmp_path):
    """Newer drivers map both ways what XDP receives into. Without a pool for that the kernel maps it, with one no packet costs a map."""
    program = tmp_path / "reflect.o"
    subprocess.run(["clang", "-O2", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", SOURCE, "-o", program], check=True)
    vm.check(f"echo {base64.b64encode(program.read_bytes()).decode()} | base64 -d >/tmp/reflect.o")
    package = base64.b64encode(ddp.package()).decode()  # ice has no XDP without one
    vm.check(f"mkdir -p {os.path.dirname(PACKAGE)} && echo {package} | base64 -d >{PACKAGE}")
    nic = nic_of(model)
    for both_mb in (0, 32):
        nic.load(both_mb=both_mb, rx_mb=40)  # two rings of 2,048 buffers, each two pages where ice makes room for XDP's headers
        bring_up(nic)
        vm.check(f"ip link set dev {nic.name()} xdpdrv obj /tmp/reflect.o sec xdp")
        wait_for_peer(vm, HOST[model])
        reflected(nic, 10)
        messages = messages_during(nic, lambda: reflected(nic, 100))
        stats = nic.stats()
        is_both_ways = stats["fallbacks_no_pool"] > 0 or stats["syncs_for_device"] > 0
        assert is_both_ways == (model == "e810" and vm.kernel == "7.2"), stats
        assert messages == 0 or (is_both_ways and not both_mb)
        assert stats["fallbacks_full"] == stats["strays"] == 0 and (both_mb == 0 or stats["fallbacks_no_pool"] == 0), stats
        exchange(nic)
        vm.check(f"ip link set dev {nic.name()} xdpdrv off")
        nic.unload()
