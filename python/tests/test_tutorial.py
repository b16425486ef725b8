# SPDX-License-Identifier: BSD-3-Clause
"""The tutorial's devices, as its pages have them, and its client."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILD, CHECKOUT, program
from test_conform import OF_THE_C_INTERFACE, conform

TUTORIAL = BUILD / "tests/tutorial"
DEVICES: dict[str, list[str | Path]] = {"cpp": [TUTORIAL / "copier-cpp"], "c": [TUTORIAL / "copier-c"], "python": [sys.executable, TUTORIAL / "copier.py"]}


@pytest.mark.parametrize("language", DEVICES)
def test_device_copies_and_interrupts(tmp_path: Path, language: str) -> None:
    path = tmp_path / "s"
    with program(path, *DEVICES[language], path, log=tmp_path / "log"):
        for _ in range(2):  # what the first leaves behind is gone
            done = subprocess.run([sys.executable, TUTORIAL / "copier-client.py", str(path)], capture_output=True, text=True,
                                  timeout=60)
            assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


@pytest.mark.parametrize("language", DEVICES)
def test_device_is_what_clients_want(tmp_path: Path, language: str) -> None:
    path = tmp_path / "s"
    with program(path, *DEVICES[language], path, log=tmp_path / "log"):
        report = json.loads(conform("--json", path).stdout)
    found = {each["check"] for each in report["checks"] if each["result"] not in ("holds", "skipped")}
    assert found == (set() if language == "cpp" else OF_THE_C_INTERFACE)


@pytest.mark.parametrize("name", ["shortest.cpp", "shortest.c", "shortest.py"])
def test_shortest_device_has_thirty_lines(name: str) -> None:
    lines = [line for line in (TUTORIAL / name).read_text().splitlines() if line and not line.startswith(("#", "import "))]
    assert 10 < len(lines) <= 30
    assert max(map(len, lines)) <= 150


def test_page_without_code_is_an_error() -> None:
    extract = [str(CHECKOUT / "scripts/page-code"), str(CHECKOUT / "docs/tutorial/c.md")]
    assert subprocess.run([*extract, "cobol"], capture_output=True, timeout=60).returncode == 1
    assert subprocess.run(extract, capture_output=True, timeout=60).returncode == 2
