"""Decisions of one member at a time: each request is answered once, whatever is retried."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from decider import errors
from decider.logbook.commit import GroupCommit, Ticket
from decider.logbook.database import Readers, checked_body
from decider.logbook.schema import MAX_MICROS, DecisionRecord, decision_id, run_id_of

_ADD = "INSERT INTO decisions (sequence, run_id, time_micros, crc, body) VALUES (?, ?, ?, ?, ?)"
_FIND = "SELECT sequence, crc, body FROM decisions WHERE run_id = ?"
# One statement for both questions: this runs once for every decision made.
_FIND_ANY = f"{_FIND}1 UNION ALL SELECT 0, 0, NULL FROM runs WHERE run_id = ?1"


class Appended(NamedTuple):
    """A decision that is in the log, or on its way there."""

    record: DecisionRecord
    """What is stored: for a retry the earlier record, not the one passed in."""
    ticket: Ticket
    is_new: bool

    @property
    def sequence(self) -> int:
        """The decision's sequence number, given when it was queued."""
        return self.ticket.sequence

    def wait(self, timeout: float | None = None) -> DecisionRecord:
        """Return the record once it is on disk; see :meth:`Ticket.wait`."""
        self.ticket.wait(timeout)
        return self.record


class Singles:
    """The single decisions of a logbook.

    Parameters
    ----------
    database
        Path of the database, for errors.
    readers
        Connections to it.
    """

    def __init__(self, database: Path, readers: Readers) -> None:
        self._database = database
        self._readers = readers
        # An append looks for its id and queues under this lock, so that no id can be queued twice.
        self.admission = threading.Lock()
        # Queued and perhaps not yet committed, oldest first; what is committed leaves at the next append.
        self._pending: dict[str, Appended] = {}

    def append(self, commits: GroupCommit, record: DecisionRecord) -> Appended:
        """Queue one decision; the caller holds `admission`. See :meth:`Logbook.append_decision`."""
        run_id = run_id_of(record.request_id)
        known = self._pending.get(run_id)
        if known is None:
            rows = self._readers.rows(_FIND_ANY, (run_id,))
            if rows and rows[0][2] is None:
                raise errors.Conflict("request_id", record.request_id, "was used before by a bulk run")
            known = self._decoded(run_id, *rows[0]) if rows else None
        if known is not None:
            if known.record.request_digest != record.request_digest:
                raise errors.Conflict("request_id", record.request_id)
            return known._replace(is_new=False)
        self._forget_durable()
        body = msgspec.msgpack.encode(record)
        row = (run_id, record.decision_time_micros, crc32(body), body)
        appended = Appended(record, commits.submit(_ADD, [row], numbered=True), True)
        self._pending[run_id] = appended
        return appended

    def known(self, run_id: str) -> Appended | None:
        """Return a decision that is queued or stored."""
        # The pending map first: an id leaves it only after its commit, so it is always in one of the two.
        pending = self._pending.get(run_id)
        return pending if pending is not None else self._stored(run_id)

    def durable(self, run_id: str) -> DecisionRecord | None:
        """Return a decision once it is on disk, None if there is none.

        Raises
        ------
        errors.Unavailable
            It was queued, and the disk failed.
        """
        known = self.known(run_id)
        if known is None:
            return None
        known.wait()
        return known.record

    def _stored(self, run_id: str) -> Appended | None:
        rows = self._readers.rows(_FIND, (run_id,))
        return self._decoded(run_id, *rows[0]) if rows else None

    def _decoded(self, run_id: str, sequence: int, crc: int, body: bytes) -> Appended:
        checked_body(self._database, f"decision {run_id}-0", crc, body)
        return Appended(msgspec.msgpack.decode(body, type=DecisionRecord), Ticket.stored(sequence), False)

    def _forget_durable(self) -> None:
        while self._pending:
            oldest = next(iter(self._pending))
            if not self._pending[oldest].ticket.durable:
                return
            del self._pending[oldest]


def check_single(record: DecisionRecord) -> None:
    """Refuse what no single decision can be.

    Raises
    ------
    errors.InvalidInput
        Every broken rule.
    """
    wrong = []
    if record.ordinal != 0:
        wrong.append(errors.Violation("ordinal", f"must be 0 for a single decision, got {record.ordinal}"))
    if record.decision_id != decision_id(record.request_id, record.ordinal):
        rule = f"must be {decision_id(record.request_id, record.ordinal)!r}, got {record.decision_id!r}"
        wrong.append(errors.Violation("decision_id", rule))
    if not 0 <= record.decision_time_micros <= MAX_MICROS:
        rule = f"must be in 0..{MAX_MICROS}, got {record.decision_time_micros}"
        wrong.append(errors.Violation("decision_time_micros", rule))
    if record.propensity is not None and not 0.0 < record.propensity <= 1.0:
        wrong.append(errors.Violation("propensity", f"must be in (0, 1], got {record.propensity}"))
    if (record.propensity is None) != (record.propensity_kind == "deferred"):
        rule = f"must be 'deferred' exactly where there is no propensity, got {record.propensity_kind!r}"
        wrong.append(errors.Violation("propensity_kind", rule))
    if wrong:
        raise errors.InvalidInput(wrong)
