# SPDX-License-Identifier: BSD-3-Clause
"""Physical functions through vMux, in a host VM with an IOMMU: the kernel's real VFIO, VT-d and drivers.

One boot runs all of in_host/passthrough_checks.py; each check of it is a test here."""
import ast
import re
import sys
from pathlib import Path

import pytest
from host_vm import HostVm

pytestmark = pytest.mark.timeout(600)  # the first of these waits for all of the checks

CHECKS = Path(__file__).resolve().parent / "in_host" / "passthrough_checks.py"
NAMES = [node.name for node in ast.parse(CHECKS.read_text()).body
         if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.fixture(scope="module")
def told():
    """What the checks said: their outcomes by name, and all of the text."""
    host = HostVm(qemu_args=["-netdev", "user,id=slirp,restrict=on", "-netdev", "hubport,id=uplink,hubid=2,netdev=slirp"])
    try:
        host.start()
        text = host.run(f"cd {CHECKS.parent} && {sys.executable} -m pytest -c /dev/null --rootdir=. -p no:cacheprovider "
                        f"-vv -rA --durations=8 --basetemp=/tmp/checks {CHECKS.name}", timeout=280).output
        text += host.run("dmesg | tail -n 30").output
    finally:
        host.stop()
    return dict(re.findall(r"::(test_\w+) (PASSED|FAILED|ERROR|SKIPPED)", text)), text


@pytest.mark.parametrize("name", NAMES)
def test_in_host(told, name):
    outcomes, text = told
    assert outcomes.get(name) == "PASSED", text[-20000:]
