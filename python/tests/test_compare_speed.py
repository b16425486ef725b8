# SPDX-License-Identifier: BSD-3-Clause
"""tests/capi/compare-speed: that it times each side with its own library, and what it makes of the samples. No test depends on a time."""
from __future__ import annotations

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from conftest import BUILD, CHECKOUT

SCRIPT, OURS = CHECKOUT / "tests/capi/compare-speed", BUILD / "lib/libvfio-user.so.0"


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_loader("compare_speed", SourceFileLoader("compare_speed", str(SCRIPT)))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.dont_write_bytecode = True  # beside the script
    spec.loader.exec_module(module)
    return module


def test_each_case_is_timed_with_each_library(tmp_path: Path, script: ModuleType) -> None:
    theirs = tmp_path / "theirs.so"
    theirs.write_bytes(OURS.read_bytes())
    done = compare(theirs, "--rounds", 2, "--milliseconds", 1, "--json")
    assert done.returncode in (0, 1) and done.stderr == "", done.stderr
    report = json.loads(done.stdout)
    assert (report["ours"], report["theirs"]) == (str(OURS.resolve()), str(theirs))
    cases = subprocess.run([str(BUILD / "tests/capi-speed")], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert [row["case"] for row in report["results"]] == list(script.GOALS) == cases
    assert all(row["ours"] > 0 and row["theirs"] > 0 and row["rounds"] == 2 and row["low"] is None for row in report["results"])
    assert all((row["bare"] is None) == (row["case"] == "trigger") for row in report["results"])
    assert (done.returncode == 1) == any(row["reachable"] and not row["reached"] for row in report["results"])


def test_what_cannot_be_run_is_said() -> None:
    other = compare(BUILD / "lib/libvmux.so.0", "--rounds", 1, "--milliseconds", 1, "--case", "trigger")
    assert other.returncode == 1 and "trigger with" in other.stderr and other.stdout == ""
    assert compare("/nonexistent.so").returncode == 2
    assert compare(OURS, "--rounds", "0").returncode == 2


def test_interval_of_the_median_is_that_of_the_order(script: ModuleType) -> None:
    assert script.median_interval(range(5)) is None  # all of five lie on one side of the median once in 16
    assert script.median_interval(range(1, 7)) == (1, 6)
    assert script.median_interval(range(1, 41)) == (14, 27)
    row = script.judge("trigger", {"ours": [2.0, 3.0, 4.0] * 5, "theirs": [2.0] * 15, "bare": [1.0] * 15})
    assert (row["bare"], row["reachable"]) == (0.5, True)
    assert not script.judge("trigger", {"ours": [2.0], "theirs": [1.0], "bare": [1.5]})["reachable"]
    assert script.judge("trigger", {"ours": [2.0], "theirs": [1.0], "bare": [None]})["reachable"]
    assert (row["ratio"], row["low"], row["high"], row["reached"]) == (1.5, 1.0, 2.0, False)
