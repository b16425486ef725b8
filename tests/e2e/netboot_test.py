# SPDX-License-Identifier: BSD-3-Clause
"""A VM boots from the network through our e1000, with the driver of iPXE's ROM: polled, without interrupts, from a BIOS."""
import contextlib
import json
import subprocess

from guest import CACHE
from harness.netboot import BootServer, RomMachine

TAP, NAMESPACE = "vmuxpxe", "vmuxpxe"
SERVER, LEASE, MAC = "10.79.0.1", "10.79.0.57", "52:54:00:77:00:01"


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def network(vmux):
    """The other end of the VM's wire, in a network namespace: no other DHCP server or client can get in between."""
    subprocess.run(["ip", "netns", "del", NAMESPACE], capture_output=True, check=False)
    sh(f"ip netns add {NAMESPACE}")
    try:
        vmux.ctl("uplink", "add", "wire", "--backend", "tap", "--device", TAP)
        sh(f"ip link set {TAP} netns {NAMESPACE} && ip -n {NAMESPACE} addr add {SERVER}/24 dev {TAP} && "
           f"ip -n {NAMESPACE} link set {TAP} up")
        yield ["ip", "netns", "exec", NAMESPACE]
        vmux.ctl("uplink", "remove", "wire")
    finally:
        sh(f"ip netns del {NAMESPACE}")


def test_ipxe_gets_a_lease_and_fetches_two_scripts(rig, tmp_path):
    vmux = rig.vmux()
    path = vmux.add_port("vm0", "--mac", MAC)
    device = json.dumps({"driver": "vfio-user-pci", "romfile": "pxe-e1000.rom", "bootindex": 0,
                         "socket": {"type": "unix", "path": str(path)}})
    machine = RomMachine(tmp_path, device, CACHE / "bin" / "qemu-system-x86_64")
    with network(vmux) as inside, contextlib.ExitStack() as stack:
        server = BootServer(tmp_path, TAP, SERVER, LEASE, inside)
        stack.callback(server.stop)
        server.start()
        stack.callback(machine.stop)
        machine.start()
        server.wait_for_boot(machine, MAC)
        model = vmux.stats("vm0")["model"]
        assert {name: value for name, value in model.items() if "fault" in name and value != 0} == {}
    assert vmux.is_alive()
