"""How many sets hold what, and what they gain: counts over a chunk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.caps import check_sets
from decider_core.compile import F32, F64, I16, I32, I64, U8, kernel
from decider_core.contracts import check_array, check_range


class SetCounts(NamedTuple):
    """Counts over n members."""

    per_candidate: I64
    """[n_candidates] sets that hold each candidate."""
    per_count: I64
    """[max_messages + 1] sets of 0, 1, 2, ... messages."""
    per_stratum: I64
    """[n_strata] members of each stratum."""
    sends_of_stratum: I64
    """[n_strata] messages of their sets."""


class PairCounts(NamedTuple):
    """Pairs within the sets of n members."""

    all: I64
    """[n] pairs of messages."""
    same_topic: I64
    """[n] those of one topic."""


def count_sets(sets: I16, stratum: U8, n_candidates: int, n_strata: int) -> SetCounts:
    """Count what sets hold.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates, -1 in empty places.
    stratum : u8[n_members]
    n_candidates, n_strata
        Codes lie below these.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or a code lies outside.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    stratum = check_array("stratum", stratum, np.uint8, (sets.shape[1],))
    check_sets(sets, n_candidates)
    check_range("stratum", stratum, 0, n_strata - 1)
    counts = SetCounts(
        np.zeros(n_candidates, np.int64),
        np.zeros(len(sets) + 1, np.int64),
        np.zeros(n_strata, np.int64),
        np.zeros(n_strata, np.int64),
    )
    _count_sets(sets, stratum, counts)
    return counts


def count_pairs(sets: I16, topic: I32) -> PairCounts:
    """Count the pairs of messages in each set, and those of one topic.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates in any order, -1 in empty places.
    topic : i32[n_candidates]
        Topic of each candidate; a negative one is of no topic with any other.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or a candidate lies outside.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    topic = check_array("topic", topic, np.int32, (None,))
    check_sets(sets, topic.size)
    counts = PairCounts(np.zeros(sets.shape[1], np.int64), np.zeros(sets.shape[1], np.int64))
    _count_pairs(sets, topic, counts)
    return counts


@kernel
def _count_pairs(sets: I16, topic: I32, counts: PairCounts) -> None:
    for later in range(1, sets.shape[0]):
        for earlier in range(later):
            for r in range(sets.shape[1]):
                a, b = sets[later, r], sets[earlier, r]
                if a >= 0 and b >= 0:
                    counts.all[r] += 1
                    counts.same_topic[r] += topic[a] == topic[b] and topic[a] >= 0


@kernel
def _count_sets(sets: I16, stratum: U8, counts: SetCounts) -> None:
    for r in range(sets.shape[1]):
        n_held = 0
        for place in range(sets.shape[0]):
            k = sets[place, r]
            if k >= 0:
                counts.per_candidate[k] += 1
                n_held += 1
        counts.per_count[n_held] += 1
        counts.per_stratum[stratum[r]] += 1
        counts.sends_of_stratum[stratum[r]] += n_held


class SentGains(NamedTuple):
    """Counts over n members."""

    per_candidate: I64
    """[n_candidates] sets that hold each candidate."""
    net: float
    """Sum of the gains, less what was taken off."""


def count_gains(sets: I16, gains: F32, less: F64) -> SentGains:
    """Count what sets hold, and what it gains.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates, -1 in empty places.
    gains : f32[max_messages, n_members]
        Of each place.
    less : f64[n_candidates]
        What is taken off each gain.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or a code lies outside.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    gains = check_array("gains", gains, np.float32, sets.shape)
    less = check_array("less", less, np.float64, (None,))
    check_sets(sets, less.size)
    per_candidate = np.zeros(less.size, np.int64)
    return SentGains(per_candidate, float(_count_gains(sets, gains, less, per_candidate)))


@kernel
def _count_gains(sets: I16, gains: F32, less: F64, per_candidate: I64) -> float:
    net = 0.0
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            k = sets[place, r]
            if k >= 0:
                per_candidate[k] += 1
                net += np.float64(gains[place, r]) - less[k]
    return net
