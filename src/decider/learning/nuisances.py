"""Reward models by arm, cross-fitted over members: what doubly robust learning and evaluation stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.evaluation import Logged
from decider.learning.bases import Base, fit_base
from decider.learning.ridge import Moments, moments, ridge
from decider_core.by_fold import predict_by_fold

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
    if base == "linear":
        sums = RewardSums(log.n_arms, n_folds)
        sums.add(log, z, fold)
        return sums.models(log.arms).predict(z, fold)
    check_rows(log, fold, n_folds)
    predicted = np.empty((log.n_rows, log.n_arms))
    for code in range(log.n_arms):
        for f in range(n_folds):
            given = np.flatnonzero((fold != f) & (log.arm == code))
            rows = np.flatnonzero(fold == f)
            predicted[rows, code] = fit_base(base, z[given], log.reward[given], seed)(z[rows])
    return predicted


class RewardModels(NamedTuple):
    """Linear models of the reward by fold and arm, each learnt from the members of the other folds.

    Parameters
    ----------
    coefficients
        float64 of shape [folds, A, d].
    """

    coefficients: NDArray[np.float64]

    def predict(self, z: NDArray[np.float32], fold: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predict every arm's reward, float64 of shape [n, A]."""
        return predict_by_fold(z, fold, self.coefficients)


class RewardSums:
    """What cross-fitted linear models are learnt from, added up as rows pass by.

    Parameters
    ----------
    n_arms, n_folds
        How many arms and folds.
    """

    def __init__(self, n_arms: int, n_folds: int) -> None:
        self._parts: list[list[Moments | None]] = [[None] * n_folds for _ in range(n_arms)]

    def add(self, log: Logged, z: NDArray[np.float32], fold: NDArray[np.int64]) -> None:
        """Add rows: mapped features, float32 of shape [n, d], and each row's fold, int64 of shape [n]."""
        for code, parts in enumerate(self._parts):
            given = np.flatnonzero(log.arm == code)
            for f, before in enumerate(parts):
                rows = given[fold[given] == f]
                more = moments(z[rows], log.reward[rows])
                parts[f] = more if before is None else before.plus(more)

    def models(self, arms: Sequence[str]) -> RewardModels:
        """Learn the models.

        Raises
        ------
        InvalidInput
            Naming every arm that has too few rows outside some fold.
        """
        known = [[part for part in parts if part is not None] for parts in self._parts]
        _refuse_few(arms, [[round(part.gram[0, 0]) for part in parts] for parts in known])
        n_folds = len(known[0])
        others = [[f for f in range(n_folds) if f != left_out] for left_out in range(n_folds)]
        return RewardModels(
            np.array([[ridge(_total([parts[f] for f in some])) for parts in known] for some in others])
        )


def check_rows(log: Logged, fold: NDArray[np.int64], n_folds: int) -> None:
    """Refuse a log where an arm has fewer than MINIMUM_ROWS rows outside some fold."""
    _refuse_few(
        log.arms,
        [np.bincount(fold[log.arm == code], minlength=n_folds).tolist() for code in range(log.n_arms)],
    )


def _refuse_few(arms: Sequence[str], counts: list[list[int]]) -> None:
    broken = []
    for arm, each in zip(arms, counts, strict=True):
        fewest = min((sum(each) - count for count in each), default=0)
        if fewest < MINIMUM_ROWS:
            rule = f"must have at least {MINIMUM_ROWS} rows outside each of {len(each)} folds"
            broken.append(Violation(f"arm {arm!r}", f"{rule}, got {fewest}"))
    if broken:
        raise InvalidInput(broken)


def _total(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total.plus(part)
    return total
