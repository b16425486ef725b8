# SPDX-License-Identifier: BSD-3-Clause
"""Live migration of a machine with a vfio-pci device, by a QEMU that knows the kernel's VFIO only: the state of the device
goes from one vfio-user server to another. Nothing is emulated but the machine: QEMU's test protocol plays the guest."""
import contextlib
import subprocess

import pytest
from guest import CACHE
from harness import BIN
from harness.interposer import BDF, behind_interposer
from harness.machine import TestedMachine

SLOT = 5
BAR_AT = 0xfe000000
SCRATCH, ADDRESS, LENGTH, COMMAND, STATUS = 0x00, 0x10, 0x18, 0x1c, 0x20  # tests/preload/probe_device.hpp
FILL, DONE = 2, 1
PAGE = 0x300000

CASES = {
    "container": (f"vfio-pci,host={BDF}", []),
    "iommufd": (f"vfio-pci,host={BDF},iommufd=fd0", ["-object", "iommufd,id=fd0"]),
}


@contextlib.contextmanager
def probe_server(path):
    server = subprocess.Popen([str(BIN.parent / "tests" / "probe-server"), str(path)], stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"ready\n"
        yield path
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@contextlib.contextmanager
def machine(directory, name, device, more):
    with probe_server(directory / f"{name}.sock") as path:
        line = [str(CACHE / "bin" / "qemu-system-x86_64"), "-nodefaults", "-display", "none", "-machine", "q35,memory-backend=ram",
                "-m", "64", "-object", "memory-backend-memfd,id=ram,size=64M,share=on", *more,
                "-device", f"{device},addr={SLOT:#x},enable-migration=on"]
        made = TestedMachine(directory, name, lambda rest: behind_interposer([path], line + rest, "--trace"))
        try:
            yield made
        except BaseException:
            print(f"--- {name}:\n{made.log()[-4000:]}")
            raise
        finally:
            made.close()


@pytest.mark.parametrize("case", CASES)
def test_state_goes_along_with_the_machine(tmp_path, case):
    device, more = CASES[case]
    with machine(tmp_path, "source", device, more) as source, \
            machine(tmp_path, "target", device, [*more, "-incoming", "defer"]) as target:
        source.write_config(SLOT, 0x10, BAR_AT)
        source.write_config(SLOT, 0x04, 7)
        source.write(BAR_AT + SCRATCH, 0x1122334455667788, 8)
        source.write(BAR_AT + ADDRESS, PAGE, 8)
        source.write(BAR_AT + LENGTH, 64, 4)
        source.write(BAR_AT + COMMAND, FILL, 4)
        assert source.read(BAR_AT + STATUS, 4) == DONE
        # vfio-user has no message that asks how much state there is, so QEMU reckons with 100 GiB of it.
        source.qmp("migrate-set-parameters", **{"downtime-limit": 2_000_000, "avail-switchover-bandwidth": 10 ** 12})
        target.qmp("migrate-incoming", uri=f"unix:{tmp_path / 'stream'}")
        source.qmp("migrate", uri=f"unix:{tmp_path / 'stream'}")
        assert source.wait_for_migration() == "completed"
        assert target.wait_for_migration() == "completed"
        assert target.qmp("query-status")["running"]
        assert target.read(BAR_AT + SCRATCH, 8) == 0x1122334455667788
        assert target.read(PAGE, 8) == 0xa5a5a5a5a5a5a5a5
        assert target.read(PAGE + 64, 8) == 0
        target.write(BAR_AT + SCRATCH, 5, 8)  # and it is alive there
        assert target.read(BAR_AT + SCRATCH, 8) == 5
        assert source.qmp("query-migrate")["vfio"]["transferred"] > 0
        assert "FEATURE = 0" in source.log() and "FEATURE = 0" in target.log()
