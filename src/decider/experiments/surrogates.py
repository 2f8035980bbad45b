"""A slow outcome foretold from early numbers, as history teaches."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.experiments.effects import Effect, Ends, Looks, metric_effect, refused
from decider.experiments.outcomes import moments_of
from decider_core.sequences import sequence_half_width

Floats = NDArray[np.float64]

LEAST_HISTORY = 1_000
"""Members of history before an index is fitted."""
LEAST_R_SQUARED = 0.01
"""Share of the outcome's variance that the surrogates must tell of members not fitted on."""
_FOLDS = 5


@dataclass(frozen=True)
class SurrogateIndex:
    """The best linear forecast of a slow outcome from early numbers.

    Parameters
    ----------
    names
        Of the k surrogates.
    intercept
        Of the forecast.
    slopes
        float64 of shape [k].
    covariance
        Of the slopes, float64 of shape [k, k]; holds whatever the spread of the outcome (HC1).
    r_squared
        Share of the outcome's variance that it tells of members it was not fitted on (five folds).
    n_members
        Members of history.
    """

    names: tuple[str, ...]
    intercept: float
    slopes: Floats
    covariance: Floats
    r_squared: float
    n_members: int

    def of(self, surrogates: Floats) -> Floats:
        """Forecast the outcome of n members, float64 of shape [n], from their surrogates of shape [k, n]."""
        forecast: Floats = self.intercept + self.slopes @ surrogates
        return forecast


def fit_surrogates(names: tuple[str, ...], surrogates: Floats, outcome: Floats) -> SurrogateIndex:
    """Learn the index from members whose slow outcome is known.

    Parameters
    ----------
    names
        Of the surrogates.
    surrogates
        float64 of shape [k, n].
    outcome
        float64 of shape [n].

    Raises
    ------
    InvalidInput
        For too few members, numbers that are not finite, or surrogates that say the same.

    Notes
    -----
    What an effect on the index says of the outcome rests on two things that no experiment can show: the treatment
    works on the outcome through the surrogates alone, and these forecast it now as they did then [1]_.

    References
    ----------
    .. [1] Athey, Chetty, Imbens, Kang, "The surrogate index: combining short-term proxies to estimate long-term
           treatment effects more rapidly and precisely", NBER working paper 26463, 2019, sections 2 and 3.
    """
    n = outcome.size
    if surrogates.shape != (len(names), n):
        found = str(surrogates.shape)
        raise InvalidInput.of("history", f"must have {len(names)} surrogates of {n} members", found)
    if n < LEAST_HISTORY:
        raise InvalidInput.of("history", f"must hold at least {LEAST_HISTORY} members", n)
    if not (np.isfinite(surrogates).all() and np.isfinite(outcome).all()):
        raise InvalidInput.of("history", "must be finite", "a number that is not")
    design = np.vstack([np.ones(n), surrogates])
    spread = surrogates.std(axis=1)
    if (spread == 0).any() or np.linalg.matrix_rank(np.atleast_2d(np.corrcoef(surrogates))) < len(names):
        raise InvalidInput.of(
            "surrogates", "must each say something of their own, in the history", list(names)
        )
    fitted = _least_squares(design, outcome)
    residual = outcome - fitted @ design
    bread = np.linalg.inv(design @ design.T)
    meat = (design * np.square(residual)) @ design.T
    covariance = bread @ meat @ bread * (n / (n - len(design)))
    return SurrogateIndex(
        names, float(fitted[0]), fitted[1:], covariance[1:, 1:], _held_out(design, outcome), n
    )


def index_effect(
    index: SurrogateIndex,
    cells: NDArray[np.uint8],
    surrogates: Floats,
    cell: int,
    base: int,
    n_cells: int,
    looks: Looks,
) -> Effect:
    """Compare the forecast outcome between two cells.

    With D the difference of the surrogates' means, the effect is ``slopes . D``, and its variance has two parts:
    that of the members in the experiment, and ``D' cov(slopes) D`` of the history. The first falls from look to
    look and has a confidence sequence; the second stays, and has an interval. Each takes half of what the level
    leaves.

    Parameters
    ----------
    index
        From history.
    cells
        uint8 of shape [n].
    surrogates
        float64 of shape [k, n].
    cell, base, n_cells
        Codes of the two cells, and cells in all.
    looks
        How the interval is made.
    """
    if index.r_squared < LEAST_R_SQUARED:
        rule = f"the surrogates must tell {LEAST_R_SQUARED:.0%} of the outcome's variance"
        return refused(f"{rule}, got {index.r_squared:.1%}")
    found = metric_effect(moments_of(cells, [index.of(surrogates)], n_cells), cell, base, looks)
    if found.value is None or found.standard_error is None:
        return found
    apart = _means(surrogates, cells == cell) - _means(surrogates, cells == base)
    taught = float(np.sqrt(apart @ index.covariance @ apart))
    spared = 1.0 - looks.level
    half = (
        sequence_half_width(found.standard_error, found.n_members, looks.planned_members, 1.0 - spared / 2.0)
        + NormalDist().inv_cdf(1.0 - spared / 4.0) * taught
    )
    return Effect(
        value=found.value,
        standard_error=float(np.hypot(found.standard_error, taught)),
        interval=Ends(found.value - half, found.value + half),
        level=looks.level,
        n_members=found.n_members,
        mean=found.mean,
        base_mean=found.base_mean,
    )


def _means(surrogates: Floats, which: NDArray[np.bool_]) -> Floats:
    means: Floats = surrogates[:, which] @ np.full(int(which.sum()), 1.0 / which.sum())
    return means


def _least_squares(design: Floats, outcome: Floats) -> Floats:
    return np.asarray(np.linalg.solve(design @ design.T, design @ outcome), np.float64)


def _held_out(design: Floats, outcome: Floats) -> float:
    folds = np.arange(outcome.size) % _FOLDS
    wrong = 0.0
    for fold in range(_FOLDS):
        out = folds == fold
        fitted = _least_squares(design[:, ~out], outcome[~out])
        wrong += float(np.square(outcome[out] - fitted @ design[:, out]).sum())
    spread = float(np.square(outcome - outcome.mean()).sum())
    return 1.0 - wrong / spread if spread > 0 else 0.0
