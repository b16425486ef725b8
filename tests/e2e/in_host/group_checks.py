# SPDX-License-Identifier: BSD-3-Clause
"""Groups of several functions, and what is said when a function cannot be had."""
import os

import pytest
from rig import BIN, E1000A, E1000B, E1000E, check_intx, model, sh, sysfs, vu


def refusal(daemon, *options):
    said = daemon.ctl_run("port", "add", "x", "--model", "passthrough", "--socket", daemon.socket("x"), *options)
    assert said.returncode != 0
    return said.stderr


def test_sentences_say_what_is_wrong_and_what_mends_it(daemon):
    assert "there is no PCI device 0000:7f:00.0; see: lspci -D" in refusal(daemon, "--device", "7f:00.0")
    assert f"{E1000A} is bound to e1000 instead of vfio-pci: vmuxctl host bind {E1000A}" in \
        refusal(daemon, "--device", E1000A)
    assert f"{E1000E} is that of port card" in refusal(daemon, "--device", E1000E)
    assert "no side on a switch" in refusal(daemon, "--device", E1000A, "--mac", "02:00:00:00:00:01")


def test_without_permission_the_file_is_named(daemon):
    group = (sysfs(E1000E) / "iommu_group").resolve().name
    said = sh(f"install -d -o 65534 /tmp/nobody; cd /tmp/nobody; setpriv --reuid 65534 --regid 65534 --clear-groups timeout 20 "
              f"{BIN}/vmux --rpc /tmp/nobody/rpc.sock -d {E1000E} -s /tmp/nobody/vm.sock -m passthrough; test $? = 1")
    assert f"/dev/vfio/{group} may not be opened: run vmux as root, or give it to vmux's user: chown USER /dev/vfio/{group}" in said


def test_a_group_that_is_not_viable_names_the_devices_and_the_command(daemon):
    sh(f"echo {E1000A} >{sysfs(E1000A)}/driver/unbind; echo vfio-pci >{sysfs(E1000A)}/driver_override; "
       f"echo {E1000A} >/sys/bus/pci/drivers_probe")
    said = refusal(daemon, "--device", E1000A)
    assert f"shares IOMMU group" in said and f"with {E1000B} (driver e1000)" in said
    command = said[said.index("vmuxctl host bind"):].strip()
    sh(f"{BIN}/{command}")  # what it tells to do is what helps
    daemon.add_port("twin0", "--device", E1000A, model="passthrough")


def test_functions_of_one_group_serve_one_vm(daemon):
    daemon.add_port("twin1", "--device", E1000B, model="passthrough")
    fd = os.memfd_create("vm")
    os.ftruncate(fd, 1 << 20)
    with vu.Vmm(daemon.socket("twin0")) as one, vu.Vmm(daemon.socket("twin1")) as two:
        for vmm in (one, two):
            vmm.enable()
            vmm.dma_map(fd, 0, 1 << 20, 0)
        counters = model(daemon, "twin1")
        assert (counters["dma.maps"], counters["dma.shared"], counters["dma.pages_pinned"]) == (1, 1, 256)
        with pytest.raises(vu.Refused):
            two.give_memory(1 << 20, iova=0)  # another VM's memory at the same place
        check_intx(one)
        check_intx(two)
    os.close(fd)
