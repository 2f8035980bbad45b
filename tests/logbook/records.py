"""Records for the logbook's tests."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from decider.logbook.schema import (
    DecisionRecord,
    EventRecord,
    EventType,
    HistoryEntry,
    HistoryKind,
    MemberId,
    RunRecord,
    SegmentInfo,
    SetEntry,
    decision_id,
    run_id_of,
)
from decider.logbook.store import Logbook

CANDIDATES = ["mens@email", "womens@email", "top@push"]
HOUR = 3_600_000_000


def decision(
    request_id: str = "r1",
    *,
    member_id: MemberId = 7,
    sent: tuple[str, ...] = ("mens@email",),
    time_micros: int = HOUR,
    **changes: object,
) -> DecisionRecord:
    record = DecisionRecord(
        decision_id=decision_id(request_id),
        request_id=request_id,
        request_digest="digest",
        ordinal=0,
        member_id=member_id,
        decision_time_micros=time_micros,
        epoch=3,
        policy="thompson",
        policy_version="p1",
        model_version="m1",
        snapshot_version="s1",
        catalog_version="c1",
        stratum=2,
        theta=float("-inf"),
        tie_cut=2**64 - 1,
        messages=[
            SetEntry(candidate=name, mean=0.1 + place, sd=0.25, gain=0.3) for place, name in enumerate(sent)
        ],
        propensity=0.5,
        propensity_kind="exact",
        history_sequence=0,
        channels=["email"],
        context={"recency": 2.5, "zone": "Europe/Paris", "new": True},
        pair_features={"mens@email": {"affinity": 0.5}},
    )
    return msgspec.structs.replace(record, **changes)


def event(event_id: str = "e1", type_: EventType = EventType.CLICKED, **changes: object) -> EventRecord:
    fields: dict[str, object] = {"event_time_micros": 2 * HOUR, "decision_id": decision_id("r1")}
    return EventRecord(event_id=event_id, type=type_, **(fields | changes))  # type: ignore[arg-type]


def run(request_id: str = "bulk", **changes: object) -> RunRecord:
    record = RunRecord(
        run_id=run_id_of(request_id),
        request_id=request_id,
        request_digest="digest",
        decision_time_micros=HOUR,
        epoch=3,
        policy="thompson",
        policy_version="p1",
        model_version="m1",
        snapshot_version="s1",
        catalog_version="c1",
        candidates=CANDIDATES,
        theta=0.125,
        tie_cut=2**63 + 1,
        propensity_draws=100,
        request={"volume": 0.3},
    )
    return msgspec.structs.replace(record, **changes)


def log_segment(logbook: Logbook, run_id: str, first: int, frame: pl.DataFrame) -> SegmentInfo:
    """Seal, commit and wait."""
    logbook.commit_segment(logbook.seal_segment(run_id, first, frame)).wait()
    return next(info for info in logbook.segments(run_id) if info.first_ordinal == first)


def history_entries(logbook: Logbook, since_micros: int = 0) -> list[HistoryEntry]:
    """The history, send after send."""
    found: list[HistoryEntry] = []
    for item in logbook.history(since_micros):
        if isinstance(item, HistoryEntry):
            found.append(item)
            continue
        sets = zip(item.member_ids.to_list(), item.sets.T.tolist(), strict=True)
        found += [
            HistoryEntry(item.sequence, member, item.time_micros, candidate, HistoryKind.SEND, kind, topic)
            for member, codes in sets
            for candidate, kind, topic in [item.candidates[code] for code in codes if code >= 0]
        ]
    return found


def segment(n: int, first: int = 0, *, places: int = 2, string_ids: bool = False) -> pl.DataFrame:
    """A segment whose row `i` is a function of ``first + i`` alone."""
    ordinal = np.arange(first, first + n, dtype=np.int64)
    count = (ordinal % (places + 1)).astype(np.uint8)
    columns: dict[str, object] = {
        "ordinal": ordinal,
        "member_id": [f"m{value}" for value in ordinal] if string_ids else ordinal + 1_000,
        "stratum": (ordinal % 3).astype(np.uint8),
        "n_messages": count,
    }
    for place in range(places):
        code = (ordinal + place) % len(CANDIDATES)
        columns[f"c{place}"] = np.where(count > place, code, -1).astype(np.int16)
    for name in ("mean", "sd", "gain"):
        for place in range(places):
            columns[f"{name}{place}"] = (ordinal / 64 + place).astype(np.float32)
    hits = pl.Series([-1 if value % 4 else 50 for value in ordinal.tolist()], dtype=pl.Int32)
    propensity = pl.Series(
        [None if value % 5 == 4 and value % 4 else 0.5 for value in ordinal.tolist()], dtype=pl.Float64
    )
    columns |= {
        "propensity": propensity,
        "propensity_hits": hits,
        "expected": (ordinal / 32).astype(np.float32),
        "history_sequence": ordinal * 0 + 9,
    }
    return pl.DataFrame(columns)
