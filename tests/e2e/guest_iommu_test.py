# SPDX-License-Identifier: BSD-3-Clause
"""A guest with an IOMMU changes how its NICs see memory: QEMU has nothing to complain about, and the NICs work after it."""
import json

import pytest
from conftest import Rig, and_exhaustively
from guest import KERNELS, Guest
from harness.stations import sh

TAP = "vmuxiommu0"
NICS = {"e1000": ("10.64.1.1", "10.64.1.2"), "iavf": ("10.64.2.1", "10.64.2.2")}  # the host's address, the guest's


@pytest.fixture(scope="module", params=KERNELS, ids="linux-{}".format)
def any_kernel(request):
    return request.param


@pytest.fixture(scope="module")
def vm(any_kernel, tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("iommu"))
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", TAP)
    sh(f"ip addr add {NICS['e1000'][0]}/24 dev {TAP}; ip addr add {NICS['iavf'][0]}/24 dev {TAP}; ip link set {TAP} up")
    options = ["-device", "intel-iommu,intremap=off,caching-mode=on"]  # before all devices that it is for
    for name in NICS:
        options += ["-device", json.dumps(Guest.device(vmux.add_port(name, model=name), name))]
    guest = rig.guest("iommu", kernel=any_kernel, append="intel_iommu=on", qemu_args=options)
    rig.boot(guest)
    yield guest
    rig.close()


def bring_up(guest, model):
    host, address = NICS[model]
    guest.check(f"""until name=$(ls /sys/bus/pci/drivers/{model}/*/net/ 2>/dev/null | grep -m 1 .); do sleep 0.1; done
        ip addr add {address}/24 dev $name; ip link set $name up; ping -q -c 1 -i 0.2 -w 60 {host}""")


@pytest.mark.parametrize("model", and_exhaustively(["iavf"], ["e1000"]))
def test_mode_of_a_group_changes(vm, model):
    """From translation to none and back, by unbinding the driver each time, as the kernel wants it."""
    where = f"$(basename $(readlink -f /sys/bus/pci/drivers/{model}/0*))"
    bdf = vm.check(f"echo {where}").strip()
    group = f"/sys/bus/pci/devices/{bdf}/iommu_group/type"
    bring_up(vm, model)
    before = vm.check(f"cat {group}").strip()
    assert before.startswith("DMA"), before
    for mode in ("identity", before, "identity", before):
        vm.check(f"echo {bdf} >/sys/bus/pci/drivers/{model}/unbind && echo {mode} >{group} && echo {bdf} >/sys/bus/pci/drivers/{model}/bind")
        assert vm.check(f"cat {group}").strip() == mode
        bring_up(vm, model)
    assert "vfio" not in (vm.directory / "qemu.log").read_text(errors="replace")
