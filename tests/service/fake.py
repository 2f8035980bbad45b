"""An engine in memory: it keeps what it promises, and decides by a rule that a reader can redo.

A member with an even number gets `mens@email`, an odd one nothing; with a price above 1 nobody gets anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from msgspec import structs

from decider.decision.policy import Policy, PolicySet, policy_set
from decider.decision.request import MemberRequest, RunRequest
from decider.decision.result import (
    Decision,
    Explanation,
    ResultChunk,
    RunSummary,
    TraceEntry,
)
from decider.decision.together import Outcome
from decider.errors import Conflict, InvalidInput, NotFound, UnknownName, Violation
from decider.logbook.schema import (
    DecisionRecord,
    EventRecord,
    EventResult,
    RunRecord,
    SetEntry,
    decision_id,
    run_id_of,
)
from decider.models import UpliftModel

MEMBERS = range(100, 1_100)
SEGMENT = 64
POLICIES = policy_set([Policy(name="calm", kind="heuristic"), Policy(name="bold", kind="random")])


@dataclass(frozen=True)
class Candidate:
    id: str
    message: str
    type: str
    topic: str
    channel: str


@dataclass(frozen=True)
class Catalog:
    version: str = "sha256:00000000000000ca"
    candidates: tuple[Candidate, ...] = (
        Candidate("mens@email", "mens", "top_picks", "mens", "email"),
        Candidate("mens@push", "mens", "top_picks", "mens", "push"),
    )


@dataclass(frozen=True)
class Snapshot:
    version: str = "sha256:00000000000005a9"


@dataclass(frozen=True)
class Parts:
    catalog: Catalog = field(default_factory=Catalog)
    snapshot: Snapshot = field(default_factory=Snapshot)
    policies: PolicySet = POLICIES
    models: dict[str, UpliftModel] = field(default_factory=dict)


def digest_of(request: MemberRequest) -> str:
    return repr(structs.replace(request, trace=False))


class Engine:
    """Decides in memory; every request id has one decision for good."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.records: dict[str, DecisionRecord] = {}
        self.events: dict[str, EventRecord] = {}
        self.runs: list[Run] = []
        self.fault: Exception | None = None
        self.reload_fault: Exception | None = None
        self._lock = threading.Lock()

    def decide(self, request: MemberRequest) -> Decision:
        if self.fault is not None:
            raise self.fault
        policy = self.parts.policies.get(request.policy)
        for place, channel in enumerate(request.channels or ()):
            if channel not in ("email", "push"):
                rule = f"must be one of email, push, got {channel!r}"
                raise UnknownName([Violation(f"channels[{place}]", rule)])
        for column in request.context:
            if column != "recency":
                raise InvalidInput.of(f"context.{column}", "must be a column of the snapshot", column)
        if request.member_id not in MEMBERS:
            raise NotFound("member_id", "member", request.member_id)
        sends = int(request.member_id) % 2 == 0 and "email" in (request.channels or ("email",))
        record = DecisionRecord(
            decision_id=decision_id(request.request_id), request_id=request.request_id,
            request_digest=digest_of(request), ordinal=0, member_id=request.member_id,
            decision_time_micros=request.decision_time_micros,
            epoch=policy.epoch_of(request.decision_time_micros) if request.epoch is None else request.epoch,
            policy=policy.name, policy_version=policy.version, model_version="",
            snapshot_version=self.parts.snapshot.version, catalog_version=self.parts.catalog.version,
            stratum=2, theta=0.0, tie_cut=0,
            messages=[
                SetEntry("mens@email", mean=0.5, sd=0.25, gain=0.5, propensity=1.0, type="top_picks", topic="mens")
            ] if sends else [],
            propensity=1.0, propensity_kind="exact",
        )  # fmt: skip
        with self._lock:
            stored = record if request.dry_run else self.records.setdefault(request.request_id, record)
        if stored.request_digest != record.request_digest:
            raise Conflict("request_id", request.request_id)
        trace = self._trace(stored) if request.trace else None
        return Decision(stored, stored is not record, trace)

    def decide_together(self, requests: Sequence[MemberRequest]) -> list[Outcome]:
        outcomes = []
        for request in requests:
            try:
                outcomes.append(Outcome(self.decide(request)))
            except Exception as error:
                outcomes.append(Outcome(error=error))
        return outcomes

    def explain(self, decision_id: str) -> Explanation:
        for record in self.records.values():
            if record.decision_id == decision_id:
                trace = self._trace(record)
                return Explanation(Decision(record), trace, True, trace[1], -0.5, "member_cap")
        raise NotFound("decision_id", "decision", decision_id)

    def start_run(self, request: RunRequest, whole_snapshot: bool) -> Run:
        run = Run(self, request, whole_snapshot)
        self.runs.append(run)
        return run

    def record_events(self, events: Sequence[EventRecord]) -> EventResult:
        known = {record.decision_id for record in self.records.values()}
        for place, event in enumerate(events):
            if event.decision_id is not None and event.decision_id not in known:
                where = f"events[{place}].decision_id"
                raise InvalidInput.of(where, "must be a logged decision", event.decision_id)
            if self.events.get(event.event_id, event) != event:
                raise Conflict("event_id", event.event_id)
        n_before = len(self.events)
        self.events |= {event.event_id: event for event in events}
        n_new = len(self.events) - n_before
        return EventResult(n_new, len(events) - n_new, [], n_new)

    def reload(self) -> Parts:
        if self.reload_fault is not None:
            raise self.reload_fault
        return self.parts

    def _trace(self, record: DecisionRecord) -> tuple[TraceEntry, ...]:
        place = 0 if record.messages else -1
        email = "mens@email", "mens", "top_picks", "mens", "email"
        push = "mens@push", "mens", "top_picks", "mens", "push"
        return (
            TraceEntry(*email, "eligible", place, 0.5, 0.25, 0.5, 0.5),
            TraceEntry(*push, "consent", -1, None, None, None, None),
        )


class Run:
    """A bulk pass in memory; answers in segments, in the order of the members."""

    def __init__(self, engine: Engine, request: RunRequest, whole_snapshot: bool) -> None:
        self.parts = engine.parts
        policy = self.parts.policies.get(request.policy)
        self.record = RunRecord(
            run_id=run_id_of(request.request_id), request_id=request.request_id, request_digest="",
            decision_time_micros=request.decision_time_micros,
            epoch=policy.epoch_of(request.decision_time_micros), policy=policy.name,
            policy_version=policy.version, model_version="", snapshot_version=self.parts.snapshot.version,
            catalog_version=self.parts.catalog.version,
            candidates=[candidate.id for candidate in self.parts.catalog.candidates],
            theta=None if request.volume is not None else request.price or 0.0, tie_cut=7,
        )  # fmt: skip
        self.closed = self.finished = False
        self.n_added = self._n_done = self._volume = 0
        self._request, self._whole = request, whole_snapshot
        self._waiting: list[int] = []
        self._seen: set[int] = set()

    def add(self, member_ids: object, field: str = "member_ids") -> list[ResultChunk]:
        ids = np.asarray(member_ids).tolist()
        for place, member_id in enumerate(ids):
            if member_id not in MEMBERS:
                rule = "must name a member of the snapshot"
                raise InvalidInput.of(f"{field}[{place}]", rule, member_id)
            if member_id in self._seen:
                raise InvalidInput.of(f"{field}[{place}]", "must come only once in a run", member_id)
            self._seen.add(member_id)
        self.n_added += len(ids)
        self._waiting += ids
        if self.record.theta is None:
            return []
        n_full = len(self._waiting) // SEGMENT * SEGMENT
        full, self._waiting = self._waiting[:n_full], self._waiting[n_full:]
        return [self._chunk(full[at : at + SEGMENT]) for at in range(0, n_full, SEGMENT)]

    def finish(self) -> Iterator[ResultChunk]:
        rest = list(MEMBERS) if self._whole else self._waiting
        if not rest and not self.n_added:
            raise InvalidInput.of("members", "must not be empty: the run got no member at all", 0)
        if self.record.theta is None:
            self.record = structs.replace(self.record, theta=0.25)
        for at in range(0, len(rest), SEGMENT):
            yield self._chunk(rest[at : at + SEGMENT])
        self.finished = True

    @property
    def summary(self) -> RunSummary:
        assert self.record.theta is not None
        n, volume = self._n_done, self._volume
        return RunSummary(
            self.record.run_id, n, volume, volume, 0, self.record.theta, 7, 0.5 * volume,
            float(volume), {"mens": volume}, {"email": volume, "push": 0}, (n - volume, volume),
            {"holdout": 0, "explore": 0, "exploit": n},
        )  # fmt: skip

    def progress(self) -> tuple[str, int, int]:
        return "pricing" if self.record.theta is None else "deciding", self._n_done, self.n_added

    def close(self) -> None:
        self.closed = True

    def _chunk(self, ids: list[int]) -> ResultChunk:
        assert self.record.theta is not None
        n = len(ids)
        members = np.array(ids, np.int64)
        sends = (members % 2 == 0) & (self.record.theta <= 1.0)
        if self._request.volume is not None:
            sends &= np.cumsum(sends) + self._volume <= self._request.volume
        filled = np.where(sends, np.float32(0.5), np.float32(np.nan))[None]
        chunk = ResultChunk(
            first_ordinal=self._n_done, rows=members - MEMBERS.start, member_ids=pl.Series(members),
            stratum=np.full(n, 2, np.uint8), sets=np.where(sends, 0, -1).astype(np.int16)[None],
            mean=filled, sd=filled / 2, gains=filled, propensity=np.ones(n),
            propensity_hits=np.full(n, -1, np.int32), expected=np.where(sends, 0.5, 0.0).astype(np.float32),
            history_sequence=np.zeros(n, np.int64),
        )  # fmt: skip
        self._n_done += n
        self._volume += int(sends.sum())
        return replace(chunk, resume_token=f"{self.record.run_id}:{self._n_done}")
