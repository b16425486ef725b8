# SPDX-License-Identifier: BSD-3-Clause
"""vfio_probe.py ADDRESS: asks VFIO for the function at ADDRESS in every right and wrong way, one line for each: what was
asked, and the answer (an errno by name, or what came back). A program like any other: it may have the kernel's VFIO
before it or a stand-in, whose lines are to be the same. server_probe.py puts the same questions to a server."""
import ctypes
import os
import struct
import sys

from vfio_calls import (CHECK_EXTENSION, DEVICE_GET_INFO, DEVICE_RESET, GET_API_VERSION, GROUP_GET_DEVICE_FD, GROUP_GET_STATUS,
                        GROUP_SET_CONTAINER, GROUP_UNSET_CONTAINER, IOMMU_GET_INFO, LIBC, NOIOMMU, NOWHERE, PAGE, SET_IOMMU, SHARED, SPAPR,
                        TYPE1, TYPE1V2, Descriptor, Memory, ask, checked, line, shown, u32, vfio)
from vfio_grid import ask_device, grid_dma
from vfio_questions import ask_iommu, dirty, dma_map, dma_unmap


def ask_container(container, suffix=""):
    """What does not depend on whether an IOMMU is set."""
    ask("api version" + suffix, container, GET_API_VERSION)
    for extension in (TYPE1, TYPE1V2, SPAPR, 4, 7, NOIOMMU, 9, 10, 99):
        ask(f"check extension {extension}" + suffix, container, CHECK_EXTENSION, extension)
    ask("container unknown" + suffix, container, vfio(90))
    ask("container of another type" + suffix, container, 0x5401, bytes(64))
    ask("container reset" + suffix, container, DEVICE_RESET)
    line("container read" + suffix, shown(container.pread(Memory(PAGE).address, 8, 0)))
    line("container write" + suffix, shown(container.pwrite(Memory(PAGE).address, 8, 0)))
    line("container mmap" + suffix, shown(container.mmap(PAGE, 3, SHARED, 0)))


def status(name, group, argsz=8):
    ask(name, group, GROUP_GET_STATUS, struct.pack("<II", argsz, 0), lambda raw: u32(raw, 4))


def try_to_open(path):
    return checked(LIBC.open(path.encode(), os.O_RDWR))


def open_container():
    return Descriptor(os.open("/dev/vfio/vfio", os.O_RDWR))


def get_device(group, address):
    """As text, which need not be the name of a device."""
    name = ctypes.create_string_buffer(address)
    return group.ioctl(GROUP_GET_DEVICE_FD, ctypes.addressof(name))[0]


def opened(answer):
    return shown(answer) if answer < 0 else "opened"


def main(address):
    number = os.path.basename(os.readlink(f"/sys/bus/pci/devices/{address}/iommu_group"))
    memory = Memory(16 * PAGE)
    path = f"/dev/vfio/{number}"
    container = open_container()
    ask_container(container)
    ask("set iommu without a group", container, SET_IOMMU, TYPE1V2)
    ask("iommu info before set", container, IOMMU_GET_INFO, struct.pack("<II", 16, 0) + bytes(24))
    dma_map("map before set", container, memory.address, 0, PAGE)
    dma_unmap("unmap before set", container, 0, PAGE)
    dirty("dirty before set", container, 1)
    group = Descriptor(os.open(path, os.O_RDWR))
    line("open the group again", shown(try_to_open(path)))
    line("open a group that is not there", shown(try_to_open("/dev/vfio/9999")))
    status("group status", group)
    status("group status argsz 7", group, 7)
    ask("group status nowhere", group, GROUP_GET_STATUS, NOWHERE)
    ask("group unknown", group, vfio(90))
    ask("group device info", group, DEVICE_GET_INFO, struct.pack("<I", 16) + bytes(16))
    line("group read", shown(group.pread(memory.address, 8, 0)))
    name = address.encode()
    line("device before container", shown(get_device(group, name)))
    line("unknown device before container", shown(get_device(group, b"0000:7f:00.0")))
    ask("unset container before set", group, GROUP_UNSET_CONTAINER)
    for label, fd in (("that is a group", group.fd), ("that is a file", 0), ("that is closed", 999), ("minus one", -1)):
        ask(f"set container {label}", group, GROUP_SET_CONTAINER, struct.pack("<i", fd))
    ask("set container nowhere", group, GROUP_SET_CONTAINER, NOWHERE)
    ask("set container", group, GROUP_SET_CONTAINER, struct.pack("<i", container.fd))
    ask("set container again", group, GROUP_SET_CONTAINER, struct.pack("<i", container.fd))
    status("group status in a container", group)
    line("device before iommu", shown(get_device(group, name)))
    for kind in (SPAPR, NOIOMMU, 0, 99):
        ask(f"set iommu {kind}", container, SET_IOMMU, kind)
    ask("set iommu", container, SET_IOMMU, TYPE1V2)
    ask("set iommu again", container, SET_IOMMU, TYPE1V2)
    ask("set iommu to another", container, SET_IOMMU, TYPE1)
    ask_container(container, " with iommu")
    ask_iommu(container, memory)
    grid_dma(container, memory)
    for label, text in (("of an unknown name", b"0000:7f:00.0"), ("empty", b""), ("longer", name + b"0"), ("with a newline", name + b"\n"),
                        ("with an option", name + b" speed=1"), ("short form", name[5:])):
        line(f"device {label}", shown(get_device(group, text)))
    ask("device nowhere", group, GROUP_GET_DEVICE_FD, NOWHERE)
    device, second = Descriptor(get_device(group, name)), Descriptor(get_device(group, name))
    line("device", opened(device.fd))
    line("device twice", opened(second.fd))
    second.close()
    ask("unset container with a device", group, GROUP_UNSET_CONTAINER)
    ask_device(device, memory)
    # The end, out of order: group and container first.
    dma_map("map to leave behind", container, memory.address, 0, PAGE)
    group.close()
    line("open the group while its device is open", shown(try_to_open(path)))
    ask("device info without its group", device, DEVICE_GET_INFO, struct.pack("<I", 16) + bytes(16))
    dma_unmap("unmap without the group", container, 0, PAGE)
    container.close()
    ask("device info without its container", device, DEVICE_GET_INFO, struct.pack("<I", 16) + bytes(16))
    device.close()
    group = Descriptor(try_to_open(path))
    line("open the group after all", opened(group.fd))
    container = open_container()
    ask("set container of the new", group, GROUP_SET_CONTAINER, struct.pack("<i", container.fd))
    ask("set iommu of type 1", container, SET_IOMMU, TYPE1)
    dma_map("type 1 map", container, memory.address, 0, 4 * PAGE)
    dirty("type 1 dirty start", container, 1)
    ask("unset container", group, GROUP_UNSET_CONTAINER)
    ask("iommu info of an empty container", container, IOMMU_GET_INFO, struct.pack("<II", 16, 0) + bytes(24))
    status("group status after", group)
    group.close()
    container.close()


main(sys.argv[1])
