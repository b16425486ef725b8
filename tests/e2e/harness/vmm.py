# SPDX-License-Identifier: BSD-3-Clause
"""A VMM of a few lines, for tests that need somebody who is attached."""
import socket
import struct

VERSION, REGION_READ, REGION_WRITE = 1, 9, 10  # commands of vfio-user
CONFIG_SPACE = 7  # a region


def attach(path):
    """Says VERSION and stays; its socket."""
    vmm = socket.socket(socket.AF_UNIX)
    vmm.settimeout(90)
    vmm.connect(str(path))
    capabilities = b'{"capabilities":{}}\0'
    vmm.sendall(struct.pack("<HHIIIHH", 1, VERSION, 20 + len(capabilities), 0, 0, 0, 1) + capabilities)
    assert struct.unpack("<HHII", vmm.recv(4096)[:12])[:2] == (1, VERSION)
    return vmm


def ask_register(vmm, number, offset, region=0):
    """Asks for 4 bytes of a region (BAR 0, if not said otherwise) and does not wait."""
    vmm.sendall(struct.pack("<HHIIIQII", number, REGION_READ, 32, 0, 0, offset, region, 4))


def answer_of(vmm, number, command, size):
    """The next message: the answer to this request, whole, and no error."""
    answer = b""
    while len(answer) < size:
        part = vmm.recv(size - len(answer))
        assert part, "the server hung up"
        answer += part
        if len(answer) >= 16:
            assert struct.unpack("<HHIII", answer[:16]) == (number, command, size, 1, 0)
    return answer


def read_register(vmm, number, offset, region=0):
    """4 bytes of a region. The answer is to this request, and there is one."""
    ask_register(vmm, number, offset, region)
    return struct.unpack("<I", answer_of(vmm, number, REGION_READ, 36)[32:])[0]


def write_register(vmm, number, offset, value, region=0):
    vmm.sendall(struct.pack("<HHIIIQIII", number, REGION_WRITE, 36, 0, 0, offset, region, 4, value))
    answer_of(vmm, number, REGION_WRITE, 32)
