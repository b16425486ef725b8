# SPDX-License-Identifier: BSD-3-Clause
import json

import pytest
from measure import compare, stats, summary
from measure.report import page
from measure.rundir import Recorded, RunDirectory, Trouble


def recorded(path, mbits, cpu, status="complete"):
    """A run of one phase and as many rounds as there are figures, ten seconds each."""
    run = RunDirectory(path, {"title": path.name, "machine": "m"})
    for number, (rate, used) in enumerate(zip(mbits, cpu)):
        start = number * 10.0
        run.phase(
            {
                "phase": "tcp",
                "round": number + 1,
                "start": start,
                "end": start + 10,
                "throughput": {"mbits": rate, "seconds": [rate] * 10, "retransmits": 0},
            }
        )
        for second in range(1, 11):
            run.sample("thread", "vmux", {"cpu": used}, start + second)
            run.sample("thread", "vmux/poller0", {"cpu": used}, start + second)
    run.finish(status)
    return Recorded(path)


def row(rows, metric):
    return next(one for one in rows if one["metric"] == metric)


def test_a_mean_is_of_rounds_when_there_are_enough(tmp_path):
    rows = summary.rows_of(recorded(tmp_path / "a", [100, 200, 300], [50, 50, 50]))
    assert row(rows, "throughput")["value"] == 200 and row(rows, "throughput")["of"] == "rounds"


def test_a_mean_is_of_seconds_when_rounds_are_few(tmp_path):
    found = row(summary.rows_of(recorded(tmp_path / "a", [100], [50])), "throughput")
    assert found["of"] == "seconds" and len(found["samples"]) == 10


def test_cpu_per_gigabyte_is_independent_of_speed(tmp_path):
    rows = summary.rows_of(recorded(tmp_path / "a", [800] * 3, [50] * 3))
    assert row(rows, "CPU per GB")["value"] == 5.0  # half a CPU at a tenth of a gigabyte a second


def test_a_difference_beyond_the_scatter_is_told(tmp_path):
    a, b = recorded(tmp_path / "a", [100, 101, 99], [50, 51, 49]), recorded(tmp_path / "b", [150, 151, 149], [80, 81, 79])
    rows, _ = compare.compare(a, b)
    assert (row(rows, "throughput")["ratio"], row(rows, "throughput")["verdict"]) == (1.5, "better")
    assert row(rows, "CPU vmux")["verdict"] == "worse"


def test_a_difference_inside_the_scatter_is_noise(tmp_path):
    rows, _ = compare.compare(
        recorded(tmp_path / "a", [100, 120, 80], [50] * 3), recorded(tmp_path / "b", [105, 125, 85], [50] * 3)
    )
    assert row(rows, "throughput")["verdict"] == "within noise"


def test_runs_without_a_common_figure_are_refused(tmp_path):
    with pytest.raises(Trouble, match="no figure in common"):
        compare.compare(recorded(tmp_path / "a", [], []), recorded(tmp_path / "b", [1], [1]))


def test_an_incomplete_run_is_named(tmp_path):
    a, b = recorded(tmp_path / "a", [1, 2, 3], [1] * 3), recorded(tmp_path / "b", [1, 2, 3], [1] * 3, "interrupted")
    assert "B is not complete: interrupted" in compare.notes(a, b, {"a": [], "b": []})


def test_a_run_that_was_killed_can_be_read(tmp_path):
    run = RunDirectory(tmp_path / "a", {"title": "a"})
    run.sample("cpu", "host", {"busy": 50.0}, 1.0)
    with open(tmp_path / "a" / "samples.jsonl", "a") as file:
        file.write('{"t": 2, "sour')
    found = Recorded(tmp_path / "a")
    assert found.about["status"] == "running" and found.series("cpu", "busy") == {"host": [(1.0, 50.0)]}


def test_a_run_does_not_write_over_another(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(Trouble, match="not empty"):
        RunDirectory(tmp_path, {})


def test_a_run_of_another_format_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(Trouble, match="format 99"):
        Recorded(tmp_path)


def test_pages_load_nothing_and_hold_what_was_measured(tmp_path):
    a, b = recorded(tmp_path / "a", [100, 101, 99], [50] * 3), recorded(tmp_path / "b", [150] * 3, [50] * 3)
    text = page.run_page(a, summary.rows_of(a)) + page.compare_page(a, b, *compare.compare(a, b))
    assert "TCP to the VM" in text and "poller0" in text and "1.500" in text
    assert not any(
        word in text.replace("http://www.w3.org/2000/svg", "") for word in ("http:", "https:", "src=", "@import", "url(")
    )


@pytest.mark.parametrize(
    "a, b, beyond", [([10, 10, 10], [10, 10, 10], False), ([10, 10, 10], [11, 11, 11], True), ([9, 10, 11], [10, 11, 12], False)]
)
def test_difference_weighs_the_scatter(a, b, beyond):
    assert stats.difference(a, b).beyond_noise == beyond


def test_difference_of_single_samples_is_never_told():
    assert stats.difference([1], [2]) == (2.0, None, False)


def test_difference_from_nothing_has_no_ratio():
    assert stats.difference([0, 0], [1, 1]).ratio is None
