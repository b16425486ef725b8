# SPDX-License-Identifier: BSD-3-Clause
"""A VMM of a few lines, for tests that need somebody who is attached."""
import socket
import struct

VERSION, REGION_READ = 1, 9  # commands of vfio-user


def attach(path):
    """Says VERSION and stays; its socket."""
    vmm = socket.socket(socket.AF_UNIX)
    vmm.settimeout(90)
    vmm.connect(str(path))
    capabilities = b'{"capabilities":{}}\0'
    vmm.sendall(struct.pack("<HHIIIHH", 1, VERSION, 20 + len(capabilities), 0, 0, 0, 1) + capabilities)
    assert struct.unpack("<HHII", vmm.recv(4096)[:12])[:2] == (1, VERSION)
    return vmm


def ask_register(vmm, number, offset):
    """Asks for 4 bytes of BAR 0 and does not wait."""
    vmm.sendall(struct.pack("<HHIIIQII", number, REGION_READ, 32, 0, 0, offset, 0, 4))


def read_register(vmm, number, offset):
    """4 bytes of BAR 0. The answer is to this request, and there is one."""
    ask_register(vmm, number, offset)
    answer = b""
    while len(answer) < 36:
        part = vmm.recv(36 - len(answer))
        assert part, "the server hung up"
        answer += part
    identity, command, size, flags, error = struct.unpack("<HHIII", answer[:16])
    assert (identity, command, size, flags, error) == (number, REGION_READ, 36, 1, 0)
    return struct.unpack("<I", answer[32:])[0]
