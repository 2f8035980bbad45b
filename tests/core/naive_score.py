"""Posterior moments from their definitions, in Python floats."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]


def dot(a: Vector, b: Vector) -> float:
    return math.fsum(p * q for p, q in zip(a, b, strict=True))


def moments(mean: Vector, covariance: Sequence[Vector], x: Vector) -> tuple[float, float]:
    """Return mean and standard deviation of x'w for w ~ N(mean, covariance)."""
    variance = dot(x, [dot(row, x) for row in covariance])
    return dot(mean, x), math.sqrt(max(variance, 0.0))


def diagonal_moments(mean: Vector, variance: Vector, x: Vector) -> tuple[float, float]:
    return dot(mean, x), math.sqrt(dot(variance, [v * v for v in x]))


def fatigue(z: Vector, v: Vector) -> float:
    return max(0.0, dot(z, v))


def standardise(x: Vector, mean: Vector, inverse_scale: Vector, intercept: bool) -> list[float]:
    scaled = [(v - m) * s for v, m, s in zip(x, mean, inverse_scale, strict=True)]
    return [1.0, *scaled] if intercept else scaled
