# SPDX-License-Identifier: BSD-3-Clause
"""Devices that a thread of the test serves, and programs that serve one."""
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

import vmux

CHECKOUT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = CHECKOUT / "python" / "examples"
BUILD = Path(os.environ.get("VMUX_BUILD_DIR") or CHECKOUT / "build" / "release")


class Served:
    """A device in a thread, and clients of it."""

    def __init__(self, device: vmux.Device, path: str) -> None:
        self.device, self.path = device, path
        self.server = vmux.Server(device, path)
        self.problem: BaseException | None = None
        self._clients: list[vmux.Client] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as problem:  # handed to whoever ends the test
            self.problem = problem

    def client(self, **options: bool) -> vmux.Client:
        client = vmux.Client(self.path, timeout=20, **options)
        self._clients.append(client)
        return client

    def end(self) -> None:
        for client in self._clients:
            client.close()
        self.server.stop()
        self._thread.join()
        self.server.close()


Serve = Callable[[vmux.Device], Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve(device): has it served until the test is over."""
    running: list[Served] = []

    def start(device: vmux.Device) -> Served:
        running.append(Served(device, str(tmp_path / f"{len(running)}.sock")))
        return running[-1]

    yield start
    for each in running:
        each.end()
    for each in running:
        assert each.problem is None, each.problem


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Of what another process does: a minute, and then something is wrong."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"no sign of {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def program(path: Path, *command: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that serves at `path`, once it does."""
    with open(log, "wb") as output:
        process = subprocess.Popen([str(each) for each in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        wait_until(lambda: path.exists() or process.poll() is not None, f"the socket of {command[0]}")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def python_program(path: Path, script: Path, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with program(path, sys.executable, script, path, *arguments, log=log) as process:
        yield process
