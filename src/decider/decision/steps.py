"""One decision, in seven steps, for a chunk of any size.

::

    catalog + snapshot -> 1 gather -> 2 permit -> 3 describe -> 4 estimate -> 5 explore -> 6 assemble -> 7 log

The seventh needs the outside world and stands in ``engine.py`` and ``run.py``. The six here are pure: what a
member gets depends on nothing but the question and the member, whatever else is in the chunk (invariant 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.catalog import quiet
from decider.decision.charged import Lanes
from decider.decision.few import decide_few
from decider.decision.overrides import Overrides
from decider.decision.policy import VALUED_AS
from decider.decision.propensities import propensities
from decider.decision.stages import (
    Decided,
    Described,
    Estimated,
    Explored,
    Gathered,
    Permitted,
    Question,
)
from decider.members import local_minutes
from decider.models import RawMap
from decider_core import explore as core_explore
from decider_core.assemble import assemble as assemble_sets
from decider_core.counts import members_of
from decider_core.gains import put_drawn
from decider_core.history import apply_history
from decider_core.permit import permit as permit_candidates
from decider_core.random import DRAW, EPSILON, stream_key, tie_keys, uniforms
from decider_core.rows import stretch_of
from decider_core.score import moments_and_fatigue
from decider_core.values import policy_values


def decide(question: Question) -> Decided:
    """Steps 1 to 6; of a few members, where that can be, by one kernel."""
    return decide_few(question) or step_by_step(question)


def step_by_step(question: Question) -> Decided:
    """Steps 1 to 6, in order."""
    gathered = gather(question)
    permitted = permit(question, gathered)
    described = describe(question, gathered, permitted)
    estimated = estimate(question, described)
    explored = explore(question, gathered, permitted, estimated)
    return assemble(question, gathered, permitted, estimated, explored)


def gather(question: Question) -> Gathered:
    """Step 1: the members' rows of the snapshot, the candidates live now, the channels quiet now."""
    parts, bound, rows = question.parts, question.bound, question.rows
    here = stretch_of(rows)
    features, audience, consent, places = parts.snapshot.features[here], parts.audience, parts.consent, rows
    if question.overrides is not None:
        features = question.overrides.features(features)
        if question.overrides.audience is not None:
            audience, consent, places = question.overrides.audience, consent[rows], np.zeros(1, np.int64)
    if bound.feature_columns is not None:
        features = np.ascontiguousarray(features[:, bound.feature_columns])
    keys = parts.snapshot.keys[here]
    return Gathered(keys, features, audience, consent, places, question.out_for_all, _still(question))


def _still(question: Question) -> NDArray[np.uint8]:
    """[n_channels, n] 1 in the member's quiet hours; what time it is there matters only where there are any."""
    catalog = question.parts.catalog
    if all(channel.quiet_hours is None for channel in catalog.channels):
        return np.zeros((len(catalog.channels), question.rows.size), np.uint8)
    return quiet(catalog, local_minutes(question.parts.snapshot, question.rows, question.time_micros))


def permit(question: Question, gathered: Gathered) -> Permitted:
    """Step 2: who may get what. A candidate that may not has its reason; none is dropped for its value."""
    catalog, max_messages = question.parts.catalog, question.bound.max_messages
    reason = permit_candidates(
        gathered.places, gathered.audience, gathered.consent, gathered.live,
        catalog.channel, question.channel_allowed, gathered.quiet,
    )  # fmt: skip
    times = question.time_micros if question.times_micros is None else question.times_micros
    caps = apply_history(
        question.rows, times, question.parts.snapshot_sends, question.sends, question.until_sequence,
        question.parts.of_candidates, catalog.history_rules, max_messages, reason,
    )  # fmt: skip
    return Permitted(reason, caps)


def describe(question: Question, gathered: Gathered, permitted: Permitted) -> Described:
    """Step 3: the feature map z of each member and the pair features u of each member and candidate."""
    model, (n_candidates, n_members) = question.bound.model, permitted.reason.shape
    u = np.zeros((0, n_candidates, n_members), np.float32)
    if model is None:
        return Described(np.zeros((n_members, 0), np.float32), u)
    if model.pair_features:
        overrides = question.overrides or Overrides.none()
        u = overrides.pair_array(model.pair_features, question.parts.catalog, permitted.reason)
    if isinstance(model.feature_map, RawMap):
        return Described(gathered.features, u, model.feature_map.scaling)
    return Described(model.feature_map.apply(gathered.features), u)


def estimate(question: Question, described: Described) -> Estimated:
    """Step 4: posterior mean and standard deviation of every tau, and the expected fatigue."""
    model, n_members = question.bound.bound_model, question.rows.size
    if model is None:
        nothing = np.full((question.parts.catalog.n_candidates, n_members), np.nan, np.float32)
        return Estimated(nothing, nothing, np.zeros(n_members, np.float32))
    return Estimated(
        *moments_and_fatigue(
            model.packed, model.fatigue, described.features, described.u, None, described.scaling
        )
    )


def explore(question: Question, gathered: Gathered, permitted: Permitted, estimated: Estimated) -> Explored:
    """Step 5: each member's stratum, the policy's value of every candidate, the sets drawn at random."""
    policy, catalog = question.bound.policy, question.parts.catalog
    epoch, keys = question.epoch, gathered.keys
    share = 1.0 if policy.kind == "random" else policy.explore
    stratum = core_explore.strata(policy.seed, epoch, policy.holdout, share, keys)
    if policy.kind == "random":
        value = np.zeros(permitted.reason.shape, np.float32)
    elif policy.kind == "heuristic":
        value = question.parts.priorities_of(question.rows)
    else:
        stream = stream_key(policy.seed, DRAW, epoch)
        value = policy_values(
            VALUED_AS[policy.kind], estimated.mean, estimated.sd, policy.kappa, stream, keys, catalog.keys
        )
    drawn, n_drawn = members_of(stratum, core_explore.EXPLORE)
    if policy.kind == "epsilon_greedy":
        dice = uniforms(stream_key(policy.seed, EPSILON, epoch), keys)
        drawn |= (stratum == core_explore.EXPLOIT) & (dice < policy.epsilon)
        n_drawn = int(np.count_nonzero(drawn))
    if not n_drawn:  # usual for a few members: there is nothing to draw, and nothing to check for it
        nobody = np.full((question.bound.max_messages, keys.size), -1, np.int16)
        return Explored(stratum, value, drawn, n_drawn, nobody, np.full(keys.size, np.nan))
    sets, propensity = core_explore.explore_sets(
        policy.seed, epoch, question.bound.count_shares, catalog.weight,
        permitted.reason, permitted.caps, keys, catalog.keys, where=drawn.view(np.uint8),
    )  # fmt: skip
    return Explored(stratum, value, drawn, n_drawn, sets, propensity)


def assemble(
    question: Question, gathered: Gathered, permitted: Permitted, estimated: Estimated, explored: Explored
) -> Decided:
    """Step 6: the greedy set under price and caps, or the one that was drawn; each with its propensity."""
    catalog, penalty = question.parts.catalog, question.same_topic_penalty
    ties = tie_keys(question.bound.policy.seed, question.epoch, gathered.keys)
    lanes = Lanes(explored.value, permitted.reason, estimated.fatigue, penalty, ties, permitted.caps)
    if question.charge is not None:
        greedy, gains = lanes.sets_at(question.charge)
    else:
        greedy, gains = assemble_sets(
            lanes.value, lanes.reason, lanes.fatigue, penalty,
            question.costs, question.prices, int(question.tie_cut), ties, lanes.caps,
        )  # fmt: skip
    sets, (held_out, n_held_out) = greedy.copy(), members_of(explored.stratum, core_explore.HOLDOUT)
    if explored.n_drawn or n_held_out:
        put_drawn(
            sets, gains, explored.drawn.view(np.uint8), held_out.view(np.uint8), explored.sets,
            explored.value, estimated.fatigue, penalty, catalog.topic,
        )  # fmt: skip
    chances = propensities(question, gathered, permitted, estimated, explored, sets, greedy, ties)
    return Decided(permitted, estimated, explored, sets, gains, greedy, *chances)
