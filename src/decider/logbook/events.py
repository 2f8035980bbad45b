"""Events: what one must be, and the part of the store that keeps each once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from decider import errors
from decider.logbook.commit import GroupCommit, Row, Ticket
from decider.logbook.database import Readers, checked_body
from decider.logbook.history import history_of_event
from decider.logbook.schema import MAX_MICROS, OPT_OUTS, DecisionRecord, EventRecord, EventResult, EventType

_ADD = "INSERT INTO events (sequence, event_id, type, time_micros, crc, body) VALUES (?, ?, ?, ?, ?, ?)"
_FIND = "SELECT event_id, crc, body FROM events WHERE event_id IN (SELECT value FROM json_each(?))"


class Events:
    """The events of a logbook.

    Parameters
    ----------
    database
        Path of the database, for errors.
    readers
        Connections to it.
    decision_of
        Gives a logged decision by id, or raises errors.NotFound.
    """

    def __init__(
        self, database: Path, readers: Readers, decision_of: Callable[[str], DecisionRecord]
    ) -> None:
        self._database = database
        self._readers = readers
        self._decision_of = decision_of
        # An append looks for its ids and queues under this lock, so that no id can be queued twice.
        self._admission = threading.Lock()
        # Queued and perhaps not yet committed, oldest first; what is committed leaves at the next append.
        self._pending: dict[str, tuple[bytes, Ticket]] = {}

    def append(self, commits: GroupCommit, events: Sequence[EventRecord]) -> EventResult:
        """Store a batch, all or none; see :meth:`Logbook.append_events`."""
        events = checked_events(events)
        decisions = [self._decision_to_silence(place, event) for place, event in enumerate(events)]
        bodies = [msgspec.msgpack.encode(event) for event in events]
        new: list[int] = []
        with self._admission:
            self._forget_durable()
            known, tickets = self._known([event.event_id for event in events])
            for place, (event, body) in enumerate(zip(events, bodies, strict=True)):
                earlier = known.setdefault(event.event_id, body)
                if earlier != body:
                    raise errors.Conflict(f"events[{place}].event_id", event.event_id)
                if earlier is body:
                    new.append(place)
            first_sequence = 0
            if new:
                ticket = commits.submit(_ADD, [_row(events[i], bodies[i]) for i in new], numbered=True)
                first_sequence = ticket.sequence
                tickets.append(ticket)
                self._pending |= {events[i].event_id: (bodies[i], ticket) for i in new}
        for ticket in tickets:
            ticket.wait()
        history = [
            entry
            for sequence, i in enumerate(new, first_sequence)
            for entry in history_of_event(sequence, events[i], decisions[i])
        ]
        last_sequence = first_sequence + len(new) - 1 if new else 0
        return EventResult(len(new), len(events) - len(new), history, last_sequence)

    def _decision_to_silence(self, place: int, event: EventRecord) -> DecisionRecord | None:
        if event.type not in OPT_OUTS or event.decision_id is None:
            return None
        decision = self._decision_of(event.decision_id)
        if not decision.messages and event.candidate is None:
            raise errors.InvalidInput.of(
                f"events[{place}].candidate", "must be given where the decision sent nothing", None
            )
        return decision

    def _known(self, event_ids: list[str]) -> tuple[dict[str, bytes], list[Ticket]]:
        known: dict[str, bytes] = {}
        tickets = []
        for event_id in event_ids:
            if event_id in self._pending:
                known[event_id], ticket = self._pending[event_id]
                tickets.append(ticket)
        rows = self._readers.rows(_FIND, (msgspec.json.encode(event_ids).decode(),))
        for event_id, crc, body in rows:
            known[event_id] = checked_body(self._database, f"event {event_id}", crc, body)
        return known, tickets

    def _forget_durable(self) -> None:
        while self._pending:
            oldest = next(iter(self._pending))
            if not self._pending[oldest][1].durable:
                return
            del self._pending[oldest]


def checked_events(events: Sequence[EventRecord]) -> list[EventRecord]:
    """Return the events in their one canonical form, if every one is right.

    Raises
    ------
    errors.InvalidInput
        Every broken rule of every event, by its place in the batch.
    errors.UnknownName
        The only fault is an unknown event type.
    """
    if not events:
        raise errors.InvalidInput.of("events", "must hold at least one event", 0)
    wrong: list[errors.Violation] = []
    unknown: list[errors.Violation] = []
    for place, event in enumerate(events):
        field = f"events[{place}]"
        if event.type not in EventType.__members__.values():
            known = ", ".join(EventType)
            unknown.append(errors.Violation(f"{field}.type", f"must be one of {known}, got {event.type!r}"))
        wrong += [errors.Violation(f"{field}.{name}", rule) for name, rule in _violations(event)]
    if wrong:
        raise errors.InvalidInput(unknown + wrong)
    if unknown:
        raise errors.UnknownName(unknown)
    return [_canonical(event) for event in events]


def _violations(event: EventRecord) -> list[tuple[str, str]]:
    wrong = []
    if not event.event_id:
        wrong.append(("event_id", "must not be empty, got ''"))
    if not 0 <= event.event_time_micros <= MAX_MICROS:
        wrong.append(("event_time_micros", f"must be in 0..{MAX_MICROS}, got {event.event_time_micros}"))
    if event.value is not None and not math.isfinite(event.value):
        wrong.append(("value", f"must be finite, got {event.value}"))
    if event.decision_id is None and (event.member_id is None or event.candidate is None):
        wrong.append(("decision_id", "must be given unless member_id and candidate are, got None"))
    if event.decision_id == "":
        wrong.append(("decision_id", "must not be empty, got ''"))
    if event.candidate is not None and not all(event.candidate.partition("@")):
        wrong.append(("candidate", f"must read message@channel, got {event.candidate!r}"))
    return wrong


def _canonical(event: EventRecord) -> EventRecord:
    # 1 and 1.0, "sent" and EventType.SENT are the same body: they must be the same bytes.
    value = None if event.value is None else float(event.value)
    return msgspec.structs.replace(event, type=EventType(event.type), value=value)


def _row(event: EventRecord, body: bytes) -> Row:
    return (event.event_id, event.type.value, event.event_time_micros, crc32(body), body)
