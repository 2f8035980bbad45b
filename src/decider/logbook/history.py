"""Histories: what members were sent and what they opted out of, as the log tells it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

import msgspec

from decider.logbook.bulk import BulkRuns
from decider.logbook.database import Readers, checked_body, paged_rows
from decider.logbook.schema import (
    OPT_OUTS,
    DecisionRecord,
    EventRecord,
    EventType,
    HistoryEntry,
    HistoryKind,
    RunRecord,
    SentSets,
)

_PAGE_ROWS = 10_000


def history(
    readers: Readers,
    database: Path,
    bulk: BulkRuns,
    decision_of: Callable[[str], DecisionRecord],
    since_micros: int,
) -> Iterator[HistoryEntry | SentSets]:
    """Yield every send since a time, and every opt-out whenever it was, ordered by sequence number.

    Sends are the messages of single and bulk decisions, and ``sent`` events that name no decision. An opt-out
    never ages, so `since_micros` does not apply to it. What is appended while this runs may be missing.

    Parameters
    ----------
    since_micros
        Sends before this time are left out.
    """
    return heapq.merge(
        _singles(readers, database, since_micros),
        _bulk_sends(bulk, since_micros),
        _events(readers, database, decision_of, since_micros),
        key=attrgetter("sequence"),
    )


def history_of_event(
    sequence: int, event: EventRecord, decision: DecisionRecord | None
) -> list[HistoryEntry]:
    """Say what an event adds to the history of its member.

    A ``sent`` event that names a decision adds nothing: the decision itself is in the history already.
    An opt-out that names a decision but no candidate silences the channel of every message of that decision.

    Parameters
    ----------
    sequence
        The event's sequence number.
    event
        A checked event.
    decision
        The decision that it names, None if it names none.
    """
    if event.type in OPT_OUTS:
        kind = HistoryKind.OPT_OUT
    elif event.type == EventType.SENT and event.decision_id is None:
        kind = HistoryKind.SEND
    else:
        return []
    member_id = decision.member_id if decision is not None else event.member_id
    if event.candidate is not None:
        about = [(event.candidate, "", "")]
    else:
        about = [(m.candidate, m.type, m.topic) for m in decision.messages] if decision is not None else []
    if member_id is None:
        return []
    return [
        HistoryEntry(sequence, member_id, event.event_time_micros, candidate, kind, type_, topic)
        for candidate, type_, topic in about
    ]


def history_of_decision(sequence: int, record: DecisionRecord) -> list[HistoryEntry]:
    """Say what a decision adds to the history of its member: one send for each message."""
    return [
        HistoryEntry(
            sequence,
            record.member_id,
            record.decision_time_micros,
            entry.candidate,
            HistoryKind.SEND,
            entry.type,
            entry.topic,
        )
        for entry in record.messages
    ]


def _singles(readers: Readers, database: Path, since_micros: int) -> Iterator[HistoryEntry]:
    statement = "SELECT sequence, run_id, crc, body FROM decisions WHERE time_micros >= ?"
    for page in paged_rows(readers, statement, since_micros, _PAGE_ROWS):
        for sequence, run_id, crc, body in page:
            checked_body(database, f"decision {run_id}-0", crc, body)
            yield from history_of_decision(sequence, msgspec.msgpack.decode(body, type=DecisionRecord))


def _events(
    readers: Readers, database: Path, decision_of: Callable[[str], DecisionRecord], since_micros: int
) -> Iterator[HistoryEntry]:
    opt_outs = ", ".join(f"'{event_type}'" for event_type in sorted(OPT_OUTS))
    statement = (
        "SELECT sequence, event_id, crc, body FROM events "
        f"WHERE (type IN ({opt_outs}) OR (type = '{EventType.SENT}' AND time_micros >= ?))"
    )
    for page in paged_rows(readers, statement, since_micros, _PAGE_ROWS):
        for sequence, event_id, crc, body in page:
            checked_body(database, f"event {event_id}", crc, body)
            event = msgspec.msgpack.decode(body, type=EventRecord)
            silences = event.type in OPT_OUTS and event.decision_id is not None
            decision = decision_of(event.decision_id) if silences and event.decision_id else None
            yield from history_of_event(sequence, event, decision)


def _bulk_sends(bulk: BulkRuns, since_micros: int) -> Iterator[SentSets]:
    runs: dict[str, RunRecord] = {}
    for info in bulk.segments():
        run = runs.get(info.run_id) or runs.setdefault(info.run_id, bulk.get(info.run_id))
        if run.decision_time_micros >= since_micros:
            yield bulk.sent_sets(run, info)
