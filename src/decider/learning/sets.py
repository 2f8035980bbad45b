"""Logged message sets as arrays, checked: what the R-learner reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation


@dataclass(frozen=True, eq=False)
class SetRows:
    """Logged rows of message sets: n rows, K candidates, sets of M at most, d features, p pair features.

    Parameters
    ----------
    sets
        Candidate indices in any order, -1 in empty places, int16 of shape [M, n].
    reward
        float64 of shape [n].
    inclusion
        Probability that the set of a row holds a candidate, float64 of shape [K, n].
    expected_pairs
        Expectation of ``C = |S| (|S| - 1) / 2``, float64 of shape [n].
    expected_same_topic
        Expectation of the number P of pairs of one topic, float64 of shape [n].
    z
        Mapped features, float32 of shape [n, d], the first column ones.
    pair
        Pair features, float32 of shape [p, K, n]; None for none.
    baseline
        What is expected of the reward, ``m(x)``, learnt from other members; float64 of shape [n]. None for
        zeros: a linear m is learnt along in any case.
    weight
        What a row counts, float64 of shape [n]; None for ones.

    Raises
    ------
    InvalidInput
        For every rule that is broken, with the first row that breaks it.
    """

    sets: NDArray[np.int16]
    reward: NDArray[np.float64]
    inclusion: NDArray[np.float64]
    expected_pairs: NDArray[np.float64]
    expected_same_topic: NDArray[np.float64]
    z: NDArray[np.float32]
    pair: NDArray[np.float32] | None = None
    baseline: NDArray[np.float64] | None = None
    weight: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        broken = _broken_shapes(self) or _broken_values(self)
        if broken:
            raise InvalidInput(broken)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.reward)

    def rows(self, chosen: slice | NDArray[np.bool_] | NDArray[np.int64]) -> SetRows:
        """Keep some rows."""
        return SetRows(
            np.ascontiguousarray(self.sets[:, chosen]),
            self.reward[chosen],
            np.ascontiguousarray(self.inclusion[:, chosen]),
            self.expected_pairs[chosen],
            self.expected_same_topic[chosen],
            self.z[chosen],
            None if self.pair is None else np.ascontiguousarray(self.pair[:, :, chosen]),
            None if self.baseline is None else self.baseline[chosen],
            None if self.weight is None else self.weight[chosen],
        )


def held_matrix(sets: NDArray[np.int16], n_candidates: int) -> NDArray[np.float64]:
    """Say who is in each set, float64 of shape [K, n] of zeros and ones."""
    held = np.zeros((n_candidates + 1, sets.shape[1]))
    # Empty places write into the last row, which is then left out.
    held[sets, np.arange(sets.shape[1])] = 1.0
    return held[:-1]


def _broken_shapes(rows: SetRows) -> list[Violation]:
    n = len(rows.reward)
    n_candidates = len(rows.inclusion) if rows.inclusion.ndim == 2 else None
    optional = (
        ("pair", rows.pair, np.float32, (None, n_candidates, n)),
        ("baseline", rows.baseline, np.float64, (n,)),
        ("weight", rows.weight, np.float64, (n,)),
    )
    wanted = (
        ("sets", rows.sets, np.int16, (None, n)),
        ("reward", rows.reward, np.float64, (n,)),
        ("inclusion", rows.inclusion, np.float64, (None, n)),
        ("expected_pairs", rows.expected_pairs, np.float64, (n,)),
        ("expected_same_topic", rows.expected_same_topic, np.float64, (n,)),
        ("z", rows.z, np.float32, (n, None)),
        *(each for each in optional if each[1] is not None),
    )
    broken = []
    for name, array, dtype, shape in wanted:
        assert array is not None
        fits = array.ndim == len(shape) and all(
            side is None or side == found for side, found in zip(shape, array.shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            found = f"{array.dtype} of shape {array.shape}"
            broken.append(Violation(name, f"must be {np.dtype(dtype)} of shape {shape}, got {found}"))
    if not broken and n == 0:
        broken.append(Violation("reward", "must hold at least one row, got none"))
    return broken


def _broken_values(rows: SetRows) -> list[Violation]:
    broken: list[Violation] = []

    def require(name: str, rule: str, values: NDArray[np.generic], good: NDArray[np.bool_]) -> None:
        if not good.all():
            place = tuple(map(int, np.argwhere(~good)[0]))
            row = place[-1] if values.ndim > 1 else place[0]
            of = f" of candidate {place[0]}" if name == "inclusion" else ""
            broken.append(Violation(name, f"{rule}, got {values[place]} at row {row}{of}"))

    n_candidates = len(rows.inclusion)
    require(
        "sets", f"must be in [-1, {n_candidates})", rows.sets, (rows.sets >= -1) & (rows.sets < n_candidates)
    )
    require("inclusion", "must be in [0, 1]", rows.inclusion, (rows.inclusion >= 0) & (rows.inclusion <= 1))
    for name in ("expected_pairs", "expected_same_topic"):
        values = getattr(rows, name)
        require(name, "must be finite and >= 0", values, (values >= 0) & np.isfinite(values))
    require("reward", "must be finite", rows.reward, np.isfinite(rows.reward))
    finite = np.asarray(np.isfinite(rows.z).all(axis=1))
    require("z", "must be finite", rows.z.sum(axis=1), finite)
    require("z", "must have ones in its first column", rows.z[:, 0], np.isin(rows.z[:, 0], 1.0))
    if rows.pair is not None and not np.isfinite(rows.pair).all():
        broken.append(Violation("pair", "must be finite, got a value that is not"))
    if rows.baseline is not None:
        require("baseline", "must be finite", rows.baseline, np.isfinite(rows.baseline))
    if rows.weight is not None:
        require(
            "weight", "must be finite and >= 0", rows.weight, (rows.weight >= 0) & np.isfinite(rows.weight)
        )
    if not broken:
        held = held_matrix(rows.sets, n_candidates)
        once = np.asarray(held.sum(axis=0) == (rows.sets >= 0).sum(axis=0))
        require("sets", "must hold a candidate once", rows.sets[0], once)
        impossible = (held > 0) & (rows.inclusion == 0)
        require("inclusion", "must be > 0 for a candidate of the set", rows.inclusion, ~impossible)
    return broken
