# SPDX-License-Identifier: BSD-3-Clause
"""Programs that know VFIO but not vfio-user, run behind the interposer: a QEMU, and DPDK's testpmd."""
import itertools
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

from guest import Guest

from . import BIN
from .vmux import _die_with_parent

BDF = "0000:40:00.0"
_numbers = itertools.count()


def behind_interposer(sockets, command, *options):
    """The command line that runs `command` with devices at 0000:40:00.0, .1, ..."""
    line = [str(BIN / "vmux-vfio-run"), *options]
    for number, path in enumerate(sockets):
        line += ["--device", f"0000:40:00.{number}={path}"]
    return line + ["--", *command]


class VfioGuest(Guest):
    """A guest whose NIC is a vfio-pci device: nothing in its QEMU speaks vfio-user."""

    def __init__(self, name, path, program=None, device=f"vfio-pci,host={BDF}", run_options=(),
                 shared_memory=True, **options):
        super().__init__(name, **options)
        self.shared_memory = shared_memory
        self.path, self.program, self.vfio_device, self.run_options = path, program, device, run_options

    def command_line(self):
        line = super().command_line()
        line[0] = self.program or line[0]
        if not self.shared_memory:
            at = next(number for number, word in enumerate(line) if word.startswith("memory-backend-memfd"))
            del line[at - 1:at + 1]
            line = [word.replace(",memory-backend=ram", "") for word in line]
        return behind_interposer([self.path], line + ["-device", self.vfio_device], *self.run_options)


class Testpmd:
    __test__ = False  # not a test, whatever its name

    """An interactive testpmd on a pseudo terminal. Its commands are run one at a time."""

    PROMPT = "testpmd> "

    def __init__(self, name, sockets, eal=("--no-huge", "-m", "128"), options=(), vdevs=()):
        self.name, self.text, self.status = name, "", None
        eal_line = ["-l", "0,1", "--no-telemetry", f"--file-prefix={name}-{os.getpid()}-{next(_numbers)}", *eal]
        for number in range(len(sockets)):
            eal_line += ["-a", f"0000:40:00.{number}"]
        for vdev in vdevs:
            eal_line += ["--vdev", vdev]
        command = ["dpdk-testpmd", *eal_line, "--", "-i", "--total-num-mbufs=4096", "--no-mlockall", "--no-flush-rx", "--rxd=512",
                   "--txd=512", *options]
        terminal, inner = pty.openpty()
        self.terminal = terminal
        self.process = subprocess.Popen(behind_interposer(sockets, command), stdin=inner, stdout=inner, stderr=inner,
                                        close_fds=True, preexec_fn=_die_with_parent)
        os.close(inner)
        try:
            self._until_prompt(30)
        except BaseException:
            self.kill()
            raise

    def run(self, command, timeout=20):
        """What it says to a command."""
        os.write(self.terminal, command.encode() + b"\n")
        return self._until_prompt(timeout)

    def statistics(self, port=0):
        """`show port stats`: RX-packets, TX-bytes and so on."""
        return {key: int(value) for key, value in re.findall(r"([RT]X-[a-z-]+): +(\d+)", self.run(f"show port stats {port}"))}

    def port(self, device):
        """testpmd's number of a device, by its name."""
        found = re.search(r"Infos for port (\d+) [^D]*Device name: " + re.escape(device), self.run("show port info all").replace("MAC address: ", "")
                          .replace("\n", " "), re.S)
        assert found, f"{self.name} has no device {device}"
        return int(found.group(1))

    def wait_for(self, condition, what, port=0, timeout=20):
        """Until condition(statistics) holds; those statistics."""
        deadline = time.monotonic() + timeout
        while True:
            statistics = self.statistics(port)
            if condition(statistics):
                return statistics
            assert time.monotonic() < deadline, f"{self.name}: not within {timeout} s: {what}: {statistics}"
            time.sleep(0.05)

    def story(self):
        return self.text[-6000:]

    def stop(self):
        """`quit`, as a user would; the exit status."""
        try:
            if self.process.poll() is None:
                os.write(self.terminal, b"stop\nquit\n")
                self._read_until(lambda: False, 15)
                self.process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            self.kill()
        os.close(self.terminal)
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _until_prompt(self, timeout):
        start = len(self.text)
        # One prompt for each command; an event may be told after it.
        found = self._read_until(lambda: self.text.find(self.PROMPT, start) >= 0, timeout)
        assert found, f"{self.name}: no prompt within {timeout} s; it said:\n{self.story()}"
        return self.text[start:]

    def _read_until(self, condition, timeout):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                return False
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # the program has ended
                return condition()
            if not data:
                return condition()
            self.text += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data.decode(errors="replace")).replace("\r", "")
        return True


class Hugepages:
    """2 MB pages for the length of a `with`: as many as asked for on top of what there is."""

    FILE = Path("/proc/sys/vm/nr_hugepages")

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        self.before = int(self.FILE.read_text())
        self.FILE.write_text(str(self.before + self.count))
        return int(self.FILE.read_text()) >= self.before + self.count

    def __exit__(self, *_):
        self.FILE.write_text(str(self.before))


def old_qemu():
    """The machine's own QEMU, if there is one."""
    return shutil.which("qemu-system-x86_64", path="/usr/bin:/usr/local/bin")
