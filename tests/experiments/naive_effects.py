"""Differences between two groups of members, from their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def error_of_mean(values: Sequence[float]) -> float:
    """Squared standard error of a mean."""
    centre = mean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1) / len(values)


def ratio_parts(y: Sequence[float], d: Sequence[float]) -> list[float]:
    """What each member moves the ratio of means by, times the number of members."""
    ratio = mean(y) / mean(d)
    return [(a - ratio * b) / mean(d) for a, b in zip(y, d, strict=True)]


def difference(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Difference of means and its standard error."""
    return mean(one) - mean(other), math.sqrt(error_of_mean(one) + error_of_mean(other))
