# SPDX-License-Identifier: BSD-3-Clause
"""Devices that others write: the tutorial's and its shortest form in each language, and the Python package's educational device, under a stock kernel and QEMU; and
what docs/debugging.md has for who writes them."""
import contextlib
import fnmatch
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Rig
from harness import BIN
from harness.vmux import wait_until
from guest import CACHE  # noqa: E402  (in lab/, put on the path by harness)

CHECKOUT = Path(__file__).resolve().parent.parent.parent
TUTORIAL = BIN.parent / "tests/tutorial"
COPIERS = {f"{kind}-{language}": [*before, TUTORIAL / f"{kind}{suffix}"] for kind in ("copier", "shortest")
           for language, before, suffix in (("cpp", [], "-cpp"), ("c", [], "-c"), ("python", [sys.executable], ".py"))}
DEVICES = {**COPIERS, "edu": [sys.executable, CHECKOUT / "python/examples/edu.py"]}
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


@pytest.mark.parametrize("name", COPIERS)
def test_device_of_the_tutorial_copies_and_interrupts(guest, name):
    script, number = put_script(guest, TUTORIAL / "copier-guest.sh"), list(COPIERS).index(name) + 1
    assert guest.check(f"{script} {number}").split("\n")[:2] == ["copied: 0xFEEDFACE", "status: 0x00000001"]


def test_educational_device_computes_copies_and_interrupts(guest):
    output = guest.check(put_script(guest, CHECKOUT / "python/examples/edu-guest.sh"))
    assert output.endswith("edu: all is right\n"), output


QEMU = str(CACHE / "bin" / "qemu-system-x86_64")


@contextlib.contextmanager
def qemu_without_a_guest(socket_path, directory, *more):
    """Firmware only: enough for a device to be found and its BARs to be placed. What asks its monitor."""
    device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(socket_path)}}
    process = subprocess.Popen([QEMU, "-nodefaults", "-display", "none", "-machine", "q35,memory-backend=ram", "-m", "64M",
                                "-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-device", json.dumps(device),
                                "-monitor", f"unix:{directory}/monitor,server=on,wait=off", *more], stdin=subprocess.DEVNULL)
    try:
        wait_until((directory / "monitor").exists, "QEMU's monitor")
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(90)
            monitor.connect(str(directory / "monitor"))

            def ask_monitor(command):
                text = b""
                if command:
                    monitor.sendall(command.encode() + b"\n")
                while not text.endswith(b"(qemu) "):
                    text += monitor.recv(65536)
                return text.decode()

            ask_monitor("")
            yield ask_monitor
    finally:
        process.kill()
        process.wait()


def test_qemus_traces_and_monitor_show_what_the_page_about_debugging_says(tmp_path):
    page = (CHECKOUT / "docs/debugging.md").read_text()
    traces = re.findall(r"-trace '([^']+)'", page)
    known = subprocess.run([QEMU, "-trace", "help"], capture_output=True, text=True, timeout=90).stdout.split()
    assert len(traces) >= 5 and all(fnmatch.filter(known, pattern) for pattern in traces), traces
    path, log = tmp_path / "copier.sock", tmp_path / "qemu.log"
    options = [word for pattern in traces for word in ("-trace", pattern)] + ["-D", str(log)]
    with served(DEVICES["copier-cpp"], path, tmp_path / "copier.log"), qemu_without_a_guest(path, tmp_path, *options) as ask_monitor:
        wait_until(lambda: re.search(r"i/o\): vfio-user:\S+ BAR 0", ask_monitor("info mtree -f")), "the BAR to be placed, and to trap")
        assert "pci id 1234:0c0f" in ask_monitor("info qtree") and "1234:0c0f" in ask_monitor("info pci")
        assert "00001000: 0x" in ask_monitor("xp /4xw 0x1000")
    seen = {line.split()[0] for line in log.read_text().splitlines() if line.startswith("vfio")}
    assert {"vfio_user_version", "vfio_user_region_rw", "vfio_region_setup"} <= seen, seen


LAB = CHECKOUT / "lab"


def run_guest(*arguments):
    return subprocess.Popen([str(LAB / "run-guest"), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.exhaustive
def test_kernel_and_modules_of_ones_own_are_in_the_guest(tmp_path):
    (tmp_path / "mine.ko").write_text("no module")
    other = next(path for path in sorted((CACHE / "kernels").glob("*/vmlinux")) if path.parent.name != "6.1")
    version = (other.parent / "version").read_text().strip()
    process = run_guest("--kernel", other.parent.name, "--kernel-file", other, "--modules", tmp_path, "--", "uname -r; cat /modules/mine.ko")
    output, _ = process.communicate(timeout=300)
    assert (process.returncode, output) == (0, f"{version}\nno module")


def ask(gdb, request):
    """The answer of a gdb stub to a packet."""
    gdb.sendall(f"${request}#{sum(request.encode()) % 256:02x}".encode())
    answer = b""
    while b"#" not in answer.partition(b"$")[2][:-2]:
        answer += gdb.recv(4096)
    gdb.sendall(b"+")
    return answer.partition(b"$")[2].partition(b"#")[0].decode()


@pytest.mark.exhaustive
def test_gdb_holds_a_guest_until_it_continues(tmp_path):
    process = run_guest("--gdb", tmp_path / "gdb", "--wait-for-gdb", "--", "echo on we go")
    try:
        wait_until((tmp_path / "gdb").exists, "gdb's socket")
        with socket.socket(socket.AF_UNIX) as gdb:
            gdb.connect(str(tmp_path / "gdb"))
            status = ask(gdb, "qRcmd," + b"info status".hex())
            assert "prelaunch" in bytes.fromhex(status.removeprefix("O")).decode()
            gdb.sendall(b"$c#63")
            output, _ = process.communicate(timeout=300)
        assert (process.returncode, output) == (0, "on we go\n")
    finally:
        process.kill()


def test_run_guest_says_what_is_wrong(tmp_path):
    done = subprocess.run([str(LAB / "run-guest"), "--kernel-file", str(tmp_path / "none"), "--", "true"], capture_output=True, text=True)
    assert done.returncode == 2 and "no such file" in done.stderr
    (tmp_path / "kernel").write_text("no kernel")
    done = subprocess.run([str(LAB / "run-guest"), "--kernel-file", str(tmp_path / "kernel"), "--", "true"], capture_output=True, text=True)
    assert done.returncode == 125
