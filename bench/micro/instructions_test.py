# SPDX-License-Identifier: BSD-3-Clause
"""When scripts/check-instructions is content with a figure, and what it records."""
import importlib.machinery
import importlib.util
import json
from pathlib import Path

SCRIPT = str(Path(__file__).resolve().parents[2] / "scripts/check-instructions")
loader = importlib.machinery.SourceFileLoader("check_instructions", SCRIPT)
check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_instructions", loader))
loader.exec_module(check)


def record(instructions, why):
    return {"processor": "a", "figures": {"switch forward/2": {"instructions": instructions, "why": why}}}


def test_three_percent_either_way_is_no_move():
    assert not check.has_moved(100, 103)
    assert not check.has_moved(100, 97)
    assert check.has_moved(100, 103.1)
    assert check.has_moved(100, 96.9)


def test_a_move_needs_another_reason():
    assert check.unexplained([record(110, "first"), record(100, "first")])
    assert check.unexplained([record(90, "first"), record(100, "first")])
    assert not check.unexplained([record(110, "a rule is looked for"), record(100, "first")])
    assert not check.unexplained([record(102, "first"), record(100, "first")])


def test_an_older_move_needs_one_too():
    assert check.unexplained([record(110, "b"), record(110, "a"), record(100, "a")])


def test_a_figure_that_is_missing_on_either_side_fails():
    figures = record(100, "first")["figures"]
    assert not check.compare(figures, {"switch forward/2": 101})
    assert check.compare(figures, {"switch forward/2": 104})
    assert check.compare(figures, {"switch forward/2": 101, "switch flood": 1})
    assert check.compare(figures, {})


def test_small_steps_add_up_until_they_show(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "RECORD", "record.json")
    check.update(record(100, "first"), "b", {"switch forward/2": 102, "switch cross": 7}, "now")
    written = json.loads((tmp_path / "record.json").read_text())
    assert written["figures"]["switch forward/2"] == {"instructions": 100, "why": "first"}
    assert written["figures"]["switch cross"] == {"instructions": 7, "why": "now"}
    check.update(written, "b", {"switch forward/2": 104}, "now")
    assert json.loads((tmp_path / "record.json").read_text())["figures"] == {
        "switch forward/2": {"instructions": 104, "why": "now"}}
