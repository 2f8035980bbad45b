"""Who explores, and what is sent then: the strata, and random message sets with exact propensities."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core import random
from decider_core.caps import LARGEST, Caps, check_caps, check_sets
from decider_core.compile import F64, I16, I64, U8, U64, inline, kernel
from decider_core.contracts import (
    ContractError,
    check_array,
    check_probability,
    check_range,
)
from decider_core.random import _member_state, _pair_state, _uniform
from decider_core.values import CAUTIOUS as CAUTIOUS
from decider_core.values import GREEDY as GREEDY
from decider_core.values import THOMPSON as THOMPSON
from decider_core.values import UCB as UCB
from decider_core.values import policy_values as policy_values

HOLDOUT: Final = 0
EXPLORE: Final = 1
EXPLOIT: Final = 2


def strata(seed: int, epoch: int, holdout_share: float, explore_share: float, member_keys: U64) -> U8:
    """Return the stratum of each member: HOLDOUT, EXPLORE or EXPLOIT, u8[n_members].

    Parameters
    ----------
    seed, epoch
        The policy's seed and the decision window. The holdout does not depend on the epoch: it lasts.
    holdout_share
        Probability of HOLDOUT.
    explore_share
        Probability of EXPLORE among those who are not in the holdout.
    member_keys : u64[n_members]
    """
    check_probability("holdout_share", holdout_share)
    check_probability("explore_share", explore_share)
    held = random.uniforms(random.stream_key(seed, random.HOLDOUT), member_keys) < holdout_share
    explores = random.uniforms(random.stream_key(seed, random.STRATUM, epoch), member_keys) < explore_share
    return np.where(held, HOLDOUT, np.where(explores, EXPLORE, EXPLOIT)).astype(np.uint8)


def explore_sets(
    seed: int,
    epoch: int,
    count_shares: F64,
    weight: F64,
    reason: U8,
    caps: Caps,
    member_keys: U64,
    candidate_keys: U64,
    where: U8 | None = None,
) -> tuple[I16, F64]:
    """Draw a random message set for each member, with its exact probability.

    Parameters
    ----------
    seed, epoch
        The policy's seed and the decision window.
    count_shares : f64[max_messages + 1]
        Probability of aiming at 0, 1, ... messages; sums to 1 within 1e-9.
    weight : f64[n_candidates]
        Exploration weights, positive.
    reason : u8[n_candidates, n_members]
        0 where the candidate is eligible.
    caps
        The room that is left.
    member_keys : u64[n_members]
    candidate_keys : u64[n_candidates]
    where : u8[n_members], optional
        0 skips a member: an empty set with propensity NaN.

    Returns
    -------
    sets : i16[max_messages, n_members]
        Candidates in the order picked, -1 in empty places.
    propensity : f64[n_members]
        Probability of this set, whatever its order, as :func:`explore_propensity` gives it.

    Raises
    ------
    ContractError
        If an argument breaks the rules above.

    Notes
    -----
    The number to aim at comes first. Then candidates are picked one after another, each in proportion to its
    weight among those that are eligible, not picked and within the caps, until the number is reached or none
    is left. That is an exponential race: the clock of each candidate rings after ``-log(u)/weight``, and the
    earliest that fits is next; what the caps bar never fits again, and the clocks have no memory. So a pick
    depends on the candidate's key and not on its index.
    """
    reason = check_array("reason", reason, np.uint8, (None, None))
    n_candidates, n_members = reason.shape
    caps, count_shares, weight = _check_draw(count_shares, weight, caps, n_candidates, n_members)
    member_keys = check_array("member_keys", member_keys, np.uint64, (n_members,))
    candidate_keys = check_array("candidate_keys", candidate_keys, np.uint64, (n_candidates,))
    where = np.ones(n_members, np.uint8) if where is None else where
    where = check_array("where", where, np.uint8, (n_members,))
    sets = np.full((caps.max_messages, n_members), -1, np.int16)
    propensity = np.full(n_members, np.nan)
    count_key = random.stream_key(seed, random.COUNT, epoch)
    pick_key = random.stream_key(seed, random.PICK, epoch)
    _explore_sets(
        count_key,
        pick_key,
        count_shares,
        weight,
        reason,
        caps,
        member_keys,
        candidate_keys,
        where,
        sets,
        propensity,
    )
    return sets, propensity


def explore_propensity(sets: I16, count_shares: F64, weight: F64, reason: U8, caps: Caps) -> F64:
    """Return the probability that :func:`explore_sets` draws each member's set, in any order, f64[n_members].

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates in any place and order, -1 in empty places. A set that cannot be drawn has probability 0.
    count_shares, weight, reason, caps
        As for :func:`explore_sets`.

    Notes
    -----
    ``P(S) = orders(S) * (q(|S|) + [nothing fits after S] * sum_{m > |S|} q(m))``, where orders(S), the
    probability that the first |S| picks are S, is the sum over the orders of S of the product of weight over
    the weight of all that still fit: by recursion over the 2^|S| subsets, each reached from those with one
    candidate less. The probabilities of all sets sum to 1.
    """
    reason = check_array("reason", reason, np.uint8, (None, None))
    n_candidates, n_members = reason.shape
    caps, count_shares, weight = _check_draw(count_shares, weight, caps, n_candidates, n_members)
    sets = check_array("sets", sets, np.int16, (caps.max_messages, n_members))
    check_sets(sets, n_candidates)
    propensity = np.empty(n_members)
    _explore_propensity(sets, count_shares, weight, reason, caps, propensity)
    return propensity


def explore_floor(count_shares: F64, weight: F64) -> float:
    """Return a lower bound of the propensity of every set that can be drawn, for any eligibility and caps.

    Parameters
    ----------
    count_shares, weight
        As for :func:`explore_sets`.

    Notes
    -----
    What is barred only makes the other picks likelier, so ``orders(S)`` is least when all candidates fit;
    and then, exchanging a candidate of S for one of smaller weight delays a clock of S and hastens one
    outside, so that it is least for the smallest weights. The bound is the smallest, over sizes m, of that
    times q(m), or times the probability of aiming higher where q(m) is 0. It is reached with everything
    eligible and no caps, unless the size that gives it has q(m) = 0.
    """
    weight = check_array("weight", weight, np.float64, (None,))
    count_shares = check_array("count_shares", count_shares, np.float64, (None,))
    max_messages = count_shares.size - 1
    none = np.zeros(weight.size, np.int32)
    room = np.full((1, 1), max_messages, np.int16)
    caps = Caps(none, none, room[0], room, room, max_messages)
    reason = np.zeros((weight.size, 1), np.uint8)
    caps, count_shares, weight = _check_draw(count_shares, weight, caps, weight.size, 1)
    smallest = np.argsort(weight, kind="stable")
    bound = 1.0
    for m in range(min(max_messages, weight.size) + 1):
        share = count_shares[m] if count_shares[m] > 0.0 else float(count_shares[m + 1 :].sum())
        if share > 0.0:
            sets = np.full((max_messages, 1), -1, np.int16)
            sets[:m, 0] = smallest[:m]
            exactly = np.zeros(max_messages + 1)
            exactly[m] = 1.0
            bound = min(bound, share * float(explore_propensity(sets, exactly, weight, reason, caps)[0]))
    # The recursion rounds a few hundred times, each time by at most 2^-53 of the result.
    return bound * (1.0 - 1e-12)


def _check_draw(
    count_shares: F64, weight: F64, caps: Caps, n_candidates: int, n_members: int
) -> tuple[Caps, F64, F64]:
    caps = check_caps(caps, n_candidates, n_members)
    count_shares = check_array("count_shares", count_shares, np.float64, (caps.max_messages + 1,))
    check_probability("count_shares", count_shares)
    if abs(math.fsum(count_shares) - 1.0) > 1e-9:
        raise ContractError(f"count_shares must sum to 1, got {math.fsum(count_shares)!r}")
    weight = check_array("weight", weight, np.float64, (n_candidates,))
    check_range("weight", weight, 0.0, LARGEST, open_low=True)
    return caps, count_shares, weight


class Open(NamedTuple):
    """The candidates that fit an empty set, and what is full; a count says how many are in use."""

    candidate: I64
    clock: F64
    bit: I64  # 1 << place of a candidate that was chosen, else 0
    chosen: I64  # [max_messages]
    n_channel: I64  # [n_channels]: chosen on each channel; all 0 between calls
    n_topic: I64  # [n_topics]
    reached: F64  # [2^max_messages]: probability that the first picks are a subset of the chosen


@kernel
def _explore_sets(
    count_key: np.uint64,
    pick_key: np.uint64,
    count_shares: F64,
    weight: F64,
    reason: U8,
    caps: Caps,
    member_keys: U64,
    candidate_keys: U64,
    where: U8,
    sets: I16,
    propensity: F64,
) -> None:
    open_ = _space(weight.size, caps)
    for r in range(reason.shape[1]):
        if where[r] == 0:
            continue
        n_open = _list_open(r, reason, caps, open_)
        aim = _count(_uniform(_member_state(count_key, member_keys[r])), count_shares)
        n_chosen = 0
        if aim > 0:
            state = _member_state(pick_key, member_keys[r])
            for j in range(n_open):
                k = open_.candidate[j]
                open_.clock[j] = -math.log(_uniform(_pair_state(state, candidate_keys[k]))) / weight[k]
            while n_chosen < min(aim, caps.room_member[r]):
                first = -1
                for j in range(n_open):
                    if (first < 0 or open_.clock[j] < open_.clock[first]) and _fits(j, r, caps, open_):
                        first = j
                if first < 0:
                    break
                _choose(first, n_chosen, caps, open_)
                sets[n_chosen, r] = open_.candidate[first]
                n_chosen += 1
            for place in range(n_chosen):
                _count_place(place, -1, caps, open_)
        propensity[r] = _propensity(r, n_open, n_chosen, count_shares, weight, caps, open_)


@kernel
def _explore_propensity(
    sets: I16, count_shares: F64, weight: F64, reason: U8, caps: Caps, propensity: F64
) -> None:
    open_ = _space(weight.size, caps)
    for r in range(reason.shape[1]):
        n_open = _list_open(r, reason, caps, open_)
        n_chosen = 0
        possible = True
        for place in range(len(sets)):
            if sets[place, r] >= 0:
                found = -1
                for j in range(n_open):
                    if open_.candidate[j] == sets[place, r] and _fits(j, r, caps, open_):
                        found = j
                if found < 0 or n_chosen >= caps.room_member[r]:
                    possible = False
                    break
                _choose(found, n_chosen, caps, open_)
                n_chosen += 1
        for place in range(n_chosen):
            _count_place(place, -1, caps, open_)
        propensity[r] = 0.0
        if possible:
            propensity[r] = _propensity(r, n_open, n_chosen, count_shares, weight, caps, open_)


@inline
def _count(uniform: float, count_shares: F64) -> int:
    # The last count of positive share takes what rounding leaves.
    count = 0
    below = 0.0
    for m in range(count_shares.size):
        if count_shares[m] > 0.0 and uniform >= below:
            count = m
        below += count_shares[m]
    return count


@kernel
def _space(n_candidates: int, caps: Caps) -> Open:
    return Open(
        np.empty(n_candidates, np.int64),
        np.empty(n_candidates),
        np.empty(n_candidates, np.int64),
        np.empty(caps.max_messages, np.int64),
        np.zeros(len(caps.room_channel), np.int64),
        np.zeros(len(caps.room_topic), np.int64),
        np.empty(1 << caps.max_messages),
    )


@kernel
def _list_open(r: int, reason: U8, caps: Caps, open_: Open) -> int:
    n_open = 0
    if caps.room_member[r] > 0:
        for k in range(len(reason)):
            open_.candidate[n_open] = k
            open_.bit[n_open] = 0
            has_room = (caps.room_channel[caps.channel[k], r] > 0) & (caps.room_topic[caps.topic[k], r] > 0)
            n_open += (reason[k, r] == 0) & has_room
    return n_open


@inline
def _fits(j: int, r: int, caps: Caps, open_: Open) -> bool:
    # Whether the j-th open candidate is not chosen and its channel and topic are not full.
    channel, topic = caps.channel[open_.candidate[j]], caps.topic[open_.candidate[j]]
    return bool(
        (open_.bit[j] == 0)
        & (open_.n_channel[channel] < caps.room_channel[channel, r])
        & (open_.n_topic[topic] < caps.room_topic[topic, r])
    )


@inline
def _choose(j: int, place: int, caps: Caps, open_: Open) -> None:
    open_.bit[j] = 1 << place
    open_.chosen[place] = open_.candidate[j]
    _count_place(place, 1, caps, open_)


@inline
def _count_place(place: int, step: int, caps: Caps, open_: Open) -> None:
    open_.n_channel[caps.channel[open_.chosen[place]]] += step
    open_.n_topic[caps.topic[open_.chosen[place]]] += step


@kernel
def _propensity(
    r: int, n_open: int, n_chosen: int, count_shares: F64, weight: F64, caps: Caps, open_: Open
) -> float:
    # Recursion over the subsets of the chosen, in the order of their bits: all smaller ones come before.
    full = (1 << n_chosen) - 1
    open_.reached[: full + 1] = 0.0
    open_.reached[0] = 1.0
    probability = 0.0
    for bits in range(full + 1):
        n_subset = 0
        for place in range(n_chosen):
            if bits >> place & 1:
                _count_place(place, 1, caps, open_)
                n_subset += 1
        left = 0.0
        if n_subset < caps.room_member[r]:
            left = _weight_left(r, n_open, bits, weight, caps, open_)
        for place in range(n_chosen):
            if bits >> place & 1:
                _count_place(place, -1, caps, open_)
            else:
                open_.reached[bits | 1 << place] += open_.reached[bits] * weight[open_.chosen[place]] / left
        if bits == full:
            share = count_shares[n_chosen]
            if left == 0.0:
                for m in range(n_chosen + 1, count_shares.size):
                    share += count_shares[m]
            probability = open_.reached[full] * share
    return probability


@kernel
def _weight_left(r: int, n_open: int, bits: int, weight: F64, caps: Caps, open_: Open) -> float:
    # Of the candidates that fit after the subset `bits`, which is what n_channel and n_topic count.
    total = 0.0
    for j in range(n_open):
        k = open_.candidate[j]
        channel, topic = caps.channel[k], caps.topic[k]
        fits = (
            (open_.bit[j] & bits == 0)
            & (open_.n_channel[channel] < caps.room_channel[channel, r])
            & (open_.n_topic[topic] < caps.room_topic[topic, r])
        )
        total += weight[k] if fits else 0.0
    return total
