"""How likely each chosen message was to be in the set: the propensity of single messages."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from decider.decision.charged import caps_of
from decider.decision.stages import Decided, Question
from decider_core.explore import EXPLOIT, EXPLORE, HOLDOUT, explore_propensity
from decider_core.propensity import of_messages

MAX_SETS = 5_000
"""Explore sets enumerated at most; beyond it the propensity of single messages is left out."""
MAX_KNOWN = 4_096
"""Kinds of members whose explore sets are remembered, for each policy."""


def inclusion_propensities(question: Question, decided: Decided) -> NDArray[np.float64]:
    """Probability, given member and stratum, that the set holds each of its messages.

    Exact for explored, deterministic and single-message sets; the share of the policy's replayed draws (the
    one made included) for Thompson sets of several, also where the set's own propensity is exact.

    Parameters
    ----------
    question, decided
        Of a chunk asked `with_inclusion`.

    Returns
    -------
    float64 [M, n]
        NaN in empty places, where the set's own propensity is deferred, where it would take replays and the policy
        has none, and where there are more than `MAX_SETS` explore sets to add up.
    """
    policy, stratum = question.bound.policy, decided.explored.stratum
    inclusion = decided.of_messages
    if inclusion is None:
        by_replay = policy.kind == "thompson" and question.bound.max_messages > 1
        inclusion = of_messages(
            decided.sets, decided.propensity, stratum, HOLDOUT, EXPLOIT if by_replay else None, decided.held,
            policy.propensity_draws,
        )  # fmt: skip
    if policy.kind == "epsilon_greedy":
        by_chance = stratum != HOLDOUT
    elif decided.explored.n_drawn:
        by_chance = stratum == EXPLORE
    else:
        return inclusion
    for lane in np.flatnonzero(by_chance).tolist():
        chosen = decided.sets[:, lane].tolist()
        places = [place for place, k in enumerate(chosen) if k >= 0]
        if not places or np.isnan(decided.propensity[lane]):
            continue
        chances = _explored(question, decided, lane)
        if chances is None:
            inclusion[:, lane] = np.nan
            continue
        of_chosen = chances[[chosen[place] for place in places]]
        if stratum[lane] == EXPLOIT:
            greedy = np.isin(decided.sets[places, lane], decided.greedy[:, lane])
            of_chosen = policy.epsilon * of_chosen + (1.0 - policy.epsilon) * greedy
        inclusion[places, lane] = of_chosen
    return inclusion


def _explored(question: Question, decided: Decided, lane: int) -> NDArray[np.float64] | None:
    """Chance of each candidate to be in a set drawn at random: the same for all who may get the same."""
    caps, reason = decided.permitted.caps, decided.permitted.reason
    room = (
        int(caps.room_member[lane]),
        caps.room_channel[:, lane].tobytes(),
        caps.room_topic[:, lane].tobytes(),
    )
    kind = (reason[:, lane] == 0).tobytes(), *room
    known = question.bound.explored
    if kind not in known:
        if len(known) >= MAX_KNOWN:
            known.clear()
        known[kind] = _added_up(question, decided, lane)
    return known[kind]


def _added_up(question: Question, decided: Decided, lane: int) -> NDArray[np.float64] | None:
    eligible = [int(k) for k in np.flatnonzero(decided.permitted.reason[:, lane] == 0)]
    sizes = range(1, question.bound.max_messages + 1)
    if sum(math.comb(len(eligible), size) for size in sizes) > MAX_SETS:
        return None
    found = [group for size in sizes for group in combinations(eligible, size)]
    sets = np.full((question.bound.max_messages, len(found)), -1, np.int16)
    for place, group in enumerate(found):
        sets[: len(group), place] = group
    same_member = np.full(len(found), lane, np.int64)
    chances = explore_propensity(
        sets,
        question.bound.count_shares,
        question.parts.catalog.weight,
        np.ascontiguousarray(decided.permitted.reason[:, same_member]),
        caps_of(decided.permitted.caps, same_member),
    )
    n_candidates = question.parts.catalog.n_candidates
    return np.array([chances[(sets == k).any(axis=0)].sum() for k in range(n_candidates)])
