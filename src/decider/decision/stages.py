"""What each of the seven steps hands to the next, for a chunk of n members, K candidates and M places.

Pair arrays are candidate-major, ``[K, n]``: the kernels' lanes are members.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decider.catalog import live
from decider.decision.charged import Charge
from decider.decision.overrides import Overrides
from decider.decision.parts import BoundPolicy, Parts
from decider_core import reasons
from decider_core.assemble import Caps
from decider_core.features import Scaling
from decider_core.history import LiveSends


@dataclass(frozen=True)
class Question:
    """All that a chunk of decisions depends on."""

    parts: Parts
    bound: BoundPolicy
    rows: NDArray[np.int64]
    """[n] rows of the snapshot."""
    time_micros: int
    """Decision time: which messages are live and where it is quiet."""
    epoch: int
    channel_allowed: NDArray[np.uint8]
    """[n_channels] 1 where the caller allows the channel."""
    theta: np.float32
    """Price: reward per unit of cost."""
    tie_cut: np.uint64
    """Gains exactly at the price are admitted up to this key."""
    sends: LiveSends
    """What was sent since the snapshot."""
    until_sequence: int
    """Entries of `sends` after this one are not seen."""
    overrides: Overrides | None = None
    """Of a single member only."""
    by_formula: bool = True
    """Whether Thompson's sets have the propensity of the formula where it tells; else that of replays, as the log
    says of decisions that were made before there was one."""
    with_propensities: bool = True
    """Whether exploit propensities are computed now, or left to a replay."""
    times_micros: NDArray[np.int64] | None = None
    """[n] decision time of each member, for its history; all live and quiet as at `time_micros`."""
    with_inclusion: bool = False
    """Whether replays also count how often each chosen message comes out."""
    charge: Charge | None = None
    """What messages must be worth where the run has budgets; none: `theta` for each unit of their cost."""

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """[K] what each candidate's price is per unit of: its cost, or that of the charge where there is one."""
        if self.charge is not None:
            return self.charge.cost
        costs: NDArray[np.float32] = self.parts.catalog.cost
        return costs

    @cached_property
    def prices(self) -> NDArray[np.float32]:
        """[K] price of each candidate, per unit of `costs`."""
        if self.charge is not None:
            return self.charge.price
        return np.full(self.parts.catalog.n_candidates, self.theta, np.float32)

    @property
    def out_for_all(self) -> NDArray[np.uint8]:
        """[K] 0, or why the candidate is out for everyone: it is not live, or the model knows nothing of it."""
        out: NDArray[np.uint8] = live(self.parts.catalog, self.time_micros)
        model = self.bound.bound_model
        if model is not None and "" in model.sources:
            unknown = (out == reasons.ELIGIBLE) & (model.estimable == 0)
            out = np.where(unknown, np.uint8(reasons.NO_POSTERIOR), out)
        return out

    @property
    def same_topic_penalty(self) -> float:
        """What a second message of one topic costs, in reward."""
        return self.bound.bound_model.same_topic_penalty if self.bound.bound_model else 0.0


@dataclass(frozen=True)
class Gathered:
    """1: the members' own data, the candidates live now, the channels quiet now."""

    keys: NDArray[np.uint64]
    features: NDArray[np.float32]
    """[n, n_features] in the model's order."""
    audience: NDArray[np.uint64]
    """[n_words, N] bits by candidate."""
    consent: NDArray[np.uint32]
    """[N] bits by channel."""
    places: NDArray[np.int64]
    """[n] where the members stand in `audience` and `consent`."""
    live: NDArray[np.uint8]
    """[K] 0, or why the candidate is out for everyone."""
    quiet: NDArray[np.uint8]
    """[n_channels, n] 1 in the member's quiet hours."""


@dataclass(frozen=True)
class Permitted:
    """2: who may get what."""

    reason: NDArray[np.uint8]
    """[K, n] 0 when eligible, else a code of ``decider_core.reasons``."""
    caps: Caps


@dataclass(frozen=True)
class Described:
    """3: the feature map of each member, the pair features of each member and candidate."""

    features: NDArray[np.float32]
    """[n, d0] what z is made of by `scaling`; where there is none, z itself."""
    u: NDArray[np.float32]
    """[n_pair_features, K, n]"""
    scaling: Scaling | None = None
    """How z is made of the features: on their way into the kernel, so that z is never written down."""


@dataclass(frozen=True)
class Estimated:
    """4: what each candidate would cause, with its uncertainty; fatigue per pair of messages."""

    mean: NDArray[np.float32]
    """[K, n], NaN for policies without a model; so is `sd`."""
    sd: NDArray[np.float32]
    fatigue: NDArray[np.float32]
    """[n]"""


@dataclass(frozen=True)
class Explored:
    """5: strata, the policy's values, and the sets that are drawn at random."""

    stratum: NDArray[np.uint8]
    """[n] index into ``decider.decision.result.STRATA``."""
    value: NDArray[np.float32]
    """[K, n]"""
    drawn: NDArray[np.bool_]
    """[n] whether the set is drawn and not assembled."""
    n_drawn: int
    """How many are."""
    sets: NDArray[np.int16]
    """[M, n] where drawn."""
    propensity: NDArray[np.float64]
    """[n] of the drawn set."""


@dataclass(frozen=True)
class Decided:
    """6: the message sets, and everything on the way to them."""

    permitted: Permitted
    estimated: Estimated
    explored: Explored
    sets: NDArray[np.int16]
    """[M, n] candidate index in the order assembled or drawn, -1 for an empty place."""
    gains: NDArray[np.float32]
    """[M, n] delta(c | S) of each place by the policy's values, NaN when empty."""
    greedy: NDArray[np.int16]
    """[M, n] what assembly chose, also where the set was drawn."""
    propensity: NDArray[np.float64]
    """[n] of the set, given member and stratum; NaN when deferred."""
    hits: NDArray[np.int32]
    """[n] replays that gave the same set; -1 where the propensity is exact or deferred."""
    held: NDArray[np.int32] | None = None
    """[M, n] replays whose set held the message of each place, where `hits` counts; none when not asked for."""
    of_messages: NDArray[np.float64] | None = None
    """[M, n] propensity of each message, but for sets drawn at random; none where it is not known yet."""
