# SPDX-License-Identifier: BSD-3-Clause
"""VMMs that know the kernel's VFIO only, behind the interposer: Debian 12's QEMU 7.2, and a new QEMU by way of iommufd."""
import pytest
from conftest import and_exhaustively
from harness.interposer import BDF, VfioGuest, old_qemu
from harness.traffic import give_address, iperf, mbits, ping, wait_for_peer
from harness.vmux import wait_until

CASES = {
    # the machine's QEMU, which opens a group and a container
    "old-host": dict(program=old_qemu(), device=f"vfio-pci,host={BDF}"),
    "old-sysfsdev": dict(program=old_qemu(), device=f"vfio-pci,sysfsdev=/sys/bus/pci/devices/{BDF}"),
    # the lab's QEMU, with /dev/iommu and the device's own character device
    "new-iommufd": dict(device=f"vfio-pci,host={BDF},iommufd=fd0", qemu_args=["-object", "iommufd,id=fd0"]),
}


@pytest.mark.parametrize("case", and_exhaustively(["old-host", "new-iommufd"], ["old-sysfsdev"]))
def test_guest_drives_the_card(rig, case):
    options = CASES[case]
    if case.startswith("old") and not options["program"]:
        pytest.skip("the machine has no QEMU of its own (qemu-system-x86)")
    daemon = rig.vmux()
    vfio = VfioGuest("vfio", daemon.add_port("vfio"), **options)
    rig.adopt(vfio)
    peer = rig.guest("peer", sockets=[daemon.add_port("peer")])
    rig.boot(vfio, peer)
    assert "e1000" in vfio.check("readlink /sys/class/net/eth0/device/driver")
    mac = next(port["mac"] for port in daemon.ctl("port", "list") if port["name"] == "vfio")
    assert vfio.check("cat /sys/class/net/eth0/address").strip() == mac
    give_address(vfio, "10.79.0.1/24")
    give_address(peer, "10.79.0.2/24")
    wait_for_peer(vfio, "10.79.0.2")
    assert ping(vfio, "10.79.0.2", count=20).loss == 0
    assert ping(peer, "10.79.0.1", count=20).loss == 0
    assert mbits(iperf(vfio, peer, "10.79.0.2")) > 1
    assert mbits(iperf(vfio, peer, "10.79.0.2", options="-R")) > 1
    line = vfio.check("grep eth0 /proc/interrupts")  # INTx: this card has nothing else
    assert "fasteoi" in line and sum(int(word) for word in line.split()[1:] if word.isdigit()) > 20
    assert vfio.qmp("query-status")["running"]


@pytest.mark.exhaustive
def test_private_guest_memory_is_shared_on_request(rig):
    """A VM without a shared memory backend: its driver's rings are in memory that only QEMU has, unless asked otherwise."""
    if not old_qemu():
        pytest.skip("the machine has no QEMU of its own (qemu-system-x86)")
    daemon = rig.vmux()
    vfio = VfioGuest("private", daemon.add_port("vfio"), program=old_qemu(), run_options=["--share-anonymous"],
                     shared_memory=False)
    rig.adopt(vfio)
    peer = rig.guest("peer", sockets=[daemon.add_port("peer")])
    rig.boot(vfio, peer)
    give_address(vfio, "10.79.0.1/24")
    give_address(peer, "10.79.0.2/24")
    wait_for_peer(vfio, "10.79.0.2")
    assert ping(vfio, "10.79.0.2", count=20).loss == 0


def test_guest_outlives_its_card(rig):
    """The server is killed: the card is lost, the VM is not."""
    if not old_qemu():
        pytest.skip("the machine has no QEMU of its own (qemu-system-x86)")
    daemon = rig.vmux()
    vfio = VfioGuest("vfio", daemon.add_port("vfio"), program=old_qemu())
    rig.adopt(vfio)
    rig.boot(vfio)
    daemon.process.kill()
    daemon.process.wait()
    rig.disown(daemon)
    vfio.run("ip link set eth0 up; ethtool -d eth0")
    assert vfio.check("echo alive").strip() == "alive"
    wait_until(lambda: "is lost" in (vfio.directory / "qemu.log").read_text(), "the interposer to say so")
