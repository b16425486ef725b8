# SPDX-License-Identifier: BSD-3-Clause
"""How a device is served: threads, event loops, ends."""
from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
from conftest import Serve, wait_until

import vmux


class Plain(vmux.Device):
    value = vmux.Register(bar=0, at=0)


SLEEPER = """
import sys, vmux
class Waits(vmux.Device):
    value = vmux.Register(bar=0, at=0)
    @value.written
    def wait(self, value):
        if value:
            print("waiting", flush=True)
            while True: pass
print("ready", flush=True)
try:
    Waits().serve(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def is_listening(path: Path) -> bool:
    """The file of a socket is there before anybody may connect; the kernel tells (SO_ACCEPTCON)."""
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return any(words[3] == "00010000" and words[-1] == str(path) for words in lines)


def start(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, str(path)], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: is_listening(path), "the socket")
    return process


def test_ctrl_c_ends_a_server_that_waits(tmp_path: Path) -> None:
    process = start(tmp_path / "s")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.split() == ["ready", "interrupted"]
    assert process.returncode == 0
    assert not (tmp_path / "s").exists()


def test_ctrl_c_ends_a_handler_that_does_not_return(tmp_path: Path) -> None:
    process = start(tmp_path / "s")
    assert process.stdout is not None
    with vmux.Client(str(tmp_path / "s")) as client:
        client.region(0).write_int(0, 1, posted=True)
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert output == "interrupted\n"


def test_other_threads_run_while_a_client_waits(serve: Serve) -> None:
    # The client's thread and the server's are of one interpreter: either would wait for ever if it kept the lock.
    client = serve(Plain()).client()
    for number in range(200):
        client.region(0).write_int(0, number)
    assert client.region(0).read_int(0) == 199


def test_clients_follow_each_other(serve: Serve) -> None:
    served = serve(Plain())
    for _ in range(5):
        with vmux.Client(served.path, timeout=20) as client:
            assert client.info().is_pci


def test_event_loop_of_ones_own(tmp_path: Path) -> None:
    done = threading.Event()

    def ask() -> None:
        with vmux.Client(str(tmp_path / "s")) as client:
            client.region(0).write_int(0, 7)
        done.set()

    device = Plain()
    with vmux.Server(device, str(tmp_path / "s")) as server:
        thread = threading.Thread(target=ask)
        thread.start()
        seen = 0
        while not done.is_set():
            if select.select([server], [], [], 0.05)[0]:
                server.step()
            seen = max(seen, device.value)  # a client that has gone takes it along
        thread.join()
        assert seen == 7


def test_one_thread_at_a_time_serves(serve: Serve) -> None:
    class Nested(vmux.Device):
        value = vmux.Register(bar=0, at=0)
        problems: list[BaseException] = []

        @value.written
        def again(self, _value: int) -> None:
            for act in (self.server.step, self.server.close):
                try:
                    act()
                except RuntimeError as problem:
                    self.problems.append(problem)

    device = Nested()
    serve(device).client().region(0).write_int(0, 1)
    assert [str(each) for each in device.problems] == [
        "a handler cannot serve its own device", "the device is being served"]


def test_path_in_use_is_an_error_and_nothing_leaks(serve: Serve) -> None:
    served = serve(Plain())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="cannot listen at"):
            vmux.Server(Plain(), served.path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_closed_server_lets_go_of_everything(tmp_path: Path) -> None:
    class Shares(Plain):
        bars = {1: vmux.Bar(4096, shared=True)}

    before = len(os.listdir("/proc/self/fd"))
    device = Shares()
    server = vmux.Server(device, str(tmp_path / "s"))
    with pytest.raises(RuntimeError, match="served already"):
        vmux.Server(device, str(tmp_path / "t"))
    server.close()
    server.close()
    with pytest.raises(RuntimeError, match="not served"):
        device.trigger()
    alive = weakref.ref(server)
    del server
    gc.collect()
    assert alive() is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_quiesce_may_take_its_time(serve: Serve) -> None:
    class Busy(vmux.Device):
        asked = threading.Event()

        def quiesce(self) -> None:
            self.asked.set()
            raise BlockingIOError

    class Driven(Busy):
        def quiesce(self) -> None:
            try:
                super().quiesce()
            finally:
                self.server.quiesced()  # inside of it is allowed

    client = serve(Driven()).client()
    memory = client.share_memory(0x1000, 0x1000)
    memory.unmap()
    assert Driven.asked.is_set()


def test_exception_that_is_none_of_a_handlers_ends_run(tmp_path: Path) -> None:
    class Leaves(vmux.Device):
        value = vmux.Register(bar=0, at=0)

        @value.written
        def leave(self, _value: int) -> None:
            raise SystemExit(3)

    def ask() -> None:
        with vmux.Client(str(tmp_path / "s")) as client:
            client.region(0).write_int(0, 1, posted=True)

    thread = threading.Thread(target=ask)
    with vmux.Server(Leaves(), str(tmp_path / "s")) as server, pytest.raises(SystemExit):
        thread.start()
        server.run()
    thread.join()
