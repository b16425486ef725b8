# SPDX-License-Identifier: BSD-3-Clause
"""Two builds of vMux, measured in turn: what their pairs of samples say of each figure."""
import math
import statistics
from typing import NamedTuple

from . import stats

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
MORE_IS_BETTER = ("frames/s", "Mbit/s")
LESS_IS_BETTER = ("ns", "us", "ns/frame")
FEWEST = 5  # pairs; of fewer the width itself is a guess
WIDEST = 0.03  # half of an interval that says something


class Interval(NamedTuple):
    """NEW's speed by OLD's: more than 1 is faster, whichever way the unit goes."""

    ratio: float
    low: float
    high: float

    @property
    def half_width(self):
        return (self.high - self.low) / 2


def interval(logarithms):
    """From the logarithms of the pairs' ratios, which are as far from nought for twice as from half as fast; None of
    fewer than two."""
    reach = stats.half_width(logarithms)
    if reach is None:
        return None
    middle = stats.mean(logarithms)
    return Interval(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))


def verdict(found, widest=WIDEST):
    """Of an interval, or None. One that lies below 1 is slower, however wide it is."""
    if found is None:
        return INCONCLUSIVE
    if found.high < 1:
        return FAIL
    return PASS if found.half_width <= widest else INCONCLUSIVE


def verdict_of_all(verdicts):
    """No cell at all says nothing."""
    for one in (FAIL, INCONCLUSIVE):
        if one in verdicts:
            return one
    return PASS if verdicts else INCONCLUSIVE


class Cell:
    """One figure of a benchmark, with its pairs."""

    def __init__(self, benchmark, row):
        self.benchmark, self.name, self.bytes, self.direction, self.unit = (
            benchmark, row["name"], row["bytes"], row["direction"], row["unit"])
        self.pairs = []  # (old, new)
        self.left_out = 0

    @property
    def title(self):
        words = [self.name] + [self.direction] * (self.direction != self.name) + [f"{self.bytes} B"] * (self.bytes > 0)
        return ", ".join(words)

    @property
    def interval(self):
        sign = 1 if self.unit in MORE_IS_BETTER else -1
        return interval([sign * math.log(new / old) for old, new in self.pairs])

    def is_decided(self, fewest=FEWEST, widest=WIDEST):
        return len(self.pairs) >= fewest and self.interval.half_width <= widest

    def to_json(self, fewest=FEWEST, widest=WIDEST):
        """A cell with too few pairs (others were left out, or the run was interrupted) has no verdict, whatever they say."""
        found = self.interval
        old, new = (statistics.median(side) if side else None for side in (tuple(zip(*self.pairs)) or ((), ())))
        rounded = [round(value, 4) for value in found] if found else [None] * 3
        return {"benchmark": self.benchmark, "name": self.name, "bytes": self.bytes, "direction": self.direction, "unit": self.unit,
                "old": old, "new": new, **dict(zip(("ratio", "low", "high"), rounded)), "pairs": len(self.pairs),
                "left_out": self.left_out, "verdict": verdict(found if len(self.pairs) >= fewest else None, widest)}


def has_verdict(row):
    """Whether a row is about speed: a rate or a time. An idle share is small and coarse: its ratio says nothing."""
    return row["unit"] in MORE_IS_BETTER + LESS_IS_BETTER


def stood_alike(rows, alike):
    """Whether the CPUs were as far from each other for both samples, where the benchmark tells; None: they moved."""
    distances = [place["ns"] for row in rows for place in row.get("by_distance", [])]
    return None not in distances and (not distances or alike(distances))


class Comparison:
    """Pairs of reports of the same benchmark, as vmux-bench --json prints them, by cell."""

    def __init__(self, alike):
        """`alike`: whether distances between CPUs count as the same (sides.alike)."""
        self._alike, self.cells = alike, {}

    def add(self, benchmark, old, new):
        """A pair that was taken while the CPUs moved counts as left out: it says where they were, not how fast a build is.
        Nothing is left out for its result."""
        theirs = {key: row for key, row in _rows(new)}
        for key, row in _rows(old):
            if key not in theirs:
                continue
            cell = self.cells.setdefault((benchmark, *key), Cell(benchmark, row))
            pair = row["ours"], theirs[key]["ours"]
            if min(pair) > 0 and stood_alike((row, theirs[key]), self._alike):
                cell.pairs.append(pair)
            else:
                cell.left_out += 1

    def of(self, benchmark):
        return [cell for cell in self.cells.values() if cell.benchmark == benchmark]


def _rows(report):
    """Each figure once: some rows tell the same in several units."""
    seen = set()
    for row in report["results"]:
        key = row["name"], row["bytes"], row["direction"]
        if has_verdict(row) and key not in seen:
            seen.add(key)
            yield key, row
