"""Steps 2 to 6 for a few members in one call of a kernel, where nothing is out of the ordinary: the same bits.

Anything else, from an override to a feature that is not a number, is left to the steps themselves.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from decider.catalog import quiet
from decider.decision.parts import BoundPolicy, Parts
from decider.decision.policy import VALUED_AS
from decider.decision.stages import Decided, Estimated, Explored, Permitted, Question
from decider.members import minutes_of_zones
from decider.models import RawMap
from decider_core import few as core
from decider_core.caps import Caps, check_terms
from decider_core.history import LiveSends
from decider_core.history_rules import check_history
from decider_core.sends import check_live
from decider_core.standing import Members, Moment, Rule, Standing, moment_of, standing_of

MOST = 256
"""Members in a chunk: for more, what stands between the steps' kernels is of no account."""
_MAX_MOMENTS = 64
_MAX_STANDING = 16


@dataclass
class _Ready:
    """What was checked and laid out for one policy at one price."""

    parts: Parts
    bound: BoundPolicy
    standing: Standing
    sends: tuple[LiveSends, LiveSends] | None = None
    """The latest history, as it was given and as it was checked."""
    moments: dict[tuple[object, ...], Moment] = field(default_factory=dict)


def decide_few(question: Question) -> Decided | None:
    """Decide, or say by None that the steps have to."""
    bound, rows = question.bound, question.rows
    kind, model = bound.policy.kind, bound.model
    if (
        not 0 < rows.size <= MOST
        or model is None
        or model.pair_features
        or kind not in VALUED_AS
        or kind == "epsilon_greedy"
        or (kind == "thompson" and bound.max_messages == 1)
        or question.overrides is not None
        or question.charge is not None
        or not question.by_formula
        or not question.with_propensities
    ):
        return None
    ready = _ready(question)
    snapshot, standing = question.parts.snapshot, ready.standing
    features, times = snapshot.features[rows], question.times_micros
    if bound.feature_columns is not None:
        features = np.ascontiguousarray(features[:, bound.feature_columns])
    found = core.decide_few(
        rows,
        np.full(rows.size, question.time_micros) if times is None else times,
        features if isinstance(model.feature_map, RawMap) else model.feature_map.apply(features),
        snapshot.keys[rows],
        question.until_sequence,
        _checked_sends(question.sends, ready),
        standing,
        _moment(question, ready),
    )
    if not found.usual:
        return None
    candidates, rule = standing.candidates, standing.rule
    rooms = found.room_member, found.room_channel, found.room_topic
    caps = Caps(candidates.channel, candidates.topic, *rooms, rule.max_messages)
    are_held = kind == "thompson" and rule.n_draws > 0 and question.with_inclusion
    return Decided(
        Permitted(found.reason, caps),
        Estimated(found.mean, found.sd, found.fatigue),
        Explored(
            found.stratum, found.value, found.drawn.view(np.bool_), found.n_drawn, found.drawn_sets,
            found.drawn_propensity,
        ),
        found.sets,
        found.gains,
        found.greedy,
        found.propensity,
        found.hits,
        found.held if are_held else None,
        found.of_messages if question.with_inclusion else None,
    )  # fmt: skip


def _ready(question: Question) -> _Ready:
    known, at = question.bound.ready, (float(question.theta), int(question.tie_cut))
    ready = known.get(at)
    if (
        not isinstance(ready, _Ready)
        or ready.parts is not question.parts
        or ready.bound is not question.bound
    ):
        if len(known) >= _MAX_STANDING:
            known.clear()
        ready = known[at] = _Ready(question.parts, question.bound, _standing(question))
    return ready


def _standing(question: Question) -> Standing:
    parts, bound = question.parts, question.bound
    policy, model, bound_model, catalog = bound.policy, bound.model, bound.bound_model, parts.catalog
    assert model is not None
    assert bound_model is not None
    terms = check_terms(
        question.costs, question.prices, question.same_topic_penalty, int(question.tie_cut),
        catalog.n_candidates,
    )  # fmt: skip
    return standing_of(
        Members(parts.audience, parts.consent, parts.snapshot.zone, parts.snapshot_sends),
        check_history(parts.of_candidates, catalog.history_rules),
        bound_model.packed,
        bound_model.fatigue,
        model.feature_map.scaling if isinstance(model.feature_map, RawMap) else None,
        terms,
        Rule(
            VALUED_AS[policy.kind], np.float32(policy.kappa), policy.holdout, policy.explore,
            policy.propensity_draws, bound.max_messages, bound.count_shares, catalog.weight, catalog.keys,
        ),
    )  # fmt: skip


def _checked_sends(sends: LiveSends, ready: _Ready) -> LiveSends:
    if ready.sends is None or ready.sends[0] is not sends:
        ready.sends = sends, check_live(sends)
    return ready.sends[1]


def _moment(question: Question, ready: _Ready) -> Moment:
    catalog, time_micros = question.parts.catalog, question.time_micros
    at = (
        question.epoch,
        time_micros // 60_000_000,
        bisect_right(catalog.validity_edges, time_micros),
        question.channel_allowed.tobytes(),
    )
    moment = ready.moments.get(at)
    if moment is None:
        if len(ready.moments) >= _MAX_MOMENTS:
            ready.moments.clear()
        minutes = minutes_of_zones(question.parts.snapshot, time_micros)
        moment = ready.moments[at] = moment_of(
            ready.standing,
            question.out_for_all,
            question.channel_allowed,
            quiet(catalog, minutes),
            question.bound.policy.seed,
            question.epoch,
        )
    return moment
