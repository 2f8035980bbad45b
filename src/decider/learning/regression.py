"""Bayesian linear regression from sufficient statistics, the prior's scale averaged by evidence."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.posterior import gram_update

_GRID: Final = 64


class Moments(NamedTuple):
    """Weighted sums over rows of ``[z, y]``; those of two sets of rows add up.

    Parameters
    ----------
    gram
        ``sum w z z'``, float64 of shape [d, d]; the first entry of z is one.
    information
        ``sum w z y``, float64 of shape [d].
    squares
        ``sum w y^2``.
    n_rows
        How many rows.
    """

    gram: NDArray[np.float64]
    information: NDArray[np.float64]
    squares: float
    n_rows: int

    def plus(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows."""
        return Moments(
            self.gram + other.gram,
            self.information + other.information,
            self.squares + other.squares,
            self.n_rows + other.n_rows,
        )


class LinearPosterior(NamedTuple):
    """What is known of the coefficients of ``y = w . z + noise``.

    Parameters
    ----------
    mean
        float64 of shape [d].
    covariance
        float64 of shape [d, d].
    noise_variance
        Of one row of weight one.
    shrinkage
        Between 0 (the slopes are as least squares has them) and 1 (the slopes are zero): the posterior mean
        of the factor by which a slope is pulled to zero.
    n_dependent
        How many slopes the rows say nothing about, their features being constant or combinations of others.
    n_rows
        How many rows it was learnt from.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    noise_variance: float
    shrinkage: float
    n_dependent: int
    n_rows: int


def moments(
    z: NDArray[np.float32],
    y: NDArray[np.float64],
    weight: NDArray[np.float64] | None = None,
) -> Moments:
    """Add up rows.

    Parameters
    ----------
    z
        float32 of shape [n, d], its first column ones.
    y
        float64 of shape [n].
    weight
        Inverse of each row's relative noise variance, float64 of shape [n]; None for ones.
    """
    weight = np.ones(len(y)) if weight is None else weight
    d = z.shape[1]
    gram, information = np.zeros((d, d)), np.zeros(d)
    gram_update(gram, information, z, y, weight)
    return Moments(gram, information, float(weight @ np.square(y)), len(y))


def fit(rows: Moments) -> LinearPosterior:
    """Learn the coefficients.

    The intercept has a flat prior. The slopes of the centred features share ``w ~ N(0, s)``, and their
    least-squares estimates are pulled to zero by the factor ``u = 1 / (1 + s e / sigma^2)``, e the mean
    eigenvalue of the centred Gram matrix. The scale s is not set by hand, nor at the one value of the largest
    evidence, which may be zero and would then call itself certain that all slopes are: u has the uniform
    prior [1]_, and the posterior is averaged over a grid of u by the restricted likelihood [2]_, keeping its
    mean and covariance.

    Parameters
    ----------
    rows
        The moments of two or more rows.

    Returns
    -------
    LinearPosterior
        All zeros but the intercept, without uncertainty, if y does not vary.

    References
    ----------
    .. [1] Daniels, "A prior for the variance in hierarchical models", Canadian J. of Statistics 27, 1999.
    .. [2] Patterson, Thompson, "Recovery of inter-block information when block sizes are unequal",
           Biometrika 58, 1971; MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
    """
    total = rows.gram[0, 0]
    z_mean, y_mean = rows.gram[0, 1:] / total, rows.information[0] / total
    gram = rows.gram[1:, 1:] - total * np.outer(z_mean, z_mean)
    information = rows.information[1:] - total * z_mean * y_mean
    squares = rows.squares - total * y_mean**2
    n_slopes = len(z_mean)
    if squares <= 1e-12 * rows.squares or rows.squares == 0.0:
        mean = np.zeros(n_slopes + 1)
        mean[0] = y_mean
        return LinearPosterior(mean, np.zeros((n_slopes + 1, n_slopes + 1)), 0.0, 1.0, 0, rows.n_rows)
    values, vectors = np.linalg.eigh(gram) if n_slopes else (np.zeros(0), np.zeros((0, 0)))
    seen = values > 1e-9 * max(values.max(initial=0.0), 1e-300)
    values = np.where(seen, values, 0.0)
    # What lies in an unseen direction is rounding: a small divisor must not make an estimate of it.
    rotated = np.where(seen, vectors.T @ information, 0.0)
    slopes, spread, noise, shrinkage = _average(values, rotated, squares, rows.n_rows - 1)
    slope_mean = vectors @ slopes
    slope_covariance = vectors @ spread @ vectors.T
    # y_mean = intercept + z_mean . w, and the mean of the noise is independent of the slopes.
    mean = np.concatenate([[y_mean - z_mean @ slope_mean], slope_mean])
    covariance = np.empty((n_slopes + 1, n_slopes + 1))
    covariance[1:, 1:] = slope_covariance
    covariance[0, 1:] = covariance[1:, 0] = -slope_covariance @ z_mean
    covariance[0, 0] = noise / total + z_mean @ slope_covariance @ z_mean
    covariance = (covariance + covariance.T) / 2
    return LinearPosterior(mean, covariance, noise, shrinkage, int((~seen).sum()), rows.n_rows)


def _average(
    values: NDArray[np.float64], rotated: NDArray[np.float64], squares: float, freedom: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Average over the grid: mean and covariance along the eigenvectors, noise, shrinkage."""
    if not (values > 0).any():
        # No feature varies: the slopes stay at zero with the variance of one row's noise.
        noise = squares / freedom
        return np.zeros(len(values)), np.eye(len(values)) * noise, noise, 1.0
    typical = values.sum() / (values > 0).sum()
    grid = (np.arange(_GRID) + 0.5) / _GRID
    penalty = (typical * grid / (1 - grid))[:, None]
    slopes = rotated / (values + penalty)
    residual = squares - (rotated * slopes).sum(axis=1)
    noise = residual / freedom
    # log p(y | u) with the intercept integrated out and sigma^2 at its best value.
    evidence = -0.5 * freedom * np.log(residual) + 0.5 * np.log(penalty / (values + penalty)).sum(axis=1)
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    mean = share @ slopes
    apart = slopes - mean
    spread = (share[:, None] * apart).T @ apart
    spread[np.diag_indices(len(values))] += share @ (noise[:, None] / (values + penalty))
    return mean, spread, float(share @ noise), float(share @ grid)
