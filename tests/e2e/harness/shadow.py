# SPDX-License-Identifier: BSD-3-Clause
"""The guests' module for strict IOMMU protection: built for a kernel of the lab, and put between a device and its driver."""
import re
import shutil
import subprocess
from pathlib import Path

from guest import CACHE

SOURCES = Path(__file__).resolve().parents[3] / "guest" / "shadow"
# The compiler is the host's; newer kernels were built by one that knows more. None of these changes what is compiled but its alignment.
OPTIONS = ("CC=gcc-12", "CONFIG_DEBUG_INFO_BTF_MODULES=", "CONFIG_MODULE_SIG_ALL=", "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=")


def build(kernel, directory):
    """Makes directory/vmux_shadow.ko, and vmux_shadow_check.ko, which checks it."""
    headers = CACHE / "kernels" / kernel / "headers" / "build"
    assert headers.exists(), f"the lab has no headers of Linux {kernel}: run lab/build"
    for name, sources in (("vmux_shadow", SOURCES), ("vmux_shadow_check", SOURCES / "check")):
        tree = Path(directory) / f"source-{name}"
        shutil.copytree(sources, tree)
        made = subprocess.run(["make", "-C", headers, f"M={tree}", *OPTIONS, "modules"], capture_output=True, text=True, timeout=300)
        assert made.returncode == 0, made.stdout + made.stderr
        complaints = [line for line in made.stderr.splitlines() if "warning: " in line and not re.search("pahole|compiler differs", line)]
        assert not complaints, complaints
        subprocess.run(["strip", "--strip-debug", "-o", Path(directory) / f"{name}.ko", tree / f"{name}.ko"], check=True)


class Nic:
    """A NIC of a guest, by its driver: e1000, iavf, virtio-pci, ice."""

    def __init__(self, guest, driver):
        self.guest, self.driver = guest, driver
        self.bdf = guest.check(f"""until net=$(ls -d /sys/bus/pci/drivers/{driver}/0*/net /sys/bus/pci/drivers/{driver}/0*/virtio*/net 2>/dev/null | grep -m 1 .); do
            sleep 0.1; done; set -- $(echo $net | tr / ' '); echo $6""").strip()

    def unbind(self):
        self.guest.check(f"echo {self.bdf} >/sys/bus/pci/drivers/{self.driver}/unbind")

    def bind(self):
        self.guest.check(f"echo {self.bdf} >/sys/bus/pci/drivers/{self.driver}/bind")

    def load(self, **parameters):
        """The module, between the device and its driver. Parameters are those of insmod."""
        self.unbind()
        self.insert(**parameters)
        self.bind()

    def insert(self, **parameters):
        """The module, for a device without a driver."""
        options = " ".join(f"{name}={value}" for name, value in parameters.items())
        self.guest.check(f"mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; insmod /modules/vmux_shadow.ko devices={self.bdf} {options}")

    def remove(self):
        """The module, once it lets itself be removed: when nothing is left of a driver's buffers."""
        self.guest.check("for i in $(seq 300); do rmmod vmux_shadow && exit 0; sleep 0.1; done 2>/dev/null; lsmod; dmesg | tail -n 20; exit 1")

    def unload(self):
        """The driver first: its buffers are the module's."""
        self.unbind()
        self.remove()
        self.bind()

    def check(self, before_it_goes=lambda: None, **parameters):
        """What vmux_shadow_check finds, for a device without a driver: {name: "ok" or where it failed}."""
        override = f"/sys/bus/pci/devices/{self.bdf}/driver_override"
        options = " ".join(f"{name}={value}" for name, value in parameters.items())
        self.guest.check(f"dmesg -c >/dev/null; echo vmux_shadow_check >{override}; insmod /modules/vmux_shadow_check.ko {options}; echo >{override}")
        before_it_goes()
        return dict(re.findall(r"vmux_shadow_check: (\w+): (ok|failed at \d+)", self.guest.check("rmmod vmux_shadow_check; dmesg")))

    def name(self):
        """Its interface, which may take a while."""
        return self.guest.check(f"until ls /sys/bus/pci/devices/{self.bdf}/net /sys/bus/pci/devices/{self.bdf}/virtio*/net 2>/dev/null "
                                "| grep -v : | grep -m 1 .; do sleep 0.1; done").strip()

    def group_type(self):
        return self.guest.check(f"cat /sys/bus/pci/devices/{self.bdf}/iommu_group/type").strip()

    def stats(self):
        """What the module has counted for it."""
        lines = self.guest.check(f"cat /sys/kernel/debug/vmux_shadow/{self.bdf}/stats").splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}
