"""What a decision says: the set with its numbers, a trace on request, a chunk of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.logbook.schema import DecisionRecord

STRATA = ("holdout", "explore", "exploit")


@dataclass(frozen=True)
class ChosenMessage:
    """One place of the message set."""

    candidate: str
    message: str
    type: str
    topic: str
    channel: str
    expected_incrementality: float
    """Posterior mean of tau, in reward."""
    standard_deviation: float
    """Posterior standard deviation of tau."""
    propensity: float | None
    """Probability, given member and stratum, that the set holds this candidate; none when deferred."""
    marginal_gain: float
    """delta(c | S) at its place: the policy's value less fatigue and same-topic penalty."""


@dataclass(frozen=True)
class TraceEntry:
    """One candidate of the catalog: its numbers, or why it is excluded."""

    candidate: str
    message: str
    type: str
    topic: str
    channel: str
    reason: str
    """`eligible`, or the name of the rule that excludes it (decider_core.reasons.NAMES)."""
    place: int
    """Place in the set, from 0; -1 when it is not in it."""
    mean: float | None
    standard_deviation: float | None
    value: float | None
    """What the policy values it at: for Thompson its draw."""
    gain_after_set: float | None
    """delta(c | final set) for those left out; the gain at its place for those in."""


@dataclass(frozen=True)
class Decision:
    """One decision, as it is logged and answered."""

    record: DecisionRecord
    repeated: bool = False
    """True when the log already held it: a retry."""
    trace: tuple[TraceEntry, ...] | None = None

    @property
    def stratum(self) -> str:
        """Name of the stratum."""
        return STRATA[self.record.stratum]

    @property
    def messages(self) -> tuple[ChosenMessage, ...]:
        """The message set as it is answered, in the order assembled."""
        messages = []
        for entry in self.record.messages:
            message, _, channel = entry.candidate.rpartition("@")
            messages.append(
                ChosenMessage(
                    candidate=entry.candidate,
                    message=message,
                    type=entry.type,
                    topic=entry.topic,
                    channel=channel,
                    expected_incrementality=entry.mean,
                    standard_deviation=entry.sd,
                    propensity=entry.propensity,
                    marginal_gain=entry.gain,
                )
            )
        return tuple(messages)


@dataclass(frozen=True)
class Explanation:
    """A logged decision, computed again from its parts."""

    decision: Decision
    trace: tuple[TraceEntry, ...]
    reproduced: bool
    """Whether the recomputed set equals the logged one bit for bit."""
    runner_up: TraceEntry | None
    """The eligible candidate outside the set with the largest gain after it."""
    distance_to_price: float | None
    """Gain rate of the runner-up less the price: how far it was from being sent (negative), if any. In a run with
    budgets its gain less its charge: reward per message."""
    binding_cap: str
    """What ended the set: `price, member_cap, channel_cap, topic_cap, no_candidate, drawn` or `holdout`."""


@dataclass(frozen=True)
class ResultChunk:
    """Decisions of a run in columns; M places, n members."""

    first_ordinal: int
    """Place of the first member in the run; decision_id is ``<run_id>-<ordinal>``."""
    rows: NDArray[np.int64]
    """[n] rows of the snapshot."""
    member_ids: pl.Series
    """[n] Int64 or String, as the snapshot has them."""
    stratum: NDArray[np.uint8]
    """[n] index into STRATA."""
    sets: NDArray[np.int16]
    """[M, n] candidate index in the order assembled, -1 for an empty place."""
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    gains: NDArray[np.float32]
    """[M, n] each, NaN in empty places."""
    propensity: NDArray[np.float64]
    """[n] of the set, given member and stratum; NaN when deferred."""
    propensity_hits: NDArray[np.int32]
    """[n] replays that gave the same set; -1 where the propensity is exact or deferred."""
    expected: NDArray[np.float32]
    """[n] expected incremental reward of the set under the posterior mean; NaN without a model."""
    history_sequence: NDArray[np.int64]
    """[n] last log entry that the decision had seen."""
    mean_gains: NDArray[np.float32] | None = None
    """[M, n] what each place adds to `expected`; only where the price is still to come."""
    cells: NDArray[np.uint8] | None = None
    """[n] the run's cell of each member; none where it runs no experiment."""
    resume_token: str = ""
    """Set on chunks after which a broken run can go on."""

    @property
    def n_members(self) -> int:
        """Members in the chunk."""
        return int(self.rows.shape[0])


@dataclass(frozen=True)
class SpentBudget:
    """A budget of a run, its price, and what went of it."""

    channel: str
    """Empty for all channels together."""
    unit: str
    """What it counts: `messages` or `cost`."""
    amount: float
    price: float | None
    """What a message must be worth beyond the run's own price, per unit; none while it is not found."""
    tie_cut: int
    """Messages worth exactly that go out to members whose tie key is below."""
    spent: float
    """Never more than the amount, what was drawn at random included."""


@dataclass(frozen=True)
class RunSummary:
    """What a run did."""

    run_id: str
    n_members: int
    n_messaged: int
    volume: int
    """Sends in all."""
    volume_explore: int
    price: float
    tie_cut: int
    expected_incremental_reward: float
    """Sum over sent messages of the posterior mean of their marginal gain."""
    cost: float
    per_message: Mapping[str, int]
    per_channel: Mapping[str, int]
    per_count: tuple[int, ...]
    """Members with 0, 1, 2, ... messages."""
    per_stratum: Mapping[str, int]
    budgets: tuple[SpentBudget, ...] = ()
    bound: float | None = None
    """No other choice of sets within the budgets is worth more; see :class:`decider.logbook.schema.Certificate`."""
    gap: float | None = None
    """What the choice made is worth less, as a share of it."""

    def as_dict(self) -> dict[str, object]:
        """The same as plain values; of budgets only where there are any, as in runs from before there were."""
        values = asdict(self)
        if not self.budgets:
            for name in ("budgets", "bound", "gap"):
                del values[name]
        return values
