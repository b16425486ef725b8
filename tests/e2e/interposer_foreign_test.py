# SPDX-License-Identifier: BSD-3-Clause
"""The interposer before a server that is not ours, and a program that knows the kernel's interface only."""
import json
import subprocess
import sys

import pytest
from harness.foreign_server import ForeignServer
from harness.interposer import BDF, behind_interposer

PROGRAM = r"""
import ctypes, errno, fcntl, json, mmap, os, struct, sys

BDF = sys.argv[1]
SET_IOMMU, SET_CONTAINER, GET_DEVICE_FD, REGION_INFO, RESET, MAP_DMA, UNMAP_DMA = (0x3b64 + n for n in (2, 4, 6, 8, 11, 13, 14))

def fails(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None

said = {}
container = os.open("/dev/vfio/vfio", os.O_RDWR)
group = os.open("/dev/vfio/" + os.path.basename(os.readlink(f"/sys/bus/pci/devices/{BDF}/iommu_group")), os.O_RDWR)
fcntl.ioctl(group, SET_CONTAINER, struct.pack("i", container))
fcntl.ioctl(container, SET_IOMMU, 3)
said["wrong BDF"] = fails(fcntl.ioctl, group, GET_DEVICE_FD, b"0000:41:00.0\0")
device = fcntl.ioctl(group, GET_DEVICE_FD, bytearray(BDF.encode() + b"\0"))  # writable: then the result is the number

def region(index):
    return struct.unpack("<IIIIQQ", fcntl.ioctl(device, REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0)))[4:]

bar_size, bar = region(0)
config_size, config = region(7)
said["identity"] = os.pread(device, 4, config).hex()
said["sizes"] = [bar_size, config_size]
said["read past"] = fails(os.pread, device, 4, bar + bar_size)

fd = os.memfd_create("guest")
os.ftruncate(fd, 8192)
memory = mmap.mmap(fd, 8192)
memory[4096:4100] = b"here"
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
wanted = struct.pack("<IIQQQ", 32, 3, address, 0x100000, 8192)
fcntl.ioctl(container, MAP_DMA, wanted)
said["mapped twice"] = fails(fcntl.ioctl, container, MAP_DMA, wanted)
os.pwrite(device, struct.pack("<Q", 0x101000), bar)
said["read by DMA"] = os.pread(device, 4, bar + 8).decode()
unmap = lambda at, size: struct.unpack("<IIQQ", fcntl.ioctl(container, UNMAP_DMA, struct.pack("<IIQQ", 24, 0, at, size)))[3]
said["unmapped"] = [unmap(0x900000, 4096), unmap(0x100000, 8192)]
fcntl.ioctl(device, RESET)

said["hung up on"] = fails(os.pwrite, device, b"\1\0\0\0", bar + 16)  # posted, as on a bus
said["after"] = [fails(os.pread, device, 4, bar), fails(fcntl.ioctl, device, RESET)]
print(json.dumps(said))
"""


@pytest.fixture
def server(tmp_path):
    made = ForeignServer(tmp_path / "foreign.sock")
    yield made
    made.close()


def test_program_works_with_a_server_that_is_not_ours_until_it_hangs_up(server, tmp_path):
    done = subprocess.run(behind_interposer([tmp_path / "foreign.sock"], [sys.executable, "-c", PROGRAM, BDF]), capture_output=True,
                          text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "wrong BDF": "ENODEV", "identity": "361b1000", "sizes": [4096, 256], "read past": "EINVAL", "mapped twice": "EEXIST",
        "read by DMA": "here", "unmapped": [0, 8192], "hung up on": None, "after": ["EIO", "ENODEV"]}
    assert 13 in server.commands
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr  # one line says that the server is gone
