# SPDX-License-Identifier: BSD-3-Clause
"""Physical functions through vMux, in a host VM with an IOMMU: the kernel's real VFIO, VT-d and drivers.

One boot runs in_host/*_checks.py, in this order; each check of them is a test here. A VM in this VM, and the long comparison with the kernel, are for
`make test-all`: they take as long as all the rest, and on a slow machine three times that."""
import ast
import re
import sys
from pathlib import Path

import pytest
from harness import BIN
from host_vm import HostVm

pytestmark = pytest.mark.timeout(4500)  # the first of these waits for all of the checks

LOG = BIN.parent.parent / "test-logs/in_host.log"  # what the checks said, with the seconds that each took
DIRECTORY = Path(__file__).resolve().parent / "in_host"
FILES = [f"{theme}_checks.py" for theme in ("endpoint", "kernel", "server", "interrupt", "memory", "reset", "group", "driver", "survival",
                                             "nvme", "nested")]
EXHAUSTIVE = {"server_checks.py", "nested_checks.py"}


# Not a NIC. A disk of zeros is enough.
NVME = ["-drive", "if=none,id=disk,driver=null-co,size=16M,read-zeroes=on",
        "-device", "nvme,drive=disk,serial=vmux-disk,bus=pcie.0,addr=0x10"]


def names_of(file):
    return [f"{file}::{node.name}" for node in ast.parse((DIRECTORY / file).read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.fixture(scope="module")
def told(request):
    """What the checks said: the outcomes of each (of all its parameters), and all of the text."""
    files = FILES if request.config.getoption("--every-kernel") else [file for file in FILES if file not in EXHAUSTIVE]
    host = HostVm(qemu_args=NVME)
    try:
        host.start()
        text = host.run(f"cd {DIRECTORY} && {sys.executable} -m pytest -c /dev/null --rootdir=. -p no:cacheprovider "
                        f"-vv -rA --durations=0 --durations-min=1 --basetemp=/tmp/checks {' '.join(files)}", timeout=4200).output
        text += host.run("dmesg | tail -n 30").output
    finally:
        host.stop()
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text(text)
    outcomes = {}
    for name, outcome in re.findall(r"^(\w+\.py::test_\w+)(?:\[\S+\])? (PASSED|FAILED|ERROR|SKIPPED)", text, re.MULTILINE):
        outcomes.setdefault(name, set()).add(outcome)
    return outcomes, text


def test_all_checks_have_a_place():
    assert sorted(FILES) == sorted(path.name for path in DIRECTORY.glob("*_checks.py"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.exhaustive if file in EXHAUSTIVE else ())
                                  for file in FILES for name in names_of(file)])
def test_in_host(told, name):
    outcomes, text = told
    assert outcomes.get(name) == {"PASSED"}, text[-20000:]


def test_without_an_iommu_the_sentence_says_how_to_have_one():
    host = HostVm(append="intel_iommu=off")
    try:
        host.start()
        said = host.run(f"{BIN}/vmux --rpc /tmp/rpc.sock -d 0000:02:00.0 -s /tmp/vm.sock -m passthrough; echo status $?").output
    finally:
        host.stop()
    assert "0000:02:00.0 is not behind an IOMMU that the kernel uses: switch it on in the firmware" in said, said
    assert "add intel_iommu=on" in said, said
    assert "status 1" in said
