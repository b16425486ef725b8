# SPDX-License-Identifier: BSD-3-Clause
"""U-Boot on an arm64 machine, with its own driver for the e1000, which is written against the part and QEMU's model of it."""
import contextlib
import json
import secrets
import subprocess
import zlib

from children import die_with_parent
from guest import CACHE
from harness.console import ConsoleMachine
from harness.stations import sh

TAP, HOST, ADDRESS = "vmuxuboot0", "10.65.0.1", "10.65.0.2"


def test_u_boot_pings_and_fetches_a_file(rig, tmp_path):
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", TAP)
    sh(f"ip addr add {HOST}/24 dev {TAP}; ip link set {TAP} up")
    content = secrets.token_bytes(100000)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "file").write_bytes(content)
    nic = {"driver": "vfio-user-pci", "romfile": "", "socket": {"type": "unix", "path": str(vmux.add_port("nic"))}}
    with contextlib.ExitStack() as stack:
        server = subprocess.Popen(["busybox", "httpd", "-f", "-p", f"{HOST}:80", "-h", str(tmp_path / "web")], preexec_fn=die_with_parent)
        stack.callback(server.wait)
        stack.callback(server.kill)
        machine = stack.enter_context(contextlib.closing(ConsoleMachine(tmp_path, [
            str(CACHE / "bin" / "qemu-system-aarch64"), "-machine", "virt,memory-backend=ram", "-cpu", "cortex-a57", "-accel", "tcg",
            "-m", "512M", "-object", "memory-backend-memfd,id=ram,size=512M,share=on", "-nodefaults", "-no-user-config", "-display", "none",
            "-bios", str(CACHE / "u-boot-arm64.bin"), "-device", json.dumps(nic)])))
        machine.expect("stop autoboot")
        machine.say(" ")
        machine.expect("=> ")
        for command in ("pci enum", f"setenv ipaddr {ADDRESS}", "setenv netmask 255.255.255.0", f"setenv serverip {HOST}"):
            machine.ask(command, "=> ")
        assert "e1000" in machine.ask("net list", "=> ")
        machine.ask(f"ping {HOST}", f"host {HOST} is alive")
        machine.ask(f"wget 0x50000000 {HOST}:/file", "Bytes transferred = 100000")
        machine.ask("crc32 0x50000000 0x186a0", f"{zlib.crc32(content):08x}")
