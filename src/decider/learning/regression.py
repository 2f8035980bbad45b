"""A Gaussian posterior over linear coefficients that is honest about noise of any shape."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.learning.shrinkage import Grid, directions, shrink

MEMBERS_PER_COEFFICIENT = 4
"""The least number of members for each coefficient."""


class LinearPosterior(NamedTuple):
    """What is known of the coefficients of ``y = w . z + noise``.

    Parameters
    ----------
    mean
        float64 of shape [d].
    covariance
        float64 of shape [d, d].
    noise_variance
        Of a row of weight one, on average.
    shrinkage
        The posterior mean of the factor by which a typical slope is pulled to zero, in (0, 1).
    n_dependent
        How many directions of the slopes the rows say nothing about, their features being constant or
        combinations of others: there the prior stands.
    n_rows
        How many rows it was learnt from.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    noise_variance: float
    shrinkage: float
    n_dependent: int
    n_rows: int


def fit(
    z: NDArray[np.float32],
    y: NDArray[np.float64],
    member_keys: NDArray[np.uint64],
    weight: NDArray[np.float64] | None = None,
) -> LinearPosterior:
    """Learn the coefficients.

    The intercept has a flat prior and the slopes share ``N(0, s)``, averaged over s as
    :mod:`decider.learning.shrinkage` has it. The mean is that of the Gaussian posterior under even noise.
    With G the centred Gram matrix, P the penalty ``sigma^2 / s`` and M the sum over members of the outer
    products of their ``sum w z residual``, the covariance given s is ::

        inv(G + P) (M + P^2 s) inv(G + P)

    the expected squared error of that mean under the prior, when the noise is what the residuals show [1]_.
    It equals the usual ``sigma^2 inv(G + P)`` if M is ``sigma^2 G``, and stays true where the noise varies
    with z or binds the rows of a member.

    Parameters
    ----------
    z
        float32 of shape [n, d], its first column ones; its other columns standardised, since they share s.
    y
        float64 of shape [n], not all the same.
    member_keys
        uint64 of shape [n].
    weight
        Inverse of each row's expected noise variance up to a factor, float64 of shape [n]; None for ones.

    Raises
    ------
    InvalidInput
        If there are fewer than 4 members for each coefficient, or y is an exact line in z.

    References
    ----------
    .. [1] Mueller, "Risk of Bayesian inference in misspecified models, and the sandwich covariance matrix",
           Econometrica 81, 2013.
    .. [2] MacKinnon, White, "Some heteroskedasticity-consistent covariance matrix estimators with improved
           finite sample properties", Journal of Econometrics 29, 1985 (HC3).
    """
    n, n_coefficients = z.shape
    members, places = np.unique(member_keys, return_inverse=True)
    _check_members(len(members), n_coefficients)
    weight = np.ones(n) if weight is None else weight
    total = weight.sum()
    z_mean, y_mean = weight @ z[:, 1:] / total, float(weight @ y / total)
    centred = z[:, 1:] - z_mean
    values, vectors, seen = directions(centred.T @ (weight[:, None] * centred))
    values, x = values[seen], centred @ vectors[:, seen]
    squares = float(weight @ (y - y_mean) ** 2)
    if squares <= 1e-20 * float(weight @ y**2):
        raise InvalidInput.of("y", "must vary", y_mean, f"in all {n} rows")
    grid = shrink(values, (weight * (y - y_mean)) @ x, squares, n - 1)
    slopes = grid.share @ grid.slopes
    residual = y - y_mean - x @ slopes
    # The residual that a row would have, had it been left out [2]_.
    leverage = weight / total + weight * (x**2 / (values + grid.share @ grid.penalty)).sum(axis=1)
    push = weight * residual / (1 - leverage)
    meat = _meat(np.concatenate([push[:, None], push[:, None] * x], axis=1), places, len(members))
    covariance = _covariance(meat, grid, values, slopes, total)
    scale = float(grid.share @ (grid.noise / grid.penalty))
    turn = _back_to_features(vectors, seen, z_mean)
    n_seen = len(covariance)
    whole = np.zeros((n_coefficients, n_coefficients))
    whole[:n_seen, :n_seen] = covariance
    whole[range(n_seen, n_coefficients), range(n_seen, n_coefficients)] = scale
    whole = turn @ whole @ turn.T
    return LinearPosterior(
        mean=turn[:, :n_seen] @ np.concatenate([[y_mean], slopes]),
        covariance=(whole + whole.T) / 2,
        noise_variance=float(weight @ residual**2) / (n - 1),
        shrinkage=float(grid.share @ grid.factor),
        n_dependent=n_coefficients - n_seen,
        n_rows=n,
    )


def _check_members(n_members: int, n_coefficients: int) -> None:
    fewest = MEMBERS_PER_COEFFICIENT * n_coefficients
    if n_members < fewest:
        rule = f"must be at least {fewest} for {n_coefficients} coefficients"
        raise InvalidInput.of("members", rule, n_members)


def _meat(push: NDArray[np.float64], places: NDArray[np.int64], n_members: int) -> NDArray[np.float64]:
    """Sum each member's rows, then the outer products of the sums."""
    if n_members < len(push):
        push = np.stack([np.bincount(places, weights=column) for column in push.T], axis=1)
    return n_members / (n_members - 1) * (push.T @ push)


def _covariance(
    meat: NDArray[np.float64],
    grid: Grid,
    values: NDArray[np.float64],
    slopes: NDArray[np.float64],
    total: float,
) -> NDArray[np.float64]:
    """Covariance of [y_mean, slopes along the eigenvectors], averaged over the grid."""
    bread = np.column_stack([np.full(len(grid.share), 1 / total), 1 / (values + grid.penalty[:, None])])
    covariance: NDArray[np.float64] = (bread.T @ (grid.share[:, None] * bread)) * meat
    apart = grid.slopes - slopes
    covariance[1:, 1:] += (grid.share[:, None] * apart).T @ apart
    # P^2 s = P sigma^2, the error that the pull to zero makes.
    pull = (grid.share * grid.penalty * grid.noise) @ bread[:, 1:] ** 2
    covariance[range(1, len(covariance)), range(1, len(covariance))] += pull
    return covariance


def _back_to_features(
    vectors: NDArray[np.float64], seen: NDArray[np.bool_], z_mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From [y_mean, slopes along the eigenvectors, those that were seen first] to [intercept, slopes]."""
    turn = np.zeros((len(z_mean) + 1, len(z_mean) + 1))
    turn[1:, 1:] = np.concatenate([vectors[:, seen], vectors[:, ~seen]], axis=1)
    turn[0, 0], turn[0, 1:] = 1.0, -z_mean @ turn[1:, 1:]
    return turn
