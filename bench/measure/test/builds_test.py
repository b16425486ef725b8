# SPDX-License-Identifier: BSD-3-Clause
import math

import pytest
from measure import builds
from measure.builds import FAIL, INCONCLUSIVE, PASS


def row(ours, name="to host", size=64, unit="frames/s", distance=None):
    """`distance` between the CPUs, in ns; 0: they moved."""
    found = {"name": name, "bytes": size, "direction": name, "unit": unit, "ours": ours, "reference": 1.0}
    return found if distance is None else {**found, "by_distance": [{"ns": distance or None, "pairs": 1}]}


def alike(distances):
    return max(distances) <= 1.6 * min(distances)


def compared(pairs, unit="frames/s"):
    comparison = builds.Comparison(alike)
    for old, new in pairs:
        comparison.add("nic", {"results": [row(old, unit=unit)]}, {"results": [row(new, unit=unit)]})
    return comparison.of("nic")[0]


def test_an_interval_is_students_of_the_logarithms():
    """By hand: logarithms 0.00, 0.02, 0.04: mean 0.02, deviation 0.02, t of two degrees 4.303."""
    found = builds.interval([0.00, 0.02, 0.04])
    reach = 4.303 * 0.02 / math.sqrt(3)
    assert found.ratio == pytest.approx(math.exp(0.02))
    assert found.low == pytest.approx(math.exp(0.02 - reach)) and found.high == pytest.approx(math.exp(0.02 + reach))
    assert found.half_width == pytest.approx((math.exp(0.02 + reach) - math.exp(0.02 - reach)) / 2)


def test_twice_and_half_as_fast_are_as_fast():
    assert compared([(100, 200), (100, 50)]).interval.ratio == pytest.approx(1.0)


def test_one_pair_says_nothing():
    cell = compared([(100, 100)])
    assert cell.interval is None and cell.to_json()["verdict"] == INCONCLUSIVE and cell.to_json()["ratio"] is None


def test_what_all_rounds_share_is_not_noise():
    """The machine was three times slower in the second round, for both."""
    cell = compared([(300, 303), (100, 101), (200, 202)])
    assert cell.interval.ratio == pytest.approx(1.01) and cell.interval.half_width < 1e-9


@pytest.mark.parametrize("unit, old, new", [("frames/s", 100, 110), ("Mbit/s", 100, 110), ("ns", 110, 100), ("ns/frame", 110, 100)])
def test_faster_is_more_than_one_whichever_way_the_unit_goes(unit, old, new):
    assert compared([(old, new)] * 3, unit).interval.ratio == pytest.approx(1.1)


@pytest.mark.parametrize("low, high, expected", [
    (0.98, 1.03, PASS),          # has 1 in it
    (1.02, 1.07, PASS),          # above
    (0.95, 0.999, FAIL),         # below
    (0.50, 0.90, FAIL),          # below, and wide: slower in any case
    (0.95, 1.05, INCONCLUSIVE),  # has 1 in it, and is wide
    (1.10, 1.30, INCONCLUSIVE),  # above, and wide
    (0.97, 1.03, PASS),          # as wide as may be
])
def test_a_verdict_is_of_where_the_interval_lies_and_how_wide_it_is(low, high, expected):
    assert builds.verdict(builds.Interval((low + high) / 2, low, high), 0.0301) == expected


def test_no_interval_is_inconclusive():
    assert builds.verdict(None) == INCONCLUSIVE


@pytest.mark.parametrize("verdicts, expected", [
    ([PASS, PASS], PASS), ([PASS, INCONCLUSIVE], INCONCLUSIVE), ([INCONCLUSIVE, FAIL, PASS], FAIL), ([], INCONCLUSIVE)])
def test_the_worst_verdict_is_that_of_all(verdicts, expected):
    assert builds.verdict_of_all(verdicts) == expected


def test_a_cell_is_decided_when_it_is_narrow_and_has_pairs_enough():
    assert not compared([(100, 100)] * 4).is_decided()
    assert compared([(100, 100)] * 5).is_decided()
    assert not compared([(100, 100), (100, 130)] * 5).is_decided()


def test_pairs_that_met_different_distances_are_left_out():
    comparison = builds.Comparison(alike)
    for old, new in ((90, 100), (90, 480), (480, 480), (0, 90)):
        comparison.add("nic", {"results": [row(1.0, distance=old)]}, {"results": [row(2.0, distance=new)]})
    assert (len(comparison.of("nic")[0].pairs), comparison.of("nic")[0].left_out) == (2, 2)


def test_a_sample_of_nothing_is_left_out():
    cell = compared([(0, 1.0), (1.0, 1.0)])
    assert (len(cell.pairs), cell.left_out) == (1, 1)


def test_a_figure_counts_once_and_an_idle_share_not_at_all():
    rows = [row(5.0), row(9.0, unit="Mbit/s"), row(9.0, unit="Gbit/s"), row(7.0, size=1514), row(3.0, name="idle", size=0, unit="% of a core")]
    comparison = builds.Comparison(alike)
    comparison.add("ports", {"results": rows}, {"results": rows})
    assert [(cell.bytes, cell.unit, cell.pairs) for cell in comparison.of("ports")] == [(64, "frames/s", [(5.0, 5.0)]), (1514, "frames/s", [(7.0, 7.0)])]


@pytest.mark.parametrize("pairs, expected", [([(100, 200)] * 4, INCONCLUSIVE), ([(100, 200)] * 5, PASS), ([(200, 100)] * 4, INCONCLUSIVE)])
def test_a_few_pairs_have_no_verdict(pairs, expected):
    assert compared(pairs).to_json()["verdict"] == expected


def test_cells_of_two_benchmarks_are_apart():
    comparison = builds.Comparison(alike)
    for name in ("nic", "ports"):
        comparison.add(name, {"results": [row(1.0)]}, {"results": [row(1.0)]})
    assert len(comparison.of("nic")) == len(comparison.of("ports")) == 1 and len(comparison.cells) == 2


def test_json_has_medians_and_the_interval():
    told = compared([(100, 100), (200, 200), (400, 400)]).to_json(fewest=3)
    assert (told["old"], told["new"], told["ratio"], told["low"], told["high"], told["pairs"]) == (200, 200, 1.0, 1.0, 1.0, 3)
    assert told["verdict"] == PASS
