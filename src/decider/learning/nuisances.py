"""Reward models by arm, cross-fitted over members: what doubly robust learning and evaluation stand on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.evaluation import Logged
from decider.learning.bases import Base, fit_base
from decider.learning.ridge import Moments, moments, ridge

MINIMUM_ROWS = 30
"""The least number of rows of every arm in every fold's training rows."""


def cross_fit(
    log: Logged,
    z: NDArray[np.float32],
    fold: NDArray[np.int64],
    n_folds: int,
    base: Base = "linear",
    seed: int = 0,
) -> NDArray[np.float64]:
    """Predict the reward of every row under every arm from the members of the other folds.

    For each arm a model of the reward in z; the linear one takes one pass over the rows.

    Parameters
    ----------
    log
        The log; n rows, A arms.
    z
        Mapped features, float32 of shape [n, d], the first column ones.
    fold
        Each row's fold, int64 of shape [n], the same for all rows of a member.
    n_folds
        How many folds.
    base
        The kind of model, see :func:`decider.learning.bases.fit_base`.
    seed
        Of what is random in it.

    Returns
    -------
    numpy.ndarray
        float64 of shape [n, A].

    Raises
    ------
    InvalidInput
        Naming every arm that has too few rows outside some fold.
    """
    check_rows(log, fold, n_folds)
    predicted = np.empty((log.n_rows, log.n_arms))
    members_of = [np.flatnonzero(fold == f) for f in range(n_folds)]
    for code in range(log.n_arms):
        if base != "linear":
            for f, rows in enumerate(members_of):
                given = np.flatnonzero((fold != f) & (log.arm == code))
                predicted[rows, code] = fit_base(base, z[given], log.reward[given], seed)(z[rows])
            continue
        parts = []
        for rows in members_of:
            given = rows[log.arm[rows] == code]
            parts.append(moments(z[given], log.reward[given]))
        for f, rows in enumerate(members_of):
            others = [part for other, part in enumerate(parts) if other != f]
            predicted[rows, code] = z[rows].astype(np.float64) @ ridge(_total(others))
    return predicted


def check_rows(log: Logged, fold: NDArray[np.int64], n_folds: int) -> None:
    """Refuse a log where an arm has fewer than MINIMUM_ROWS rows outside some fold."""
    broken = []
    for code, arm in enumerate(log.arms):
        counts = np.bincount(fold[log.arm == code], minlength=n_folds)
        fewest = int((counts.sum() - counts).min())
        if fewest < MINIMUM_ROWS:
            rule = f"must have at least {MINIMUM_ROWS} rows outside each of {n_folds} folds"
            broken.append(Violation(f"arm {arm!r}", f"{rule}, got {fewest}"))
    if broken:
        raise InvalidInput(broken)


def _total(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total.plus(part)
    return total
