# SPDX-License-Identifier: BSD-3-Clause
"""The client, against servers that are not ours to change: programs in C and C++."""
from __future__ import annotations

import errno
import socket
import struct
import threading
from pathlib import Path

import pytest
from conftest import BUILD, Serve, program

import vmux


def test_server_in_c_copies_memory_and_interrupts(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with program(path, BUILD / "tests/capi-device", path, log=tmp_path / "log"), vmux.Client(str(path)) as client:
        memory = client.share_memory(0x10000, 0x2000)
        (interrupt,) = client.interrupts(vmux.IrqKind.MSIX, 1)
        memory.view[0:3] = b"abc"
        client.region(0).write(0, struct.pack("<QQI", 0x10000, 0x11000, 3))
        client.region(0).write_int(20, 1)
        assert (interrupt.wait(20), memory.view[0x1000:0x1003]) == (1, b"abc")
        client.disable_interrupts(vmux.IrqKind.MSIX)
        client.region(0).write_int(20, 1)
        assert interrupt.take() == 0


def test_server_in_cpp_is_described(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with program(path, BUILD / "bin/gpio-pci-idio-16", path, log=tmp_path / "log"):
        with vmux.Client(str(path), twin_socket=True) as client:
            assert (client.identity().vendor_id, client.identity().device_id) == (0x494F, 0x0DC8)
            assert client.limits.twin_socket and client.info().is_resettable
            assert client.region(2).size >= 8 and not client.region(2).mappable
            with pytest.raises(ValueError, match="cannot be mapped"):
                client.region(2).map()


def test_refusals_are_oserrors_with_the_servers_errno(serve: Serve) -> None:
    class Plain(vmux.Device):
        bars = {0: vmux.Bar(4096)}

    client = serve(Plain()).client()
    with pytest.raises(OSError) as raised:
        client.region(0).read(4096, 4)
    assert raised.value.errno == errno.EINVAL
    with pytest.raises(OSError):
        client.unmap_memory(0x5000, 0x1000)
    with pytest.raises(ValueError):
        vmux.Client("/nowhere", timeout=0)
    with pytest.raises(FileNotFoundError):
        vmux.Client("/nowhere")


def test_server_that_says_nothing_is_a_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(TimeoutError):
            vmux.Client(str(tmp_path / "s"), timeout=0.1)


def test_closed_client_says_so(serve: Serve) -> None:
    client = serve(type("Plain", (vmux.Device,), {})()).client()
    client.close()
    client.close()
    with pytest.raises(ConnectionResetError):
        client.info()


def test_threads_share_a_client(serve: Serve) -> None:
    class Adder(vmux.Device):
        total = vmux.Register(bar=0, at=0)
        more = vmux.Register(bar=0, at=4)

        @more.written
        def add(self, value: int) -> None:
            self.total += value

    client = serve(Adder()).client()
    region = client.region(0)

    def add() -> None:
        for _ in range(50):
            region.write_int(4, 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert region.read_int(0) == 200


def test_functions_of_memory_may_not_call_the_client(serve: Serve) -> None:
    class Reader(vmux.Device):
        address = vmux.Register(bar=0, at=0)

        @address.written
        def look(self, value: int) -> None:
            self.read_memory(value, 4)

    client = serve(Reader()).client()
    problems: list[str] = []

    def read(_address: int, size: int) -> bytes:
        try:
            client.info()
        except RuntimeError as problem:
            problems.append(str(problem))
        return bytes(size)

    client.serve_memory(read, lambda address, data: None)
    client.map_memory(0x1000, 0x1000)
    client.region(0).write_int(0, 0x1000)
    assert problems == ["a client is not called from within its own calls"]
