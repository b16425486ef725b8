# SPDX-License-Identifier: BSD-3-Clause
"""Means, their uncertainty, and whether two sets of samples differ by more than that."""
import math
from typing import NamedTuple

# Student's t, two-sided 95 %, by degrees of freedom.
T95 = (
    (1, 12.706),
    (2, 4.303),
    (3, 3.182),
    (4, 2.776),
    (5, 2.571),
    (6, 2.447),
    (8, 2.306),
    (10, 2.228),
    (15, 2.131),
    (20, 2.086),
    (30, 2.042),
    (60, 2.000),
)


def mean(values):
    return sum(values) / len(values) if values else math.nan


def variance(values):
    if len(values) < 2:
        return 0.0
    middle = mean(values)
    return sum((value - middle) ** 2 for value in values) / (len(values) - 1)


def t95(freedom):
    """The next smaller degree in the table: on the careful side."""
    fitting = [t for degrees, t in T95 if degrees <= freedom]
    return fitting[-1] if fitting else T95[0][1]


def half_width(values):
    """Half of the 95 % interval of the mean; None of fewer than two samples."""
    if len(values) < 2:
        return None
    return t95(len(values) - 1) * math.sqrt(variance(values) / len(values))


class Difference(NamedTuple):
    ratio: float  # b / a, None if a is nothing
    noise: float  # what the ratio may be off by; None if it cannot be told
    beyond_noise: bool


def difference(a, b):
    """Welch's comparison of two means."""
    first, second = mean(a), mean(b)
    ratio = second / first if first else None
    if min(len(a), len(b)) < 2:
        return Difference(ratio, None, False)
    parts = variance(a) / len(a), variance(b) / len(b)
    error = math.sqrt(sum(parts))
    if error == 0:
        return Difference(ratio, 0.0, first != second)
    largest = max(parts)  # in parts of it: the square of a very small number is nought
    shares = [part / largest for part in parts]
    freedom = sum(shares) ** 2 / sum(share**2 / (len(values) - 1) for share, values in zip(shares, (a, b)))
    reach = t95(freedom) * error
    return Difference(ratio, reach / abs(first) if first else None, abs(second - first) > reach)
