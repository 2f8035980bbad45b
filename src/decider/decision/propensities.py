"""How likely each set was, given member and stratum: exact where a formula exists, else by replayed draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.decision.charged import caps_of
from decider.decision.stages import Estimated, Explored, Gathered, Permitted, Question
from decider_core.explore import EXPLOIT, EXPLORE, explore_propensity
from decider_core.propensity import replayed_hits, single_choice


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
    that and the greedy set under epsilon-greedy; by quadrature where Thompson chooses one message; by replays
    where it chooses several (hits are -1 everywhere else); NaN where it is deferred.
    """
    policy = question.bound.policy
    propensity = np.where(explored.stratum == EXPLORE, explored.propensity, 1.0)
    hits = np.full(sets.shape[1], -1, np.int32)
    exploit = np.flatnonzero(explored.stratum == EXPLOIT)
    if policy.kind not in ("thompson", "epsilon_greedy") or not exploit.size:
        return propensity, hits, None
    if policy.kind == "thompson" and _deferred(question):
        propensity[exploit] = np.nan
        return propensity, hits, None
    here: NDArray[np.int64] | slice = exploit
    if (
        exploit.size == sets.shape[1]
    ):  # nine of ten members exploit: of a few it is often all, and nothing is copied
        here = slice(None)
    chosen = np.ascontiguousarray(sets[:, here])
    caps = permitted.caps if isinstance(here, slice) else caps_of(permitted.caps, exploit)
    allowed = Permitted(np.ascontiguousarray(permitted.reason[:, here]), caps)
    if policy.kind == "epsilon_greedy":
        propensity[exploit] = _mixture(question, allowed, chosen, greedy[:, exploit])
    elif question.bound.max_messages == 1:
        propensity[exploit] = _single(question, allowed, estimated, exploit, chosen)
    else:
        catalog = question.parts.catalog
        of_exploit = np.zeros(chosen.shape, np.int32) if question.with_inclusion else None
        hits[here] = replayed_hits(
            chosen,
            np.ascontiguousarray(estimated.mean[:, here]),
            np.ascontiguousarray(estimated.sd[:, here]),
            allowed.reason,
            estimated.fatigue[here],
            question.same_topic_penalty,
            question.costs,
            question.prices,
            int(question.tie_cut),
            ties[here],
            allowed.caps,
            policy.seed,
            question.epoch,
            policy.propensity_draws,
            gathered.keys[here],
            catalog.keys,
            of_exploit,
        )
        propensity[here] = replayed_propensity(hits[here], policy.propensity_draws)
        if of_exploit is not None:
            held = np.zeros(sets.shape, np.int32)
            held[:, here] = of_exploit
            return propensity, hits, held
    return propensity, hits, None


def replayed_propensity(hits: NDArray[np.int32], n_draws: int) -> NDArray[np.float64]:
    """(hits + 1) / (draws + 1): the draw that was made counts as one more replay.

    So it is never zero, and consistent as the draws grow. Hits and draws are logged, for other choices.
    """
    return (hits.astype(np.float64) + 1.0) / (n_draws + 1.0)


def _deferred(question: Question) -> bool:
    """Whether a Thompson set's propensity is left to a replay."""
    by_draws = question.bound.max_messages > 1
    return not question.with_propensities or (by_draws and question.bound.policy.propensity_draws == 0)


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
