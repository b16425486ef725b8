# SPDX-License-Identifier: BSD-3-Clause
"""Programs that know VFIO but not vfio-user, run behind the interposer: a QEMU, and DPDK's testpmd."""
import shutil

import testpmd
from guest import Guest
from hugepages import Hugepages  # noqa: F401  (tests take it from here)

from . import BIN

BDF = "0000:40:00.0"


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


class Testpmd(testpmd.Testpmd):
    """A testpmd whose devices are the ports that are served on `sockets`."""

    __test__ = False

    def __init__(self, name, sockets, eal=("--no-huge", "-m", "128"), options=(), vdevs=(), devargs=""):
        line = ["-l", "0,1", *eal]
        for number in range(len(sockets)):
            line += ["-a", f"0000:40:00.{number}{devargs}"]
        for vdev in vdevs:
            line += ["--vdev", vdev]
        super().__init__(name, line, ["--total-num-mbufs=4096", "--rxd=512", "--txd=512", *options],
                         wrap=lambda command: behind_interposer(sockets, command))


def old_qemu():
    """The machine's own QEMU, if there is one."""
    return shutil.which("qemu-system-x86_64", path="/usr/bin:/usr/local/bin")
