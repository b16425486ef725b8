# SPDX-License-Identifier: BSD-3-Clause
"""Devices that others write: the tutorial's in each language, and the Python package's educational device, under a stock kernel and QEMU."""
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Rig
from harness import BIN
from harness.vmux import wait_until

CHECKOUT = Path(__file__).resolve().parent.parent.parent
TUTORIAL = BIN.parent / "tests/tutorial"
DEVICES = {"cpp": [TUTORIAL / "copier-cpp"], "c": [TUTORIAL / "copier-c"], "python": [sys.executable, TUTORIAL / "copier.py"],
           "edu": [sys.executable, CHECKOUT / "python/examples/edu.py"]}
MEMORY = 0x8000000  # which the kernel leaves alone


@contextlib.contextmanager
def served(command, path, log):
    with open(log, "w") as output:
        process = subprocess.Popen([*map(str, command), str(path)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   env={**os.environ, "PYTHONPATH": str(BIN.parent / "python")})
    try:
        wait_until(path.exists, "a device's socket")
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()


def put_script(guest, path):
    guest.check(f"cat > /run/{path.name} <<'END OF SCRIPT'\n{path.read_text()}END OF SCRIPT")
    return f"sh /run/{path.name} {MEMORY:#x}"


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """A guest with all of them."""
    directory = tmp_path_factory.mktemp("devices")
    rig = Rig(directory)
    with contextlib.ExitStack() as stack:
        paths = [directory / f"{name}.sock" for name in DEVICES]
        for (name, command), path in zip(DEVICES.items(), paths):
            stack.enter_context(served(command, path, directory / f"{name}.log"))
        stack.callback(rig.close)
        yield rig.boot(rig.guest("writers", sockets=paths, append=f"memmap=64K${MEMORY:#x}"))


@pytest.mark.parametrize("number", [1, 2, 3], ids=["cpp", "c", "python"])
def test_device_of_the_tutorial_copies_and_interrupts(guest, number):
    script = put_script(guest, TUTORIAL / "copier-guest.sh")
    assert guest.check(f"{script} {number}").split("\n")[:2] == ["copied: 0xFEEDFACE", "status: 0x00000001"]


def test_educational_device_computes_copies_and_interrupts(guest):
    output = guest.check(put_script(guest, CHECKOUT / "python/examples/edu-guest.sh"))
    assert output.endswith("edu: all is right\n"), output
