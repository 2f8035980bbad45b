"""How many sets hold what, and what they gain: counts over a chunk."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from decider_core.caps import check_sets
from decider_core.compile import F32, F64, I16, I32, I64, U8, kernel
from decider_core.contracts import check_array, check_range

_SIDE_BY_SIDE: Final = 4
_BLOCK: Final = 4096
"""Members whose codes stay in the nearest cache."""


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


def members_of(stratum: U8, code: int) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which members are of a stratum, bool[n_members], and how many.

    Parameters
    ----------
    stratum : u8[n_members]
    code
        The stratum.

    Raises
    ------
    ContractError
        If the argument has another dtype or shape.
    """
    stratum = check_array("stratum", stratum, np.uint8, (None,))
    is_there = np.empty(stratum.size, np.uint8)
    n = int(_members_of(stratum, np.uint8(code), is_there))
    return is_there.view(np.bool_), n


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
def _members_of(stratum: U8, code: np.uint8, is_there: U8) -> int:
    n = 0
    for r in range(stratum.size):
        is_there[r] = stratum[r] == code
        n += is_there[r]
    return n


@kernel
def _count_sets(sets: I16, stratum: U8, counts: SetCounts) -> None:
    # Of each member one code for stratum and messages in the set: stratum * n_counts + messages.
    n_strata, n_counts = counts.per_stratum.size, counts.per_count.size
    of_codes = np.zeros((_SIDE_BY_SIDE, 1 + counts.per_candidate.size), np.int64)
    of_members = np.zeros((_SIDE_BY_SIDE, n_strata * n_counts), np.int64)
    members = np.empty(_BLOCK, np.int32)
    for first in range(0, stratum.size, _BLOCK):
        block = stratum[first : first + _BLOCK]
        _begin(block, np.int32(n_counts), members)
        for place in range(len(sets)):
            held = sets[place, first : first + _BLOCK]
            _add_held(held, members)
            _count_codes(held, np.int64(1), of_codes)
        _count_codes(members[: block.size], np.int64(0), of_members)
    for turn in range(_SIDE_BY_SIDE):
        for k in range(counts.per_candidate.size):
            counts.per_candidate[k] += of_codes[turn, 1 + k]
        for s in range(n_strata):
            for n in range(n_counts):
                n_members = of_members[turn, s * n_counts + n]
                counts.per_count[n] += n_members
                counts.per_stratum[s] += n_members
                counts.sends_of_stratum[s] += n_members * n


@kernel
def _begin(stratum: U8, n_counts: np.int32, members: I32) -> None:
    for r in range(stratum.size):
        members[r] = np.int32(stratum[r]) * n_counts


@kernel
def _add_held(held: I16, members: I32) -> None:
    for r in range(held.size):
        members[r] += held[r] >= 0


@kernel
def _count_codes(codes: npt.NDArray[Any], first: np.int64, counts: I64) -> None:
    # Neighbours often have the same code, and a count can be read only when it is written: so four take turns.
    n_whole = codes.size // 4 * 4
    for i in range(0, n_whole, 4):
        counts[0, np.uint32(codes[i] + first)] += 1
        counts[1, np.uint32(codes[i + 1] + first)] += 1
        counts[2, np.uint32(codes[i + 2] + first)] += 1
        counts[3, np.uint32(codes[i + 3] + first)] += 1
    for i in range(n_whole, codes.size):
        counts[0, np.uint32(codes[i] + first)] += 1


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
