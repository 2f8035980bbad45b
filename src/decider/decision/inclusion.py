"""How likely each chosen message was to be in the set: the propensity of single messages, for one member."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from decider.decision.propensities import lanes, replayed_propensity
from decider.decision.stages import Decided, Question
from decider_core.assemble import assemble
from decider_core.explore import EXPLOIT, explore_propensity
from decider_core.random import REPLAY, replay_normals, stream_keys, tie_keys

MAX_SETS = 5_000
"""Explore sets enumerated at most; beyond it the propensity of single messages is left out."""


def inclusion_propensities(question: Question, decided: Decided) -> NDArray[np.float64] | None:
    """Probability, given member and stratum, that the set holds each of its messages.

    Exact for explored, deterministic and single-message sets; the share of the policy's replayed draws (the
    one made included) for Thompson sets of several.

    Parameters
    ----------
    question, decided
        Of a chunk of one member.

    Returns
    -------
    float64 [n_chosen], or none when the set's own propensity is deferred or there are more than `MAX_SETS`
    explore sets to add up.
    """
    chosen = decided.sets[:, 0][decided.sets[:, 0] >= 0]
    if math.isnan(decided.propensity[0]):
        return None
    if decided.explored.stratum[0] == EXPLOIT:
        if decided.hits[0] >= 0:
            return _replayed(question, decided, chosen)
        if question.bound.policy.kind != "epsilon_greedy":
            return np.full(chosen.size, decided.propensity[0])
    explored = _explored(question, decided, chosen)
    if explored is None or decided.explored.stratum[0] != EXPLOIT:
        return explored
    greedy = np.isin(chosen, decided.greedy[:, 0])
    return question.bound.policy.epsilon * explored + (1.0 - question.bound.policy.epsilon) * greedy


def _replayed(question: Question, decided: Decided, chosen: NDArray[np.int16]) -> NDArray[np.float64]:
    policy, catalog, n_draws = (
        question.bound.policy,
        question.parts.catalog,
        question.bound.policy.propensity_draws,
    )
    key = question.parts.snapshot.keys[question.rows]
    streams = stream_keys(policy.seed, REPLAY, question.epoch, n_draws)
    draws = replay_normals(streams, key[0], catalog.keys)
    mean, sd = decided.estimated.mean, decided.estimated.sd
    same_member = np.zeros(n_draws, np.int64)
    sets, _ = assemble(
        mean + sd * draws,
        np.ascontiguousarray(decided.permitted.reason[:, same_member]),
        decided.estimated.fatigue[same_member],
        question.same_topic_penalty,
        catalog.cost,
        question.prices,
        int(question.tie_cut),
        tie_keys(policy.seed, question.epoch, key)[same_member],
        lanes(decided.permitted.caps, same_member),
    )
    held = (sets[None, :, :] == chosen[:, None, None]).any(axis=1).sum(axis=1)
    return replayed_propensity(held.astype(np.int32), n_draws)


def _explored(question: Question, decided: Decided, chosen: NDArray[np.int16]) -> NDArray[np.float64] | None:
    eligible = [int(k) for k in np.flatnonzero(decided.permitted.reason[:, 0] == 0)]
    sizes = range(1, question.bound.max_messages + 1)
    if sum(math.comb(len(eligible), size) for size in sizes) > MAX_SETS:
        return None
    found = [group for size in sizes for group in combinations(eligible, size)]
    if not found:
        return np.zeros(0)
    sets = np.full((question.bound.max_messages, len(found)), -1, np.int16)
    for lane, group in enumerate(found):
        sets[: len(group), lane] = group
    same_member = np.zeros(len(found), np.int64)
    chances = explore_propensity(
        sets,
        question.bound.count_shares,
        question.parts.catalog.weight,
        np.ascontiguousarray(decided.permitted.reason[:, same_member]),
        lanes(decided.permitted.caps, same_member),
    )
    return np.array([chances[(sets == k).any(axis=0)].sum() for k in chosen])
