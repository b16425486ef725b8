# SPDX-License-Identifier: BSD-3-Clause
"""Boot ROMs (iPXE) on a NIC: a DHCP and HTTP server for one machine, and proof on both sides of what was fetched.

Knows nothing of vmux: `interface` is whatever the NIC's wire comes out at.

    server = BootServer(tmp_path, "tap0", "10.79.0.1", "10.79.0.57").start()
    rom = RomMachine(tmp_path, {"driver": "vfio-user-pci", "romfile": "pxe-e1000.rom", "bootindex": 0, "socket": ...}, qemu)
    server.wait_for_boot(rom)
"""
import re
import secrets
import subprocess
import time
from pathlib import Path

from children import die_with_parent

STEPS = 1500  # lines of the second script: it takes many segments, and one lost or doubled shows in its sum


def _start(command, log):
    with open(log, "wb") as output:
        return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT, preexec_fn=die_with_parent)


def _end(process):
    if process and process.poll() is None:
        process.kill()
        process.wait()


class BootServer:
    """Leases `lease` to whoever asks, and serves two scripts. `prefix` goes before commands (ip netns exec NAME)."""

    def __init__(self, directory, interface, address, lease, prefix=()):
        self.directory, self.interface = Path(directory) / "boot-server", interface
        self.address, self.lease, self.prefix = address, lease, list(prefix)
        self.secret = secrets.token_hex(8)  # in the second script only
        self.processes = []

    def start(self):
        files = self.directory / "files"
        files.mkdir(parents=True)
        (files / "first.ipxe").write_text(
            f"#!ipxe\necho first script on ${{net0/mac}}, lease ${{net0/ip}} of ${{net0/dhcp-server}}\n"
            f"chain http://{self.address}/second-${{net0/ip}}.ipxe || echo second script: failed\n")
        (files / f"second-{self.lease}.ipxe").write_text("#!ipxe\nset sum:int32 0\n" + "inc sum\n" * STEPS +
                                           f"echo second script {self.secret} adds up to ${{sum:int32}}\n"
                                           "sleep 1000\n")
        lease_file = self.directory / "leases"
        lease_file.touch()
        (self.directory / "udhcpd.conf").write_text(
            f"interface {self.interface}\nstart {self.lease}\nend {self.lease}\nmax_leases 1\n"
            f"lease_file {lease_file}\npidfile {self.directory}/pid\nsiaddr {self.address}\n"
            f"boot_file http://{self.address}/first.ipxe\noption subnet 255.255.255.0\noption lease 600\n")
        self.processes = [
            # -a: the one address is free, there is nobody to ask.
            _start([*self.prefix, "busybox", "udhcpd", "-f", "-a", "1", self.directory / "udhcpd.conf"],
                   self.directory / "dhcp.log"),
            _start([*self.prefix, "busybox", "httpd", "-f", "-vv", "-p", f"{self.address}:80", "-h", files],
                   self.directory / "http.log"),
        ]
        return self

    def stop(self):
        for process in self.processes:
            _end(process)

    def log(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def expected(self, mac):
        """What only a machine that had the lease and both files, whole, can have written on its console."""
        return [f"first script on {mac}, lease {self.lease} of {self.address}",
                f"second script {self.secret} adds up to {STEPS}"]

    def wait_for_boot(self, machine, mac, timeout=300):
        """Until the machine has said so, and then looks whether the servers saw the same."""
        lines = self.expected(mac)
        deadline = time.monotonic() + timeout
        while not all(line in machine.console() for line in lines):
            assert machine.is_alive(), f"QEMU ended:\n{machine.story()}"
            assert time.monotonic() < deadline, f"no boot within {timeout} s:\n{self.story()}\n{machine.story()}"
            time.sleep(0.2)
        assert f"sending ACK to {self.lease}" in self.log("dhcp"), self.story()
        for name in ("first", f"second-{self.lease}"):
            assert re.search(rf"{re.escape(self.lease)}:\d+: url:/{name}.ipxe", self.log("http")), self.story()

    def story(self):
        return f"--- DHCP\n{self.log('dhcp')}--- HTTP\n{self.log('http')}"


class RomMachine:
    """QEMU with a boot ROM and nothing to boot but the network; the console is the serial line."""

    def __init__(self, directory, device, qemu, memory="64M"):
        self.directory = Path(directory)
        self.line = [str(qemu), "-machine", "q35,memory-backend=ram,graphics=off", "-accel", "tcg", "-cpu", "qemu64",
                     "-m", memory, "-object", f"memory-backend-memfd,id=ram,size={memory},share=on", "-nodefaults",
                     "-no-user-config", "-display", "none", "-serial", f"file:{self.directory}/rom-console",
                     "-device", device]
        self.process = None

    def start(self):
        (self.directory / "rom-console").unlink(missing_ok=True)
        self.process = _start(self.line, self.directory / "rom-qemu.log")
        return self

    def is_alive(self):
        return self.process.poll() is None

    def console(self):
        path = self.directory / "rom-console"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        _end(self.process)

    def story(self):
        return f"--- QEMU\n{(self.directory / 'rom-qemu.log').read_text(errors='replace')}--- console\n{self.console()}"
