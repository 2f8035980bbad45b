"""Who explores, and what is sent then: the strata, and random message sets with exact propensities."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from decider_core import random
from decider_core.caps import LARGEST, Caps, check_caps, check_sets
from decider_core.compile import F64, I16, U8, U64, kernel
from decider_core.contracts import (
    ContractError,
    check_array,
    check_probability,
    check_range,
)
from decider_core.orders import _explore_propensity
from decider_core.race import _explore_sets
from decider_core.random import _uniform
from decider_core.splitmix import member_state
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
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    hold_key, explore_key = (
        random.stream_key(seed, random.HOLDOUT),
        random.stream_key(seed, random.STRATUM, epoch),
    )
    stratum = np.empty(member_keys.size, np.uint8)
    _strata(hold_key, explore_key, float(holdout_share), float(explore_share), member_keys, stratum)
    return stratum


@kernel
def _strata(
    hold_key: np.uint64,
    explore_key: np.uint64,
    holdout_share: float,
    explore_share: float,
    member_keys: U64,
    stratum: U8,
) -> None:
    for r in range(member_keys.size):
        held = _uniform(member_state(hold_key, member_keys[r])) < holdout_share
        explores = _uniform(member_state(explore_key, member_keys[r])) < explore_share
        stratum[r] = HOLDOUT if held else (EXPLORE if explores else EXPLOIT)


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
    return caps, *check_draw(count_shares, weight, caps.max_messages, n_candidates)


def check_draw(count_shares: F64, weight: F64, max_messages: int, n_candidates: int) -> tuple[F64, F64]:
    """Return both checked: shares that sum to 1, weights that are positive."""
    count_shares = check_array("count_shares", count_shares, np.float64, (max_messages + 1,))
    check_probability("count_shares", count_shares)
    if abs(math.fsum(count_shares) - 1.0) > 1e-9:
        raise ContractError(f"count_shares must sum to 1, got {math.fsum(count_shares)!r}")
    weight = check_array("weight", weight, np.float64, (n_candidates,))
    check_range("weight", weight, 0.0, LARGEST, open_low=True)
    return count_shares, weight
