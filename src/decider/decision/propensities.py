"""How likely each set was, given member and stratum: exact where a formula exists, else by replayed draws."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from decider.decision.charged import caps_of
from decider.decision.stages import Estimated, Explored, Gathered, Permitted, Question
from decider_core.explore import EXPLOIT, EXPLORE, explore_propensity
from decider_core.propensity import of_strata, replayed_hits, single_choice
from decider_core.set_choice import set_choice


def propensities(
    question: Question,
    gathered: Gathered,
    permitted: Permitted,
    estimated: Estimated,
    explored: Explored,
    sets: NDArray[np.int16],
    greedy: NDArray[np.int16],
    ties: NDArray[np.uint64],
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32] | None]:
    """Propensity of each set, float64 [n], the replays that gave it, int32 [n], and each message, int32 [M, n].

    One in the holdout and for policies without chance; by its formula in the explore stratum; a mixture of
    that and the greedy set under epsilon-greedy; by quadrature where Thompson chooses one message, and where it
    chooses several that nothing binds to each other (:mod:`decider_core.set_choice`); by replays where something
    does (hits are -1 everywhere else); NaN where it is deferred, or would need replays and the policy has none.
    """
    policy = question.bound.policy
    by_chance = policy.kind in ("thompson", "epsilon_greedy")
    of_exploit = np.nan if policy.kind == "thompson" and _deferred(question) else 1.0
    propensity = of_strata(explored.stratum, EXPLORE, EXPLOIT, explored.propensity, of_exploit)
    hits = np.full(sets.shape[1], -1, np.int32)
    if not by_chance or math.isnan(of_exploit):
        return propensity, hits, None
    exploit = np.flatnonzero(explored.stratum == EXPLOIT)
    if not exploit.size:
        return propensity, hits, None
    if policy.kind == "thompson" and question.bound.max_messages > 1:
        return _several(question, gathered, permitted, estimated, sets, ties, exploit, propensity)
    chosen = np.ascontiguousarray(sets[:, exploit])
    allowed = Permitted(np.ascontiguousarray(permitted.reason[:, exploit]), caps_of(permitted.caps, exploit))
    if policy.kind == "epsilon_greedy":
        propensity[exploit] = _mixture(question, allowed, chosen, greedy[:, exploit])
    else:
        propensity[exploit] = _single(question, allowed, estimated, exploit, chosen)
    return propensity, hits, None


def _several(
    question: Question,
    gathered: Gathered,
    permitted: Permitted,
    estimated: Estimated,
    sets: NDArray[np.int16],
    ties: NDArray[np.uint64],
    exploit: NDArray[np.int64],
    propensity: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32] | None]:
    """Where Thompson chooses several: by the formula where it tells, by replays elsewhere.

    Single messages are counted in replays of all who exploit.
    """
    policy, catalog = question.bound.policy, question.parts.catalog
    hits = np.full(propensity.size, -1, np.int32)
    if question.by_formula:
        where = np.zeros(propensity.size, np.uint8)
        where[exploit] = 1
        told = set_choice(
            sets, estimated.mean, estimated.sd, permitted.reason, estimated.fatigue, question.same_topic_penalty,
            question.costs, question.prices, permitted.caps, where,
        )  # fmt: skip
        propensity[exploit] = told[exploit]
    else:
        propensity[exploit] = np.nan
    if not policy.propensity_draws:
        return propensity, hits, None
    left = exploit[np.isnan(propensity[exploit])]
    some = exploit if question.with_inclusion else left
    if not some.size:
        return propensity, hits, None
    held = np.zeros((len(sets), some.size), np.int32) if question.with_inclusion else None
    # Nine of ten members exploit: of a few it is often all, and nothing is copied.
    here: NDArray[np.int64] | slice = slice(None) if some.size == propensity.size else some
    counted = replayed_hits(
        np.ascontiguousarray(sets[:, here]),
        np.ascontiguousarray(estimated.mean[:, here]),
        np.ascontiguousarray(estimated.sd[:, here]),
        np.ascontiguousarray(permitted.reason[:, here]),
        estimated.fatigue[here],
        question.same_topic_penalty,
        question.costs,
        question.prices,
        int(question.tie_cut),
        ties[here],
        permitted.caps if isinstance(here, slice) else caps_of(permitted.caps, some),
        policy.seed,
        question.epoch,
        policy.propensity_draws,
        gathered.keys[here],
        catalog.keys,
        held,
    )
    hits[some] = counted
    hits[exploit] = np.where(np.isnan(propensity[exploit]), hits[exploit], -1)
    propensity[left] = replayed_propensity(hits[left], policy.propensity_draws)
    if held is None:
        return propensity, hits, None
    held_by_all = np.zeros(sets.shape, np.int32)
    held_by_all[:, some] = held
    return propensity, hits, held_by_all


def replayed_propensity(hits: NDArray[np.int32], n_draws: int) -> NDArray[np.float64]:
    """(hits + 1) / (draws + 1): the draw that was made counts as one more replay.

    So it is never zero, and consistent as the draws grow. Hits and draws are logged, for other choices.
    """
    return (hits.astype(np.float64) + 1.0) / (n_draws + 1.0)


def _deferred(question: Question) -> bool:
    """Whether Thompson's propensities are left to a replay."""
    return not question.with_propensities


def _mixture(
    question: Question, allowed: Permitted, chosen: NDArray[np.int16], greedy: NDArray[np.int16]
) -> NDArray[np.float64]:
    epsilon, weight = question.bound.policy.epsilon, question.parts.catalog.weight
    at_random = explore_propensity(chosen, question.bound.count_shares, weight, allowed.reason, allowed.caps)
    is_greedy = np.all(np.sort(chosen, axis=0) == np.sort(greedy, axis=0), axis=0)
    mixture: NDArray[np.float64] = epsilon * at_random + (1.0 - epsilon) * is_greedy
    return mixture


def _single(
    question: Question,
    allowed: Permitted,
    estimated: Estimated,
    exploit: NDArray[np.int64],
    chosen: NDArray[np.int16],
) -> NDArray[np.float64]:
    mean, sd = (np.ascontiguousarray(array[:, exploit]) for array in (estimated.mean, estimated.sd))
    chances = single_choice(mean, sd, allowed.reason, question.costs, question.prices)
    nobody = question.parts.catalog.n_candidates
    of_chosen: NDArray[np.float64] = chances[
        np.where(chosen[0] < 0, nobody, chosen[0]), np.arange(exploit.size)
    ]
    return of_chosen
