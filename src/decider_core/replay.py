"""Thompson decisions drawn again and again, to count how often a member gets the same message set."""

from __future__ import annotations

import numpy as np

from decider_core import random
from decider_core.caps import Caps, Terms, check_caps, check_fatigue, check_sets, check_terms
from decider_core.choice import LANES
from decider_core.compile import F32, I16, I32, U8, U64, fma, inline, kernel
from decider_core.contracts import ContractError, check_array, check_output
from decider_core.draws import fill_normals
from decider_core.lanes import assemble_lanes, new_lanes, set_terms
from decider_core.splitmix import member_state
from decider_core.values import check_posterior
from decider_core.vectors import VECTOR


def replayed_hits(
    sets: I16,
    mean: F32,
    sd: F32,
    reason: U8,
    fatigue: F32,
    same_topic_penalty: float,
    cost: F32,
    price: F32,
    tie_cut: int | np.uint64,
    tie_keys: U64,
    caps: Caps,
    seed: int,
    epoch: int,
    n_draws: int,
    member_keys: U64,
    candidate_keys: U64,
    held: I32 | None = None,
) -> I32:
    """Return how many replays of Thompson assemble each member's set, in any order, i32[n_members].

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        The sets that were sent.
    mean, sd : f32[n_candidates, n_members]
        The posterior of each candidate's uplift; finite and sd not negative where eligible.
    reason, fatigue, same_topic_penalty, cost, price, tie_cut, tie_keys, caps
        As for :func:`decider_core.assemble.assemble`.
    seed, epoch
        The policy's seed and the decision window. Replay i draws from stream ``(seed, REPLAY, epoch, i)``.
    n_draws
        Replays, at least 1.
    member_keys : u64[n_members]
    candidate_keys : u64[n_candidates]
    held : i32[max_messages, n_members], optional
        Written: how many replays assemble a set with the candidate at each place; 0 for an empty place.

    Raises
    ------
    ContractError
        If an argument breaks the rules above.

    Notes
    -----
    ``hits / n_draws`` estimates the propensity with standard error ``sqrt(p*(1 - p)/n_draws)``.
    Each replay draws and assembles as the decision does: about 4 ns a candidate and replay.
    """
    mean, sd, reason = check_posterior(mean, sd, reason)
    n_candidates, n_members = mean.shape
    fatigue = check_fatigue(fatigue, n_members)
    terms = check_terms(cost, price, same_topic_penalty, tie_cut, n_candidates)
    tie_keys = check_array("tie_keys", tie_keys, np.uint64, (n_members,))
    caps = check_caps(caps, n_candidates, n_members)
    sets = check_array("sets", sets, np.int16, (caps.max_messages, n_members))
    check_sets(sets, n_candidates)
    if not 1 <= n_draws < 1 << 31:
        raise ContractError(f"n_draws must be in [1, 2^31), got {n_draws}")
    member_keys = check_array("member_keys", member_keys, np.uint64, (n_members,))
    candidate_keys = check_array("candidate_keys", candidate_keys, np.uint64, (n_candidates,))
    streams = random.stream_keys(seed, random.REPLAY, epoch, n_draws)
    hits = np.zeros(n_members, np.int32)
    # Without places nothing is counted; the kernel has one signature for both.
    held = (
        check_output("held", held, np.int32, sets.shape) if held is not None else np.empty((0, 0), np.int32)
    )
    held[:] = 0
    where = np.ones(n_members, np.uint8)
    _replayed_hits(
        sets, mean, sd, reason, fatigue, terms, tie_keys, caps, streams, member_keys, candidate_keys, where,
        hits, held,
    )  # fmt: skip
    return hits


@kernel
def _replayed_hits(
    sets: I16,
    mean: F32,
    sd: F32,
    reason: U8,
    fatigue: F32,
    terms: Terms,
    tie_keys: U64,
    caps: Caps,
    streams: U64,
    member_keys: U64,
    candidate_keys: U64,
    where: U8,
    hits: I32,
    held: I32,
) -> None:
    # The lanes of assembly are draws of one member; those are left out where `where` is 0.
    n_candidates, n_members = mean.shape
    n_channels, n_topics = len(caps.room_channel), len(caps.room_topic)
    lanes = new_lanes(n_candidates, n_channels, n_topics)
    level = set_terms(terms, lanes)
    states = np.empty(LANES, np.uint64)
    there, n_common = np.empty(LANES, np.int16), np.empty(LANES, np.int16)
    drawn = np.empty((len(sets), LANES), np.int16)
    gains = np.empty((len(sets), LANES), np.float32)
    for r in range(n_members):
        if where[r] == 0:
            continue
        tight = _any_below(caps.room_channel[:, r], caps.max_messages)
        themed = _any_below(caps.room_topic[:, r], caps.max_messages)
        themed = themed or bool(terms.same_topic_penalty > np.float32(0.0))
        lanes.fatigue[:] = fatigue[r]
        lanes.key[:] = tie_keys[r]
        for first in range(0, streams.size, LANES):
            n_lanes = min(LANES, streams.size - first)
            for i in range(n_lanes):
                states[i] = member_state(streams[first + i], member_keys[r])
            # Whole vectors of draws; what stands in the lanes beyond is worked on, and read by nobody.
            n_filled = min(LANES, (n_lanes + VECTOR - 1) // VECTOR * VECTOR)
            for k in range(n_candidates):
                if reason[k, r] == 0:
                    _draw(
                        mean[k, r], sd[k, r], candidate_keys[k], states[:n_filled], lanes.free[k, :n_filled]
                    )
                else:
                    lanes.free[k] = np.float32(-np.inf)
            lanes.room[:] = caps.room_member[r]
            for c in range(n_channels):
                lanes.room_channel[c] = caps.room_channel[c, r]
            for t in range(n_topics):
                lanes.room_topic[t] = caps.room_topic[t, r]
            assemble_lanes(lanes, tight, themed, level, terms, caps, drawn[:, :n_lanes], gains[:, :n_lanes])
            n_sent = 0
            n_common[:n_lanes] = 0
            for place in range(len(sets)):
                if sets[place, r] >= 0:
                    n_sent += 1
                    n = _count_those_with(sets[place, r], drawn[:, :n_lanes], there, n_common)
                    if len(held) > 0:
                        held[place, r] += n
            hits[r] += _count_equal(n_sent, drawn[:, :n_lanes], there, n_common)


@inline
def _any_below(room: I16, n_messages: int) -> bool:
    n_below = 0
    for i in range(len(room)):
        n_below += room[i] < n_messages
    return n_below > 0


@kernel
def _draw(mean: np.float32, sd: np.float32, candidate_key: np.uint64, states: U64, values: F32) -> None:
    fill_normals(states, candidate_key, values)
    for i in range(states.size):
        values[i] = fma(sd, values[i], mean)


# Neither set holds a candidate twice: of equal size, they are equal if all of one are in the other. One place of
# the drawn sets at a time, so that each loop is over vectors.


@kernel
def _count_those_with(candidate: int, drawn: I16, there: I16, n_common: I16) -> int:
    # How many drawn sets hold the candidate; they have one more in common.
    k, n = np.int16(candidate), 0
    for i in range(drawn.shape[1]):
        there[i] = 0
    for place in range(len(drawn)):
        _add_equal(drawn[place], k, there)
    for i in range(drawn.shape[1]):
        n_common[i] += there[i]
        n += there[i]
    return n


@kernel
def _count_equal(n_sent: int, drawn: I16, n_drawn: I16, n_common: I16) -> int:
    n = 0
    for i in range(drawn.shape[1]):
        n_drawn[i] = 0
    for place in range(len(drawn)):
        _add_filled(drawn[place], n_drawn)
    for i in range(drawn.shape[1]):
        n += (n_drawn[i] == n_sent) & (n_common[i] == n_sent)
    return n


@inline
def _add_equal(row: I16, k: np.int16, count: I16) -> None:
    for i in range(row.size):
        count[i] += np.int16(row[i] == k)


@inline
def _add_filled(row: I16, count: I16) -> None:
    for i in range(row.size):
        count[i] += np.int16(row[i] >= 0)
