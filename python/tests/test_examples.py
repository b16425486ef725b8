# SPDX-License-Identifier: BSD-3-Clause
"""The examples, run as programs."""
from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXAMPLES, python_program, wait_until

import vmux

EDU_RAM, EDU_BUFFER = 0x200000, 0x40000


def test_gpio_toggles_every_third_reading_and_tells_outputs(tmp_path: Path) -> None:
    path, log = tmp_path / "s", tmp_path / "log"
    with python_program(path, EXAMPLES / "gpio.py", log=log) as process:
        with vmux.Client(str(path)) as client:
            lines = client.region(2)
            assert [lines.read_int(1, 1) for _ in range(7)] == [0, 0, 0, 255, 255, 255, 0]
            lines.write_int(4, 0x81, 1)
            assert lines.read_int(4, 1) == 0x81
        wait_until(lambda: "outputs: 1000000100000000" in log.read_text(), "the outputs")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_edu_computes_copies_and_interrupts(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with python_program(path, EXAMPLES / "edu.py", log=tmp_path / "log"), vmux.Client(str(path)) as client:
        bar, memory = client.region(0), client.share_memory(EDU_RAM, 0x2000)
        (interrupt,) = client.interrupts(vmux.IrqKind.INTX, 1)
        assert bar.read_int(0) == 0x010000ED
        bar.write_int(4, 0xFF)
        assert bar.read_int(4) == 0xFFFFFF00
        bar.write_int(0x20, 0x80)
        bar.write_int(8, 10)
        assert (bar.read_int(8), bar.read_int(0x24), interrupt.wait(20)) == (3628800, 1, 1)
        bar.write_int(0x64, 1)
        memory.view[0:4] = b"edu!"

        def transfer(source: int, destination: int, command: int) -> None:
            for at, value in ((0x80, source), (0x88, destination), (0x90, 4), (0x98, command)):
                bar.write_int(at, value, 8)

        transfer(EDU_RAM, EDU_BUFFER + 0xFFC, 1)
        transfer(EDU_BUFFER + 0xFFC, EDU_RAM + 0x1000, 7)
        assert (memory.view[0x1000:0x1004], bar.read_int(0x24), interrupt.wait(20)) == (b"edu!", 0x100, 1)
        transfer(EDU_RAM, EDU_BUFFER + 0xFFD, 1)  # beyond the end: nothing happens
        transfer(EDU_BUFFER + 0xFFC, EDU_RAM + 0x1800, 3)
        assert memory.view[0x1800:0x1804] == b"edu!"


def explore(path: Path, *commands: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLES / "explore.py", str(path), *commands], input=text, text=True,
                          capture_output=True, timeout=60)


def test_explorer_does_what_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with python_program(path, EXAMPLES / "edu.py", log=tmp_path / "log"):
        done = explore(path, text="info\nregions\ncapabilities\nirqs\nread 0 0\nlisten intx\nwrite 0 0x60 2\nwait intx\n"
                       "share 0x1000 0x1000\npoke 0x1000 6162\npeek 0x1000 2\nunmap 0x1000\nconfig 0 2\nreset\n# nothing\n")
        assert (done.returncode, done.stderr) == (0, "")
        for expected in ("vendor_id=4660", "0: 0x100000 bytes, rw", "capability 0x5", "msi: 1", "= 0x10000ed",
                         "signalled 1 times", "6162", "34 12  = 0x1234"):
            assert expected in done.stdout
        wrong = explore(path, "nonsense", "read 0", "read 0 0x100000", "wait msi", "peek 0x9000")
        assert wrong.returncode == 1
        assert len(wrong.stderr.splitlines()) == 5
    assert explore(tmp_path / "none", "info").returncode == 1


@pytest.mark.parametrize("name", ["gpio.py", "edu.py", "explore.py"])
def test_examples_say_how_they_are_used(name: str) -> None:
    done = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Usage" in done.stdout + done.stderr
