"""What a set drawn by chance is expected to hold, member by member."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.counts import count_pairs


class Inclusion(NamedTuple):
    """Expectations over the draw, given what was known before it."""

    each: NDArray[np.float32]
    """[K, n] probability that the set holds each candidate."""
    pairs: NDArray[np.float64]
    """[n] expected |S|(|S|-1)/2"""
    same_topic: NDArray[np.float64]
    """[n] expected pairs of one topic"""

    def of(self, rows: NDArray[np.int64]) -> Inclusion:
        """The same for some of the members."""
        return Inclusion(self.each[:, rows], self.pairs[rows], self.same_topic[rows])


def expected_inclusion(
    eligible: NDArray[np.bool_], topic: NDArray[np.int32], count_shares: tuple[float, ...]
) -> Inclusion:
    """Expectations for sets of ``decider_core.explore.explore_sets`` with equal weights and room for all: exact.

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
    each = (count / np.maximum(n_eligible, 1.0)).astype(np.float32)
    return Inclusion(eligible * each, pairs, pairs * same / np.maximum(possible_pairs, 1.0))


def counted_inclusion(drawn: Iterator[NDArray[np.int16]], topic: NDArray[np.int32]) -> Inclusion:
    """The same from draws: the sets i16[M, n] that were sent, and replays of them.

    With the sent set as one of R draws, ``1{c in S} - each`` is (R-1)/R of its deviation from the mean of the
    R-1 replays, whose own error makes it vary R/(R-1) times as much: so a regression on it is attenuated by
    nothing, however few replays there are.
    """
    total: Inclusion | None = None
    n_draws = 0
    for sets in drawn:
        if total is None:
            n = sets.shape[1]
            total = Inclusion(np.zeros((topic.size, n), np.float32), np.zeros(n), np.zeros(n))
        n_draws += 1
        for row in sets:
            members = np.flatnonzero(row >= 0)
            # A set holds a candidate once: no place is met twice.
            total.each[row[members], members] += 1.0
        pairs, same = count_pairs(sets, topic)
        np.add(total.pairs, pairs, out=total.pairs)
        np.add(total.same_topic, same, out=total.same_topic)
    assert total is not None
    return Inclusion(*(np.asarray(part / part.dtype.type(n_draws)) for part in total))
