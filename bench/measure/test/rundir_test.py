# SPDX-License-Identifier: BSD-3-Clause
import errno
import json

import pytest
from measure import compare, session
from measure.rundir import Recorded, RunDirectory, Trouble, must_be_new


def recorded(path, phases=(), samples=(), about=None):
    """A run's directory as some other program left it."""
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"format": 1} if about is None else about))
    (path / "phases.jsonl").write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in phases))
    (path / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    return path


def test_a_file_is_no_directory_for_a_run(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(Trouble, match="cannot make .*file: Not a directory"):
        must_be_new(tmp_path / "file")


def test_a_directory_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(Trouble, match="not empty"):
        must_be_new(tmp_path)


def test_a_reading_leaves_out_what_is_no_number(tmp_path):
    run = RunDirectory(tmp_path / "run", {})
    run.sample("cpu", "host", {"busy": float("nan"), "idle": float("inf"), "none": None, "some": 1.23456})
    run.finish("complete")
    assert Recorded(tmp_path / "run").samples[0]["values"] == {"some": 1.2346}


class FullDisk:
    name = "samples.jsonl"
    closed = False

    def write(self, _text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_run_with_its_phase_and_its_status_written(tmp_path):
    run = RunDirectory(tmp_path / "run", {})
    run._samples.close()
    run._samples = FullDisk()
    run.sample("cpu", "host", {"busy": 1})
    with pytest.raises(Trouble, match="samples.jsonl: No space left on device"):
        run.phase({"phase": "tcp", "round": 1, "start": 0, "end": 1})
    run.finish("failed")
    assert Recorded(tmp_path / "run").about["status"] == "failed"
    assert len(Recorded(tmp_path / "run").phases) == 1
    assert not list((tmp_path / "run" / "raw").iterdir())


def test_figures_that_are_none_make_a_phase_one_that_failed(tmp_path):
    bad = {"phase": "tcp", "round": 1, "start": 0, "end": 1, "throughput": {"mbits": None, "seconds": []}}
    run = Recorded(recorded(tmp_path / "run", [bad, {**bad, "throughput": {"mbits": float("nan")}}]))
    assert [phase["failed"] for phase in run.phases] == ["its recorded figures make no sense"] * 2


@pytest.mark.parametrize("line", ["[]\n", '"x"\n', "{}\n", '{"phase": 1}\n', "[" * 5000 + "\n", '{"phase": "tcp", "ro'])
def test_lines_that_are_no_phase_are_left_out(tmp_path, line):
    assert Recorded(recorded(tmp_path / "run", [line])).phases == []


def test_tables_are_made_of_a_run_that_lacks_everything(tmp_path):
    assert "no phase was completed" in session.write_results(recorded(tmp_path / "run", samples=[{"t": None}, {"t": 1}, 5]))


@pytest.mark.parametrize("about", [[], {"format": 2}, 7])
def test_what_is_no_run_is_told(tmp_path, about):
    with pytest.raises(Trouble, match="run.json|format"):
        Recorded(recorded(tmp_path / "run", about=about))


def test_runs_without_a_common_figure_are_told(tmp_path):
    a, b = (Recorded(recorded(tmp_path / name)) for name in "ab")
    with pytest.raises(Trouble, match="no figure in common"):
        compare.compare(a, b)


def test_results_that_cannot_be_written_are_told(tmp_path):
    run = recorded(tmp_path / "run")
    (run / "summary.txt").mkdir()
    with pytest.raises(Trouble, match="cannot write .*summary.txt: Is a directory"):
        session.write_results(run)
