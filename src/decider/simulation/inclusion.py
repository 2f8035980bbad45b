"""What a set drawn at random is expected to hold, member by member: exact where weights are equal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Inclusion(NamedTuple):
    """Expectations over the draw, given who is eligible."""

    each: NDArray[np.float64]
    """[n] probability that the set holds any one eligible candidate."""
    pairs: NDArray[np.float64]
    """[n] expected |S|(|S|-1)/2"""
    same_topic: NDArray[np.float64]
    """[n] expected pairs of one topic"""


def expected_inclusion(
    eligible: NDArray[np.bool_], topic: NDArray[np.int32], count_shares: tuple[float, ...]
) -> Inclusion:
    """Expectations for sets of ``decider_core.explore.explore_sets`` with equal weights and room for all.

    Parameters
    ----------
    eligible : bool[K, n]
    topic : i32[K]
    count_shares
        Probability of aiming at 0, 1, 2, ... messages; there must be room for the largest of them.

    Notes
    -----
    With E eligible and m = min(aim, E) picked, each set of m is equally likely: a candidate is in it with
    probability m/E, and each pair with m(m-1) / (E(E-1)).
    """
    n_eligible = eligible.sum(axis=0).astype(np.float64)
    count, pairs = np.zeros_like(n_eligible), np.zeros_like(n_eligible)
    for aim, share in enumerate(count_shares):
        m = np.minimum(aim, n_eligible)
        count += share * m
        pairs += share * m * (m - 1.0) / 2.0
    possible_pairs = n_eligible * (n_eligible - 1.0) / 2.0
    of_topic = np.stack([eligible[topic == t].sum(axis=0, dtype=np.float64) for t in np.unique(topic)])
    same = (of_topic * (of_topic - 1.0) / 2.0).sum(axis=0)
    return Inclusion(
        count / np.maximum(n_eligible, 1.0), pairs, pairs * same / np.maximum(possible_pairs, 1.0)
    )
