"""A Gaussian posterior learned one row at a time, in covariance form (the Kalman update)."""

from __future__ import annotations

from collections.abc import Sequence

Vector = list[float]
Matrix = list[Vector]


def learn_row(
    mean: Vector, covariance: Matrix, x: Sequence[float], y: float, noise_variance: float
) -> tuple[Vector, Matrix]:
    """Condition w ~ N(mean, covariance) on y = x'w + noise."""
    size = len(mean)
    cx = [sum(covariance[i][j] * x[j] for j in range(size)) for i in range(size)]
    spread = noise_variance + sum(x[i] * cx[i] for i in range(size))
    surprise = y - sum(x[i] * mean[i] for i in range(size))
    new_mean = [mean[i] + cx[i] * surprise / spread for i in range(size)]
    new_covariance = [[covariance[i][j] - cx[i] * cx[j] / spread for j in range(size)] for i in range(size)]
    return new_mean, new_covariance
