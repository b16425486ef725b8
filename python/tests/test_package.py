# SPDX-License-Identifier: BSD-3-Clause
"""Types, and installation as users do it."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import BUILD, CHECKOUT

PYTHON = CHECKOUT / "python"
USES = "import vmux; print(vmux.__file__); vmux.Server(vmux.Device(), '{}').close()"


def run(directory: Path, *command: str | Path, **environment: str) -> str:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=600, cwd=directory,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_types_are_strict(tmp_path: Path) -> None:
    run(PYTHON, sys.executable, "-m", "mypy", "--cache-dir", tmp_path, "vmux", "examples", "tests")


def test_pip_installs_from_the_checkout(tmp_path: Path) -> None:
    run(tmp_path, sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(tmp_path, python, "-m", "pip", "install", "--no-index", "--no-build-isolation", "--no-deps", "--force-reinstall",
        PYTHON, VMUX_BUILD_DIR=str(BUILD))
    path = run(tmp_path, python, "-c", USES.format(tmp_path / "s"), PYTHONPATH="")
    assert path.startswith(str(tmp_path / "venv"))
    assert "usage" in run(tmp_path, tmp_path / "venv/bin/vfu-conform", "--help", PYTHONPATH="")


def test_make_install_puts_it_where_debians_python_looks(tmp_path: Path) -> None:
    run(tmp_path, "cmake", "-DCMAKE_INSTALL_COMPONENT=python", "-DCMAKE_INSTALL_PREFIX=/usr", "-P",
        BUILD / "cmake_install.cmake", DESTDIR=str(tmp_path))
    directory = tmp_path / "usr/lib/python3/dist-packages"
    path = run(tmp_path, sys.executable, "-c", USES.format(tmp_path / "s"), PYTHONPATH=str(directory))
    assert path.startswith(str(directory))
    assert "usage" in run(tmp_path, tmp_path / "usr/bin/vfu-conform", "--help", PYTHONPATH=str(directory))
