"""What decisions of a few members have in common: what stands from group to group, and what a minute and an epoch add.

Checked and laid out once, for :mod:`decider_core.few`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core import random
from decider_core.caps import LARGEST, Terms
from decider_core.compile import F32, F64, I16, U8, U32, U64
from decider_core.contracts import check_array, check_finite, check_number, check_probability
from decider_core.explore import check_draw
from decider_core.features import Scaling, check_scaling
from decider_core.history_rules import Candidates, CheckedHistory, HistoryRules
from decider_core.microkernel import padded_features, padded_rows
from decider_core.packing import PackedPosterior
from decider_core.sends import SnapshotSends, check_snapshot
from decider_core.set_integral import RULES, Rules

_MOST_CHANNELS: Final = 32
_NO_WEIGHTS = np.empty(0, np.float32)
_NO_WEIGHTS.flags.writeable = False


class Members(NamedTuple):
    """What is known of all members of a snapshot."""

    audience: U64
    """u64[n_words, n_rows]: bits by candidate."""
    consent: U32
    """u32[n_rows]: bits by channel."""
    zone: I16
    """i16[n_rows]: time zone."""
    sent: SnapshotSends


class Weights(NamedTuple):
    """A packed posterior with the weights of fatigue, and how features become what they are weights of."""

    linear: F32
    quadratic: F32
    pair_mean: F32
    pair_factor: F32
    fatigue: F32
    shift: F32
    factor: F32
    diagonal: bool
    n_ones: int
    n_features: int
    """Rows of a tile, padded."""
    n_candidates: int
    """Likewise."""


class Rule(NamedTuple):
    """How the policy chooses."""

    kind: int
    """Of :mod:`decider_core.values`."""
    kappa: np.float32
    holdout: float
    explore: float
    n_draws: int
    """Replays for each propensity; 0 makes none."""
    max_messages: int
    count_shares: F64
    weight: F64
    candidate_keys: U64


class Standing(NamedTuple):
    """All that stays from group to group; made by :func:`standing_of`."""

    members: Members
    candidates: Candidates
    rules: HistoryRules
    n_types: int
    weights: Weights
    terms: Terms
    rule: Rule
    quadrature: Rules


class Moment(NamedTuple):
    """What a minute and an epoch add; made by :func:`moment_of`."""

    live: U8
    """u8[n_candidates]: 0, or why the candidate is out for everyone."""
    channel_allowed: U8
    """u8[n_channels]"""
    quiet: U8
    """u8[n_channels, n_zones]: 1 in the quiet hours of a zone."""
    hold_key: np.uint64
    explore_key: np.uint64
    draw_key: np.uint64
    tie_key: np.uint64
    count_key: np.uint64
    pick_key: np.uint64
    replay_keys: U64
    """u64[n_draws]"""


def standing_of(
    members: Members,
    history: CheckedHistory,
    packed: PackedPosterior,
    fatigue: F32,
    scaling: Scaling | None,
    terms: Terms,
    rule: Rule,
) -> Standing:
    """Check what stays from group to group.

    Parameters
    ----------
    members, rule
        See there.
    history
        From :func:`decider_core.history_rules.check_history`.
    packed, fatigue, scaling
        As for :func:`decider_core.score.moments_and_fatigue`; of a posterior without pair features.
    terms
        From :func:`decider_core.caps.check_terms`.

    Raises
    ------
    ContractError
        As the steps would.
    """
    n_candidates, d = packed.n_candidates, packed.n_features
    consent = check_array("consent", members.consent, np.uint32, (None,))
    n_words = (n_candidates + 63) // 64
    audience = check_array("audience", members.audience, np.uint64, (n_words, consent.size))
    zone = check_array("zone", members.zone, np.int16, (consent.size,))
    check_number("n_channels", history.rules.channel_cap.size, 0, _MOST_CHANNELS)
    check_number("n_pair_features", packed.n_pair_features, 0, 0)
    fatigue = check_array("v", fatigue, np.float32, (d,))
    check_finite("v", fatigue)
    n_ones, shift, factor = 0, _NO_WEIGHTS, _NO_WEIGHTS
    if scaling is not None:
        n_ones = int(scaling.intercept)
        shift, factor, _ = check_scaling(scaling, d - n_ones)
    linear, quadratic, pair_mean, pair_factor = (
        check_array("packed", each, np.float32, (None,) * each.ndim)
        for each in (packed.linear, packed.quadratic, packed.pair_mean, packed.pair_factor)
    )
    weights = Weights(
        linear, quadratic, pair_mean, pair_factor, fatigue, shift, factor, bool(packed.diagonal), n_ones,
        padded_features(d), padded_rows(n_candidates),
    )  # fmt: skip
    check_probability("holdout_share", rule.holdout)
    check_probability("explore_share", rule.explore)
    count_shares, weight = check_draw(rule.count_shares, rule.weight, rule.max_messages, n_candidates)
    rule = Rule(
        int(rule.kind),
        np.float32(check_number("kappa", float(rule.kappa), 0.0, LARGEST)),
        float(rule.holdout),
        float(rule.explore),
        int(rule.n_draws),
        int(rule.max_messages),
        count_shares,
        weight,
        check_array("candidate_keys", rule.candidate_keys, np.uint64, (n_candidates,)),
    )
    sent = check_snapshot(members.sent, consent.size)
    return Standing(Members(audience, consent, zone, sent), *history, weights, terms, rule, RULES)


def moment_of(standing: Standing, live: U8, channel_allowed: U8, quiet: U8, seed: int, epoch: int) -> Moment:
    """Check what a minute and an epoch add, and make their keys.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape.
    """
    n_channels = standing.rules.channel_cap.size
    quiet = check_array("quiet", quiet, np.uint8, (n_channels, None))
    keys = random.stream_keys(seed, random.REPLAY, epoch, standing.rule.n_draws)
    explore_key, draw_key, tie_key, count_key, pick_key = (
        random.stream_key(seed, stream, epoch)
        for stream in (random.STRATUM, random.DRAW, random.TIE, random.COUNT, random.PICK)
    )
    return Moment(
        check_array("live", live, np.uint8, (standing.candidates.channel.size,)),
        check_array("channel_allowed", channel_allowed, np.uint8, (n_channels,)),
        quiet,
        random.stream_key(seed, random.HOLDOUT),
        explore_key,
        draw_key,
        tie_key,
        count_key,
        pick_key,
        check_array("replay_keys", keys, np.uint64, (None,)),
    )
