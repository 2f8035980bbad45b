"""A few members decided by one kernel: what the kernels of the single steps do, without what stands between them.

For one member the steps' kernels take some 60 microseconds, and to call them, check and make their arrays takes
several times as much. Here what does not change from group to group is checked once (:mod:`decider_core.standing`), and
the same kernels are called by another one. So the bits are the same; and whatever is out of the ordinary is only
reported, for the steps to find and name.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core import values
from decider_core.assemble import _assemble
from decider_core.caps import LARGEST, Caps, _between
from decider_core.compile import F32, F64, I16, I32, I64, U8, U64, kernel
from decider_core.contracts import check_array
from decider_core.explore import EXPLOIT, EXPLORE, HOLDOUT, _strata
from decider_core.gains import _put_drawn
from decider_core.history import _apply_history
from decider_core.history_rules import LONGEST_SECONDS
from decider_core.microkernel import LANES
from decider_core.permit import _permit
from decider_core.propensity import _of_messages, _of_strata
from decider_core.race import _explore_sets
from decider_core.random import _tie_keys
from decider_core.replay import _replayed_hits
from decider_core.score import _moments
from decider_core.sends import LiveSends
from decider_core.set_choice import _set_choice, new_block
from decider_core.set_integral import new_space
from decider_core.standing import Moment, Rule, Standing, Weights
from decider_core.values import _shifted, _thompson, _usable

_LATEST: Final = int(LONGEST_SECONDS) * 1_000_000


class Few(NamedTuple):
    """What came of n members, K candidates and M places; nothing of it if not `usual`."""

    usual: bool
    reason: U8
    """u8[K, n]"""
    room_member: I16
    room_channel: I16
    room_topic: I16
    mean: F32
    """f32[K, n]"""
    sd: F32
    fatigue: F32
    """f32[n]"""
    stratum: U8
    """u8[n]"""
    value: F32
    """f32[K, n]"""
    drawn: U8
    """u8[n]"""
    n_drawn: int
    drawn_sets: I16
    """i16[M, n]"""
    drawn_propensity: F64
    """f64[n]"""
    sets: I16
    """i16[M, n]"""
    gains: F32
    """f32[M, n]"""
    greedy: I16
    """i16[M, n]"""
    propensity: F64
    """f64[n]"""
    hits: I32
    """i32[n]"""
    held: I32
    """i32[M, n]: counted where a set holds something and is replayed, else 0."""
    of_messages: F64
    """f64[M, n]: the propensity of each message; see :func:`decider_core.propensity.of_messages`."""


def decide_few(
    rows: I64,
    times: I64,
    features: F32,
    keys: U64,
    until_sequence: int,
    live_sends: LiveSends,
    standing: Standing,
    moment: Moment,
) -> Few:
    """Permit, estimate, explore and assemble, with propensities.

    Parameters
    ----------
    rows : i64[n]
        At least one.
    times : i64[n]
        Decision times, for the history; microseconds since 1970.
    features : f32[n, d0]
        As `standing` takes them.
    keys : u64[n]
    until_sequence
        Live entries with a higher sequence did not exist yet.
    live_sends
        From :func:`decider_core.sends.check_live`; of the rows of the snapshot.
    standing, moment
        What else it depends on.

    Returns
    -------
    Few
        Not usual where a row or a time lies outside, sends lead outside, a feature is not finite, or an eligible
        candidate's value is not: the kernels of the steps say what it is.
    """
    d0 = standing.weights.fatigue.size - standing.weights.n_ones
    rows = check_array("rows", rows, np.int64, (None,))
    return _decide_few(
        rows,
        check_array("times", times, np.int64, rows.shape),
        check_array("features", features, np.float32, (rows.size, d0)),
        check_array("keys", keys, np.uint64, rows.shape),
        int(until_sequence),
        live_sends,
        standing,
        moment,
    )


@kernel
def _decide_few(
    rows: I64,
    times: I64,
    features: F32,
    keys: U64,
    until_sequence: int,
    live: LiveSends,
    standing: Standing,
    moment: Moment,
) -> Few:
    rule, terms, candidates = standing.rule, standing.terms, standing.candidates
    few = _new_few(rows.size, standing)
    caps = Caps(
        candidates.channel,
        candidates.topic,
        few.room_member,
        few.room_channel,
        few.room_topic,
        rule.max_messages,
    )
    usual = _are_inside(rows, times, standing.members.zone, live.head.size, moment.quiet.shape[1])
    if usual:
        _permit_few(rows, standing, moment, few.reason)
        wrong = _apply_history(
            rows, times, standing.members.sent, live, until_sequence, candidates, standing.rules,
            standing.n_types, caps, few.reason,
        )  # fmt: skip
        usual = wrong < 0
    if usual:
        usual = _estimate_few(features, standing.weights, few)
    n_drawn = n_held_out = 0
    if usual:
        _strata(moment.hold_key, moment.explore_key, rule.holdout, rule.explore, keys, few.stratum)
        for r in range(rows.size):
            few.drawn[r] = few.stratum[r] == EXPLORE
            n_drawn += few.stratum[r] == EXPLORE
            n_held_out += few.stratum[r] == HOLDOUT
        _value_few(keys, rule, moment, few)
        if n_drawn > 0:
            _explore_sets(
                moment.count_key, moment.pick_key, rule.count_shares, rule.weight, few.reason, caps, keys,
                rule.candidate_keys, few.drawn, few.drawn_sets, few.drawn_propensity,
            )  # fmt: skip
        ties = np.empty(keys.size, np.uint64)
        _tie_keys(moment.tie_key, keys, ties)
        usual = _assemble(few.value, few.reason, few.fatigue, terms, ties, caps, few.greedy, few.gains) < 0
        few.sets[:] = few.greedy
        if usual and n_drawn + n_held_out > 0:
            held_out = np.empty(keys.size, np.uint8)
            for r in range(keys.size):
                held_out[r] = few.stratum[r] == HOLDOUT
            _put_drawn(
                few.sets, few.gains, few.drawn, held_out, few.drawn_sets, few.value, few.fatigue,
                terms.same_topic_penalty, candidates.topic,
            )  # fmt: skip
        _of_strata(
            few.stratum, np.uint8(EXPLORE), np.uint8(EXPLOIT), few.drawn_propensity, 1.0, few.propensity
        )
        if usual and rule.kind == values.THOMPSON:
            _tell_chances(keys, ties, caps, standing, moment, few)
        by_replay = EXPLOIT if rule.kind == values.THOMPSON else -1
        held = few.held if rule.n_draws > 0 else np.empty((0, 0), np.int32)
        _of_messages(
            few.sets, few.propensity, few.stratum, HOLDOUT, by_replay, held, rule.n_draws, few.of_messages
        )
    return Few(
        usual,
        few.reason,
        few.room_member,
        few.room_channel,
        few.room_topic,
        few.mean,
        few.sd,
        few.fatigue,
        few.stratum,
        few.value,
        few.drawn,
        n_drawn,
        few.drawn_sets,
        few.drawn_propensity,
        few.sets,
        few.gains,
        few.greedy,
        few.propensity,
        few.hits,
        few.held,
        few.of_messages,
    )


@kernel
def _new_few(n: int, standing: Standing) -> Few:
    n_candidates, n_places = standing.candidates.channel.size, standing.rule.max_messages
    pairs, places = (n_candidates, n), (n_places, n)
    return Few(
        True,
        np.empty(pairs, np.uint8),
        np.empty(n, np.int16),
        np.empty((standing.rules.channel_cap.size, n), np.int16),
        np.empty((standing.rules.topic_cap.size, n), np.int16),
        np.empty(pairs, np.float32),
        np.empty(pairs, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.uint8),
        np.empty(pairs, np.float32),
        np.empty(n, np.uint8),
        0,
        np.full(places, np.int16(-1), np.int16),
        np.full(n, np.nan),
        np.empty(places, np.int16),
        np.empty(places, np.float32),
        np.empty(places, np.int16),
        np.empty(n),
        np.full(n, np.int32(-1), np.int32),
        np.zeros(places, np.int32),
        np.empty(places),
    )


@kernel
def _are_inside(rows: I64, times: I64, zone: I16, n_heads: int, n_zones: int) -> bool:
    for r in range(rows.size):
        if rows[r] < 0 or rows[r] >= zone.size or times[r] < -_LATEST or times[r] > _LATEST:
            return False
        if zone[rows[r]] < 0 or zone[rows[r]] >= n_zones:
            return False
    return n_heads == zone.size


@kernel
def _permit_few(rows: I64, standing: Standing, moment: Moment, reason: U8) -> None:
    members = standing.members
    quiet = np.empty((len(moment.quiet), rows.size), np.uint8)
    for c in range(len(quiet)):
        for r in range(rows.size):
            quiet[c, r] = moment.quiet[c, members.zone[rows[r]]]
    _permit(
        rows, members.audience, members.consent, moment.live, standing.candidates.channel,
        moment.channel_allowed, quiet, reason,
    )  # fmt: skip


@kernel
def _estimate_few(features: F32, weights: Weights, few: Few) -> bool:
    # Returns whether what came out can be worked with, as far as eligible candidates go.
    tile = np.zeros((weights.n_features, LANES), np.float32)
    tile[: weights.n_ones] = np.float32(1.0)
    n_suspect = _moments(
        features, weights.shift, weights.factor, weights.n_ones,
        np.empty((0, len(few.mean), features.shape[0]), np.float32),
        weights.diagonal, weights.linear, weights.quadratic, weights.pair_mean, weights.pair_factor,
        weights.fatigue, tile, np.zeros_like(tile), np.empty((weights.n_candidates, LANES), np.float32),
        np.empty((weights.n_candidates, LANES), np.float32), np.empty(LANES, np.float32),
        few.mean, few.sd, few.fatigue,
    )  # fmt: skip
    usable = _usable(few.mean, few.sd, few.reason) and _between(few.fatigue, 0.0, LARGEST)
    return bool(n_suspect == 0 and usable)


@kernel
def _value_few(keys: U64, rule: Rule, moment: Moment, few: Few) -> None:
    if rule.kind == values.THOMPSON:
        states = np.empty(keys.size, np.uint64)
        _thompson(few.mean, few.sd, moment.draw_key, keys, rule.candidate_keys, states, few.value)
    elif rule.kind == values.GREEDY:
        few.value[:] = few.mean
    else:
        kappa = rule.kappa if rule.kind == values.UCB else -rule.kappa
        _shifted(few.mean, few.sd, kappa, few.value)


@kernel
def _tell_chances(keys: U64, ties: U64, caps: Caps, standing: Standing, moment: Moment, few: Few) -> None:
    # By the formula where it tells, by replays elsewhere; messages are counted in replays of all sets that hold any.
    terms, n = standing.terms, keys.size
    exploit = np.empty(n, np.uint8)
    for r in range(n):
        exploit[r] = few.stratum[r] == EXPLOIT
    told, n_infinite = np.full(n, np.nan), 0
    for k in range(terms.price.size):
        n_infinite += not np.isfinite(terms.price[k])
    if n_infinite == 0:
        _set_choice(
            few.sets, few.mean, few.sd, few.reason, few.fatigue, terms, caps, exploit,
            new_block(len(few.mean), len(few.room_channel), len(few.room_topic)),
            new_space(len(few.mean), standing.quadrature), told,
        )  # fmt: skip
    replay = np.zeros(n, np.uint8)
    n_replay = 0
    for r in range(n):
        if exploit[r] != 0:
            few.propensity[r] = told[r]
            n_sent = 0
            for place in range(len(few.sets)):
                n_sent += few.sets[place, r] >= 0
            replay[r] = np.isnan(told[r]) or n_sent > 0
            n_replay += replay[r]
    n_draws = moment.replay_keys.size
    if n_draws == 0 or n_replay == 0:
        return
    hits = np.zeros(n, np.int32)
    _replayed_hits(
        few.sets, few.mean, few.sd, few.reason, few.fatigue, terms, ties, caps, moment.replay_keys, keys,
        standing.rule.candidate_keys, replay, hits, few.held,
    )  # fmt: skip
    for r in range(n):
        if replay[r] != 0 and np.isnan(told[r]):
            few.hits[r] = hits[r]
            few.propensity[r] = (np.float64(hits[r]) + 1.0) / (n_draws + 1.0)
