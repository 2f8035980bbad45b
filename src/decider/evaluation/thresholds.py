"""How far to clip, shrink or switch: chosen by the data's own bias and noise, never by the value that comes out.

A threshold is chosen on one keyed half of the members and used on the other, both ways round. So no row's
estimate has a threshold that the row helped to choose, and policies that are ranked on rows were not tuned on
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.members import MemberCount
from decider.evaluation.rows import Rows, Terms, mixed
from decider.evaluation.sums import BLOCK_ROWS
from decider_core.clusters import add_by_cluster
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


class ThresholdSums:
    """What thresholds are chosen by, added up as rows pass by.

    Parameters
    ----------
    candidates
        By estimator: thresholds, infinity first and then falling, see :func:`candidates_for`.
    members
        The members of all rows that will come.
    rule
        How: :func:`slope`, or :func:`least_mse`.
    seed
        The seed of the halves.
    """

    def __init__(
        self, candidates: Mapping[str, Sequence[float]], members: MemberCount, rule: Rule, seed: int
    ) -> None:
        self._candidates = candidates
        self._rule: Rule = rule
        self._seed = seed
        n_columns = sum(len(each) for each in candidates.values())
        self._clusters = members.clusters(n_columns)
        self._by_cluster = np.zeros((self._clusters.n, n_columns))
        self._rows = np.zeros(self._clusters.n)
        self._in_first = np.zeros(self._clusters.n, np.bool_)

    def add(self, estimators: Mapping[str, Thresholded], rows: Rows, member_keys: NDArray[np.uint64]) -> None:
        """Add rows; `estimators` has those for which there are candidates."""
        for start in range(0, len(member_keys), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            keys, some = member_keys[block], rows.part(block)
            made = [
                estimators[name](some, threshold).parts[0][0]
                for name, thresholds in self._candidates.items()
                for threshold in thresholds
            ]
            first = in_first_half(keys, self._seed)
            places = self._clusters.of(keys)
            if self._clusters.known is None:
                # A group of members must lie in one half: even groups in the second, odd ones in the first.
                places = places & ~1 | first
            add_by_cluster(np.array(made), places, self._by_cluster)
            self._rows += np.bincount(places, minlength=self._clusters.n)
            self._in_first[places] = first

    def chosen(self) -> dict[str, Thresholds]:
        """Choose the thresholds of each half on the other half."""
        picks: dict[str, list[float]] = {name: [] for name in self._candidates}
        for other in (~self._in_first, self._in_first):
            seen = other & (self._rows > 0)
            start, some_rows = 0, self._rows[seen]
            for name, candidates in self._candidates.items():
                columns = self._by_cluster[seen, start : start + len(candidates)]
                start += len(candidates)
                picks[name].append(candidates[_pick(self._rule, columns, some_rows)])
        return {name: Thresholds(self._rule, (first, second)) for name, (first, second) in picks.items()}


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
    if candidates is None:
        candidates = threshold_candidates(float(rows.weight.max(initial=0.0)))
    sums = ThresholdSums({"one": candidates}, MemberCount.of(member_keys), rule, seed)
    sums.add({"one": estimator}, rows, member_keys)
    thresholds = sums.chosen()["one"]
    return halved_terms(estimator, rows, in_first_half(member_keys, seed), thresholds), thresholds


def halved_terms(
    estimator: Thresholded, rows: Rows, first: NDArray[np.bool_], thresholds: Thresholds
) -> Terms:
    """Make the terms of an estimator whose thresholds have been chosen; `first` marks rows of the first half."""
    of_first, of_second = (estimator(rows, value) for value in thresholds.values)
    return mixed(first, of_first, of_second)


def in_first_half(member_keys: NDArray[np.uint64], seed: int) -> NDArray[np.bool_]:
    """Mark the rows of the first half of the members, bool of shape [n]."""
    return uniforms(stream_key(seed, FOLD, 0, _TUNING), member_keys) < 0.5


def candidates_for(name: str, largest_weight: float) -> tuple[float, ...]:
    """Give the candidates of an estimator by its name, for weights up to the largest one of all rows."""
    candidates = threshold_candidates(largest_weight)
    if name == "dr_shrunk":
        # Its strength has the unit of a squared weight, and shrinks by half where w^2 is equal to it.
        return (np.inf, *(100.0 * each * each for each in candidates[1:]), 1.0, 0.01)
    return candidates


def threshold_candidates(largest_weight: float) -> tuple[float, ...]:
    """Infinity first, then falling geometrically from the largest weight to 1."""
    top = max(largest_weight, 1.0)
    return (np.inf, *np.geomspace(top, 1.0, N_CANDIDATES).tolist()) if top > 1 else (np.inf, 1.0)


def slope(values: NDArray[np.float64], errors: NDArray[np.float64]) -> int:
    """Pick by SLOPE: the last candidate whose interval still meets all intervals before it.

    Candidates go from least bias and most noise to most bias and least noise. While
    ``[value +- 2 C]`` have a common point, with C two standard errors, noise explains the differences; the
    first that leaves the others has a bias that shows. The error of the one chosen is within a constant of
    the best candidate's.

    Parameters
    ----------
    values, errors
        Of the candidates, float64 of shape [candidates].

    References
    ----------
    .. [1] Su, Srinath, Krishnamurthy, "Adaptive estimator selection for off-policy evaluation", ICML 2020,
           algorithm 1.
    """
    low, high, pick, noise = -np.inf, np.inf, 0, np.inf
    for place, (value, error) in enumerate(zip(values, errors, strict=True)):
        # The widths must not grow along the way, as the theorem wants.
        noise = min(noise, 2.0 * error)
        low, high = max(low, value - 2.0 * noise), min(high, value + 2.0 * noise)
        if low > high:
            break
        pick = place
    return pick


def least_mse(values: NDArray[np.float64], errors: NDArray[np.float64]) -> int:
    """Pick the candidate with the least bound on its mean squared error: squared bias and variance.

    The first candidate has no bias, so a candidate's squared distance to it is, in expectation, its squared
    bias and the variance of the distance: an upper bound on the first.

    Parameters
    ----------
    values, errors
        Of the candidates, float64 of shape [candidates].

    References
    ----------
    .. [1] Su, Dimakopoulou, Krishnamurthy, Dudik, "Doubly robust off-policy evaluation with shrinkage",
           ICML 2020, section 5; Wang, Agarwal, Dudik, ICML 2017, section 3.2.
    """
    return int(np.argmin(np.square(values - values[0]) + np.square(errors)))


def _pick(rule: Rule, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> int:
    n_clusters = len(rows)
    if n_clusters < 2:
        return 0  # Nothing to choose by: infinity, which has no bias.
    n = rows.sum()
    values = columns.sum(axis=0) / n
    apart = columns - values * rows[:, None]
    errors = np.sqrt(n_clusters / (n_clusters - 1) * np.square(apart).sum(axis=0)) / n
    return slope(values, errors) if rule == "slope" else least_mse(values, errors)
