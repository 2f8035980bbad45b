"""What the logbook holds: decisions, the events that follow them, and the bulk runs that make many at once.

Every struct is frozen and strict: an unknown field or a wrong type is an error on decoding. Those that a server
keeps by the thousand are out of the garbage collector's sight: nothing in them can lead back to them.
Times are microseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

MemberId = int | str
ContextValue = bool | int | float | str | None
PropensityKind = Literal["exact", "replayed", "deferred"]

RUN_ID_LENGTH = 24
_MAX_ORDINAL_DIGITS = 18
MAX_MICROS = 2**63 - 1
"""Times end where a signed 64-bit integer does."""


class SetEntry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One message of the set, at its place in the order assembled."""

    candidate: str
    """``<message_id>@<channel>``."""
    mean: float
    """Expected incrementality, in reward."""
    sd: float
    """Standard deviation of the incrementality, in reward."""
    gain: float
    """What it adds to the set at its place, fatigue and same-topic penalty taken off."""
    propensity: float | None = None
    """Probability that the set holds this candidate; None where it was not computed."""
    type: str = ""
    """Message type when it was decided: later catalogs may say otherwise, or nothing."""
    topic: str = ""
    """Topic when it was decided."""


class RunBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run may send on a channel, and the price that keeps it so."""

    channel: str
    """Empty for all channels together."""
    unit: Literal["messages", "cost"]
    """What `amount` counts."""
    amount: float
    """At most so much."""
    price: float | None = None
    """What a message must be worth beyond the run's own price, per unit of the amount; None until
    :meth:`Logbook.set_price`."""
    tie_cut: int = 0
    """Unsigned 64-bit; messages worth exactly that go out to members whose tie key is below."""


class Certificate(NamedTuple):
    """How good the prices of budgets are; in reward as the policy values it, for sets that prices decide."""

    bound: float
    """No other choice of sets within the budgets is worth more, cost at the run's own price taken off; exact where
    each member's set is the best at its prices (no fatigue, no same-topic penalty, no cap but the member's own),
    else an estimate."""
    gap: float
    """What the choice made is worth less than the bound, as a share of it."""


class DecisionRecord(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """One decision for one member: what was sent, under what, and with what probability.

    Stored without what has its default, a sixth less of the log.
    """

    decision_id: str
    """``<run_id>-<ordinal>``; see :func:`decision_id`."""
    request_id: str
    request_digest: str
    """Digest of the request's body: the same `request_id` with another digest is refused."""
    ordinal: int
    """Place of the member in the request; 0 for a single decision."""
    member_id: MemberId
    decision_time_micros: int
    epoch: int
    policy: str
    policy_version: str
    model_version: str
    snapshot_version: str
    catalog_version: str
    stratum: int
    """0 holdout, 1 explore, 2 exploit."""
    theta: float
    """Price: reward per unit of cost; may be ``-inf``."""
    tie_cut: int
    """Unsigned 64-bit; gains exactly at the price are admitted up to this key."""
    messages: list[SetEntry]
    """The message set in the order assembled; empty when nothing is sent."""
    propensity: float | None
    """Probability of exactly this set under the policy, in (0, 1]; None while deferred."""
    propensity_kind: PropensityKind
    propensity_draws: int = 0
    """Replays made, when `propensity_kind` is ``replayed``."""
    propensity_hits: int = 0
    """Replays that gave this set."""
    history_sequence: int = 0
    """The decision saw the log up to this sequence number and no further."""
    channels: list[str] | None = None
    """The caller's channel filter; None when every channel was allowed."""
    context: dict[str, ContextValue] = {}
    """Context overrides of the call, by feature or attribute."""
    pair_features: dict[str, dict[str, float]] = {}
    """Pair features of the call: candidate, feature name, value."""
    experiment: str = ""
    """The experiment that the call named in the place of a policy; empty where it named none."""
    experiment_version: str = ""
    """Hash of the experiment's content."""
    cell: str = ""
    """The member's cell in it; `policy` is the cell's."""
    evaluation: bool = False
    """Whether it was made to compare cells: it is learnt from only when one says so."""
    budgets: list[RunBudget] = []
    """Those of its run, with their prices, which add to `theta`."""


class EventType(StrEnum):
    """What happened to a message after it was decided."""

    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    PLAYED = "played"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


OPT_OUTS = frozenset({EventType.UNSUBSCRIBED, EventType.COMPLAINED})
"""Events after which a channel must fall silent for the member."""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event, reported by a channel sender or a product.

    It names either the decision it follows, or the member and the candidate.
    """

    event_id: str
    type: EventType
    event_time_micros: int
    decision_id: str | None = None
    member_id: MemberId | None = None
    candidate: str | None = None
    """``<message_id>@<channel>``; with a decision of several messages it says which one."""
    value: float | None = None
    """A finite amount in the reporter's unit, such as minutes played; None when the event has none."""


class RunCell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell of the experiment that a run decides under."""

    name: str
    policy: str
    policy_version: str
    model_version: str
    propensity_draws: int = 0
    theta: float | None = None
    """Its price; None until :meth:`Logbook.set_price`."""
    tie_cut: int | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bulk run: what its decisions have in common."""

    run_id: str
    """See :func:`run_id_of`."""
    request_id: str
    request_digest: str
    decision_time_micros: int
    epoch: int
    policy: str
    policy_version: str
    model_version: str
    snapshot_version: str
    catalog_version: str
    candidates: list[str]
    """Candidate ids; the segments' codes index this list."""
    types: list[str] = []
    """Message type of each candidate when the run began; empty where it is not known."""
    topics: list[str] = []
    """Topic of each, likewise."""
    channels: list[str] | None = None
    theta: float | None = None
    """Price; None until :meth:`Logbook.set_price`."""
    tie_cut: int | None = None
    budgets: list[RunBudget] = []
    """Its budgets in the order of the catalog's channels: what `theta` asks per unit of cost, their prices add to."""
    bound: float | None = None
    """See :class:`Certificate`; None where there are no budgets, and until :meth:`Logbook.set_price`."""
    gap: float | None = None
    """Likewise."""
    propensity_draws: int = 0
    """Replays made for each decision whose propensity is replayed."""
    experiment: str = ""
    """The experiment that decides who gets which policy; empty where there is none."""
    experiment_version: str = ""
    """Hash of its content."""
    evaluation: bool = False
    """Whether its decisions were made to compare cells."""
    cells: list[RunCell] = []
    """Its cells: the segments' column ``cell`` indexes this list. Policy, model, price and draws are each cell's;
    the run's own name the experiment, and repeat the last cell's price."""
    request: dict[str, ContextValue] = {}
    """What the run was asked for, such as ``volume``."""
    history_sequence: int | None = None
    """Last log entry that its decisions had seen, but for members to whom something was sent meanwhile; None in runs
    from before this was kept."""
    finished: bool = False
    summary: dict[str, object] = {}
    """Filled by :meth:`Logbook.finish_run`."""

    @property
    def is_priced(self) -> bool:
        """Whether it has a price, and each of its cells."""
        return self.theta is not None and all(cell.theta is not None for cell in self.cells)

    def entry(self, code: int) -> tuple[str, str, str]:
        """Candidate, message type and topic of one code."""
        known = bool(self.types)
        return self.candidates[code], self.types[code] if known else "", self.topics[code] if known else ""


class SegmentInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sealed Parquet file of a run's decisions: ``n_rows`` ordinals from ``first_ordinal`` on."""

    run_id: str
    first_ordinal: int
    n_rows: int
    sequence: int
    """The one sequence number of all its decisions."""
    file: str
    """File name inside the logbook's ``segments`` directory."""
    n_bytes: int
    xxh3_128: str
    """Checksum of its content, in hex: see :func:`decider.logbook.durable.check_file`."""


class SealedSegment(NamedTuple):
    """A segment whose file is on its way to disk and which is not in the log yet: commit it or discard it."""

    info: SegmentInfo
    written: Future[None]
    """Ends when the file is on disk, or with what hindered it: then the segment is gone."""


class HistoryKind(IntEnum):
    """What an entry of the member's history is."""

    SEND = 0
    OPT_OUT = 1


class HistoryEntry(NamedTuple):
    """One send or opt-out of one member, as the live history needs it."""

    sequence: int
    member_id: MemberId
    time_micros: int
    candidate: str
    kind: HistoryKind
    type: str = ""
    """Message type when it was sent; empty where the log does not know it, as of events from outside."""
    topic: str = ""
    """Topic, likewise."""


class SentSets(NamedTuple):
    """The message sets that n members were sent by a run, entered in the log together."""

    sequence: int
    time_micros: int
    member_ids: pl.Series
    """[n]"""
    sets: NDArray[np.int16]
    """[M, n] places in `candidates`, -1 in empty places."""
    candidates: list[tuple[str, str, str]]
    """Of each candidate what :class:`HistoryEntry` calls `candidate`, `type` and `topic`."""


class EventResult(NamedTuple):
    """What came of a batch of events."""

    n_new: int
    n_duplicate: int
    history: list[HistoryEntry]
    """What the new events add to the members' histories."""
    sequence: int
    """Sequence number of the last new event; 0 when all were duplicates."""


@lru_cache(maxsize=4_096)
def run_id_of(request_id: str) -> str:
    """First 24 hex digits of the SHA-256 of the request id (UTF-8)."""
    return hashlib.sha256(request_id.encode()).hexdigest()[:RUN_ID_LENGTH]


def decision_id(request_id: str, ordinal: int = 0) -> str:
    """Id of the decision at `ordinal` of a request: a pure function of both, so that a retry finds it."""
    return f"{run_id_of(request_id)}-{ordinal}"


def decision_id_parts(decision_id: str) -> tuple[str, int]:
    """Give a decision id's run id and ordinal; the ordinal is -1 where no decision can have such an id."""
    run_id, _, ordinal = decision_id.partition("-")
    plain = ordinal.isascii() and ordinal.isdigit() and len(ordinal) <= _MAX_ORDINAL_DIGITS
    right = plain and str(int(ordinal)) == ordinal and len(run_id) == RUN_ID_LENGTH
    return run_id, int(ordinal) if right else -1
