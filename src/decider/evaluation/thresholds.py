"""How far to clip, shrink or switch: chosen by the data's own bias and noise, never by the value that comes out.

A threshold is chosen on one keyed half of the members and used on the other, both ways round. So no row's
estimate has a threshold that the row helped to choose, and policies that are ranked on rows were not tuned on
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import clustered_error
from decider.evaluation.rows import Rows, Terms, mixed
from decider_core.random import FOLD, stream_key, uniforms

Rule = Literal["slope", "mse"]
Thresholded = Callable[[Rows, float], Terms]

# A stream of its own: these halves have nothing to do with those that models are trained on.
_TUNING: Final = 2
N_CANDIDATES: Final = 12


class Thresholds(NamedTuple):
    """The thresholds of the two halves of the members, each chosen on the other half.

    Parameters
    ----------
    rule
        ``slope`` or ``mse``.
    values
        Of the first and the second half; infinity leaves every weight as it is.
    """

    rule: Rule
    values: tuple[float, float]


def chosen_terms(
    estimator: Thresholded,
    rows: Rows,
    member_keys: NDArray[np.uint64],
    *,
    candidates: Sequence[float] | None = None,
    rule: Rule = "slope",
    seed: int = 0,
) -> tuple[Terms, Thresholds]:
    """Make the terms of an estimator whose threshold is chosen on the other half of the members.

    Parameters
    ----------
    estimator
        One whose bias falls and whose noise grows with its threshold: clipped IPS, Switch-DR, DRos.
    rows
        n rows.
    member_keys
        uint64 of shape [n].
    candidates
        Thresholds, infinity first and then falling; :func:`threshold_candidates` unless given.
    rule
        How: :func:`slope`, or :func:`least_mse`.
    seed
        The seed of the halves.
    """
    first = uniforms(stream_key(seed, FOLD, 0, _TUNING), member_keys) < 0.5
    candidates = threshold_candidates(rows.weight) if candidates is None else candidates
    made = [estimator(rows, threshold) for threshold in candidates]
    pick = slope if rule == "slope" else least_mse
    picks = []
    for half in (~first, first):
        if len(np.unique(member_keys[half])) < 2:
            picks.append(0)  # Nothing to choose by: infinity, which has no bias.
            continue
        halves = [terms.map(lambda column, half=half: column[half]) for terms in made]  # type: ignore[misc]
        picks.append(pick(halves, member_keys[half]))
    thresholds = Thresholds(rule, (candidates[picks[0]], candidates[picks[1]]))
    return mixed(first, made[picks[0]], made[picks[1]]), thresholds


def threshold_candidates(weight: NDArray[np.float64]) -> tuple[float, ...]:
    """Infinity first, then falling geometrically from the largest weight to 1."""
    if not len(weight):
        raise InvalidInput.of("weight", "must hold at least one row", "none")
    top = max(float(weight.max()), 1.0)
    return (np.inf, *np.geomspace(top, 1.0, N_CANDIDATES).tolist()) if top > 1 else (np.inf, 1.0)


def slope(candidates: list[Terms], member_keys: NDArray[np.uint64]) -> int:
    """Pick by SLOPE: the last candidate whose interval still meets all intervals before it.

    Candidates go from least bias and most noise to most bias and least noise. While
    ``[value +- 2 C]`` have a common point, with C two standard errors, noise explains the differences; the
    first that leaves the others has a bias that shows. The error of the one chosen is within a constant of
    the best candidate's.

    References
    ----------
    .. [1] Su, Srinath, Krishnamurthy, "Adaptive estimator selection for off-policy evaluation", ICML 2020,
           algorithm 1.
    """
    low, high, pick, noise = -np.inf, np.inf, 0, np.inf
    for place, terms in enumerate(candidates):
        # The widths must not grow along the way, as the theorem wants.
        noise = min(noise, 2.0 * clustered_error(terms.influence, member_keys))
        low, high = max(low, terms.value - 2.0 * noise), min(high, terms.value + 2.0 * noise)
        if low > high:
            break
        pick = place
    return pick


def least_mse(candidates: list[Terms], member_keys: NDArray[np.uint64]) -> int:
    """Pick the candidate with the least bound on its mean squared error: squared bias and variance.

    The first candidate has no bias, so a candidate's squared distance to it is, in expectation, its squared
    bias and the variance of the distance: an upper bound on the first.

    References
    ----------
    .. [1] Su, Dimakopoulou, Krishnamurthy, Dudik, "Doubly robust off-policy evaluation with shrinkage",
           ICML 2020, section 5; Wang, Agarwal, Dudik, ICML 2017, section 3.2.
    """
    unbiased = candidates[0].value
    bounds = [
        (terms.value - unbiased) ** 2 + clustered_error(terms.influence, member_keys) ** 2
        for terms in candidates
    ]
    return int(np.argmin(bounds))
