# SPDX-License-Identifier: BSD-3-Clause
"""Resets, and what the next VM finds; the host wants the device back."""
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig import E1000E, ENABLE, STATUS, VET, VF1, VF_RXDCTL, bind, driver, model, sysfs, vu, wait_until
from harness.vmux import Vmux


def test_a_guests_function_level_reset_reaches_the_device(vf, daemon):
    before = model(daemon, "vf0")["resets.function_level"]
    express = vf.capabilities()[0x10]
    vf.write32(vu.BAR0, VF_RXDCTL, ENABLE)
    assert vf.read32(vu.BAR0, VF_RXDCTL) & ENABLE
    vf.write(vu.CONFIG, express + 8, struct.pack("<H", vf.config16(express + 8) | 1 << 15))
    vf.enable()
    assert model(daemon, "vf0")["resets.function_level"] == before + 1
    assert vf.read32(vu.BAR0, VF_RXDCTL) & ENABLE == 0


def test_a_clients_reset_reaches_the_device(card):
    card.write32(vu.BAR0, VET, 0x1234)
    card.reset()
    card.enable()
    assert card.read32(vu.BAR0, VET) == 0x8100


def start_killable_vmm(path):
    """A VMM in a process of its own with memory, interrupts and changed registers, which never says goodbye."""
    script = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import vfio_user as vu, time\n"
              f"vmm = vu.Vmm({str(path)!r}); vmm.enable(); fd, memory = vmm.give_memory(16 << 20)\n"
              f"vmm.listen(vu.MSI); start, bar = vmm.map_bar(0); vmm.write32(vu.BAR0, {VET}, 0x4321)\n"
              "print('up', flush=True); time.sleep(1000)")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    return process


def test_a_killed_vmm_leaves_a_clean_device(daemon):
    victim = start_killable_vmm(daemon.socket("card"))
    assert model(daemon, "card")["dma.pages_pinned"] == 4096
    victim.kill()
    victim.wait()
    with vu.Vmm(daemon.socket("card")) as vmm:
        assert vmm.config16(4) & 4 == 0, "it still masters the bus"
        vmm.enable()
        assert vmm.read32(vu.BAR0, VET) == 0x8100
        assert model(daemon, "card")["dma.pages_pinned"] == 0


def test_twenty_vms_one_after_the_other(daemon):
    for _ in range(20):
        with vu.Vmm(daemon.socket("vf0")) as vmm:
            vmm.enable()
            fd, memory = vmm.give_memory(1 << 20)
            vmm.listen(vu.MSIX, count=3)
            assert vmm.read32(vu.BAR0, STATUS) & 2
            os.close(fd)


def test_a_client_that_keeps_the_devices_descriptor_is_waited_for(daemon):
    first = vu.Vmm(daemon.socket("card"))
    first.region(vu.BAR0)
    kept = os.dup(first.fds[-1])
    first.close()
    waiting = subprocess.Popen([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
                                f"import vfio_user as vu; vu.Vmm({str(daemon.socket('card'))!r}, 120); print('served')"],
                               stdout=subprocess.PIPE)
    wait_until(lambda: not daemon.ctl("port", "show", "card")["ready"], "the device to be away")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1.5)
    os.close(kept)
    assert waiting.communicate(timeout=120)[0] == b"served\n"


def test_a_killed_vmux_leaves_a_clean_device(daemon, tmp_path):
    """While its VM lives the device is held, and vMux says by whom; then the next one gets it."""
    daemon.remove_port("vf1")
    doomed = Vmux(tmp_path / "doomed", "-d", VF1, "-s", tmp_path / "vm.sock", "-m", "passthrough").start()
    vmm = vu.Vmm(tmp_path / "vm.sock")
    vmm.enable()
    vmm.region(vu.BAR0)
    vmm.write32(vu.BAR0, VF_RXDCTL, ENABLE)
    doomed.process.kill()
    doomed.process.wait()
    said = daemon.ctl_run("port", "add", "vf1", "--model", "passthrough", "--device", VF1, "--socket",
                          daemon.socket("vf1"))
    assert said.returncode == 1 and f"{VF1} is in use: process {os.getpid()} " in said.stderr
    vmm.close()
    daemon.add_port("vf1", "--device", VF1, model="passthrough")
    with vu.Vmm(daemon.socket("vf1")) as after:
        after.enable()
        assert after.read32(vu.BAR0, VF_RXDCTL) & ENABLE == 0


def unbind_in_background(address):
    return subprocess.Popen(["sh", "-c", f"echo {address} >{sysfs(address)}/driver/unbind"])


def test_a_client_is_asked_to_give_the_device_back(daemon):
    vmm = vu.Vmm(daemon.socket("card"))
    asked = vmm.listen(vu.REQ)
    unbinding = unbind_in_background(E1000E)
    assert vu.heard(asked, 120) == 1
    vmm.close()
    unbinding.wait(120)
    assert driver(E1000E) is None
    assert not daemon.ctl("port", "show", "card")["ready"]
    assert model(daemon, "card")["release_requests"] >= 1
    with vu.Vmm(daemon.socket("card")) as nobody, pytest.raises(vu.Gone):
        for _ in range(600):
            nobody.call(vu.GET_INFO, struct.pack("<IIII", 32, 0, 0, 0))
            time.sleep(0.1)
    bind(E1000E)
    with vu.Vmm(daemon.socket("card")) as vmm:
        vmm.enable()
        assert vmm.read32(vu.BAR0, VET) == 0x8100


def test_a_client_that_does_not_listen_is_disconnected(daemon):
    vmm = vu.Vmm(daemon.socket("card"))
    unbinding = unbind_in_background(E1000E)
    with pytest.raises(vu.Gone):
        for _ in range(600):
            vmm.config16(0)
            time.sleep(0.1)
    vmm.close()
    unbinding.wait(120)
    bind(E1000E)
