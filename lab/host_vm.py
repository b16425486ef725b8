# SPDX-License-Identifier: BSD-3-Clause
"""A host VM: a whole host to try VFIO on, with an IOMMU (VT-d) and network cards that a VM can be given.

Its root is that of the machine it runs on, read-only under a tmpfs: the same programs, libraries and build tree, at the
same places. What is written stays in the VM. It is a Guest: run(), spawn() and qmp() work as there.

    01:00.0  igb, with seven virtual functions to switch on (echo N >/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs)
    02:00.0  e1000e: INTx, MSI and MSI-X              joined by a hub to the virtio-net with MAC ..:02:01
    04:01.0  e1000, behind a bridge: INTx only, no reset      joined by a hub to the virtio-net with MAC ..:04:01
    04:02.0  another, in the same IOMMU group as the first
"""
from guest import CACHE, KERNEL_OPTIONS, LAB, Guest, GuestError

SERIES = "6.1"
MAC = "52:54:00:00:{:02x}:{:02x}"


def _nic(driver, number, wire, **options):
    rest = "".join(f",{key}={value}" for key, value in options.items())
    return ["-netdev", f"hubport,id=n{number},hubid={wire}",
            "-device", f"{driver},id=nic{number},netdev=n{number},romfile={rest}"]


def _devices():
    line = ["-device", "intel-iommu,intremap=on,caching-mode=off,device-iotlb=on,aw-bits=48"]
    for slot in (1, 2, 3):
        line += ["-device", f"pcie-root-port,id=rp{slot},slot={slot},chassis={slot}"]
    line += ["-device", "pcie-pci-bridge,id=pci,bus=rp3"]
    line += _nic("igb", 1, 1, bus="rp1", mac=MAC.format(1, 0))
    line += _nic("e1000e", 2, 2, bus="rp2", mac=MAC.format(2, 0))
    line += _nic("virtio-net-pci", 3, 2, mac=MAC.format(2, 1))
    line += _nic("e1000", 4, 4, bus="pci", addr="0x1", mac=MAC.format(4, 0))
    line += _nic("e1000", 5, 5, bus="pci", addr="0x2", mac=MAC.format(5, 0))
    line += _nic("virtio-net-pci", 6, 4, mac=MAC.format(4, 1))
    return line


class HostVm(Guest):
    def __init__(self, name="host", memory=1536, cpus=2, append="", **options):
        super().__init__(name, kernel=SERIES, memory=memory, cpus=cpus, append=append, accel="tcg", **options)

    def command_line(self):
        if not (CACHE / "host-initrd").exists():
            raise GuestError("the lab has no host VM: run lab/build")
        images = (CACHE / "kernels" / SERIES).resolve()
        size = f"{self.memory}M"
        modules = next((images / "lib" / "modules").iterdir())
        return [
            str(CACHE / "bin" / "qemu-system-x86_64"), "-name", self.name, "-nodefaults", "-no-user-config",
            "-machine", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-smp", str(self.cpus), "-m", size, "-display", "none", "-no-reboot",
            "-serial", f"file:{self.directory}/console.log",
            "-kernel", str(images / "vmlinux"), "-initrd", str(CACHE / "host-initrd"),
            "-append", f"rdinit=/host-init {KERNEL_OPTIONS} mitigations=off intel_iommu=on vmux.modules={modules} "
                       f"vmux.checkout={LAB.parent} {self.append}",
            *_devices(),
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            "-device", "virtio-rng-pci",
            "-device", "virtio-serial-pci,id=agentbus", "-chardev", f"socket,id=agent,path={self.directory}/agent",
            "-device", "virtserialport,bus=agentbus.0,chardev=agent,name=vmux.agent",
            "-qmp", f"unix:{self.directory}/qmp",
        ] + self.qemu_args
