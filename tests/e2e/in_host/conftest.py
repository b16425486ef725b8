# SPDX-License-Identifier: BSD-3-Clause
"""One daemon on the host VM's real VFIO for all checks."""
import pytest
from rig import BIN, E1000A, E1000B, E1000E, PF, VF0, VF1, bind, interface, interface_of, probe, sh, sysfs, vu
from harness.vmux import Vmux


@pytest.fixture(scope="session", autouse=True)
def host():
    """VFs with addresses of their own, the PF up, and the functions of these tests given to vfio-pci."""
    sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    (sysfs(PF) / "sriov_numvfs").write_text("2")
    name = interface(PF)
    for number in (0, 1):
        sh(f"ip link set {name} vf {number} mac 52:54:00:00:01:1{number} trust on spoofchk off")
    sh(f"ip addr add 10.9.0.1/24 dev {name}; ip link set {name} up")
    sh(f"ip link set {interface_of('52:54:00:00:02:01')} up; ip link set {interface_of('52:54:00:00:04:01')} up")
    bind(VF0, VF1, E1000E)
    # The kernel would reset this card through its power states, and the emulated card does nothing then. Without a
    # reset of its own it is reset with its bus.
    (sysfs(E1000E) / "reset_method").write_text("\n")


@pytest.fixture(scope="session")
def kernels_answers(host):
    """What the kernel's own VFIO says of a card of each kind, by its address, before the daemon has it."""
    bind(E1000A, E1000B)
    said = {address: probe("vfio_probe.py", address) for address in (E1000E, VF0, E1000A)}
    sh(f"{BIN}/vmuxctl host unbind {E1000A} {E1000B}")
    return said


@pytest.fixture(scope="session")
def daemon(kernels_answers, tmp_path_factory):
    """The daemon that most tests share: two VFs, an e1000e, and an emulated port beside them."""
    made = Vmux(tmp_path_factory.mktemp("vmux")).start()
    for name, address in (("vf0", VF0), ("vf1", VF1), ("card", E1000E)):
        made.add_port(name, "--device", address, model="passthrough")
    made.add_port("emulated")
    yield made
    assert made.is_alive(), made.log()
    assert made.stop() == 0, made.log()


@pytest.fixture
def card(daemon):
    """A VMM with the e1000e, its registers switched on."""
    with vu.Vmm(daemon.socket("card")) as vmm:
        vmm.enable()
        yield vmm


@pytest.fixture
def vf(daemon):
    with vu.Vmm(daemon.socket("vf0")) as vmm:
        vmm.enable()
        yield vmm
