"""Decisions of one member at a time: each request is answered once, whatever is retried."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from decider import errors
from decider.logbook.commit import GroupCommit, Ticket
from decider.logbook.database import Readers, checked_body
from decider.logbook.schema import MAX_MICROS, RUN_ID_LENGTH, DecisionRecord, decision_id

_ADD = "INSERT INTO decisions (sequence, run_id, time_micros, crc, body) VALUES (?, ?, ?, ?, ?)"
_FIND = "SELECT sequence, crc, body FROM decisions WHERE run_id = ?"
# One statement for both questions.
_FIND_MANY = """
SELECT run_id, sequence, crc, body FROM decisions WHERE run_id IN ({ids})
UNION ALL SELECT run_id, 0, 0, NULL FROM runs WHERE run_id IN ({ids})"""
_MOST_AT_ONCE = 256

_BODY = msgspec.msgpack.Encoder()

RECENT = 1_024
"""So many decisions stay at hand after they are on disk. A round of the garbage collector looks at all of them, and
every call waits for it: under a millisecond."""


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


class Found(NamedTuple):
    """What the log held of some requests at one moment."""

    known: dict[str, Appended]
    """By run id: decisions that are queued or stored."""
    runs: frozenset[str]
    """Those of the run ids that bulk runs have."""
    n_appended: int
    """Decisions that had been appended, and `n_runs` runs begun, when it was looked."""
    n_runs: int


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
        # Queued and perhaps not yet committed, oldest first, and the latest of those that are.
        self._recent: dict[str, Appended] = {}
        # Their order: a dictionary that loses its first entry over and over takes ever longer to find the next.
        self._oldest: deque[str] = deque()
        self._n_appended = 0
        self.n_runs = 0
        """Bulk runs begun; whoever begins one holds `admission`."""

    def find(self, run_ids: Sequence[str], commits: GroupCommit | None) -> Found:
        """Look for decisions that are queued or stored, and for runs of these names."""
        # The count first, then what is at hand: what is appended meanwhile is then looked for again.
        n_appended, n_runs = self._n_appended, self.n_runs
        known = {run_id: at_hand for run_id in run_ids if (at_hand := self._recent.get(run_id)) is not None}
        rest = [run_id for run_id in run_ids if run_id not in known]
        runs = set()
        for first in range(0, len(rest), _MOST_AT_ONCE):
            some = rest[first : first + _MOST_AT_ONCE]
            statement, n_ids = _find_many(len(some))
            ids = (*some, *some[-1:] * (n_ids - len(some)))
            rows = None if commits is None else commits.rows(statement, ids)
            for run_id, *row in self._readers.rows(statement, ids) if rows is None else rows:
                if row[2] is None:
                    runs.add(run_id)
                else:
                    known[run_id] = self._decoded(run_id, *row)
        return Found(known, frozenset(runs), n_appended, n_runs)

    def append(
        self,
        commits: GroupCommit,
        records: Sequence[DecisionRecord],
        found: Found | None,
        awaited: bool = False,
    ) -> list[Appended | errors.Conflict]:
        """Queue decisions; the caller holds `admission`. See :meth:`Logbook.append_decisions`."""
        run_ids = [record.decision_id[:RUN_ID_LENGTH] for record in records]
        # What was appended since is at hand, unless it was much, or a run was begun.
        if found is None or self._n_appended - found.n_appended > RECENT or self.n_runs != found.n_runs:
            found = self.find(run_ids, commits)
        bodies: dict[str, tuple[DecisionRecord, bytes]] = {}
        for run_id, record in zip(run_ids, records, strict=True):
            if not (run_id in self._recent or run_id in found.known or run_id in found.runs):
                bodies.setdefault(run_id, (record, _BODY.encode(record)))
        rows = [
            (run_id, record.decision_time_micros, crc32(body), body)
            for run_id, (record, body) in bodies.items()
        ]
        if rows:
            first = commits.submit(_ADD, rows, numbered=True, awaited=awaited)
            for place, (run_id, (record, _)) in enumerate(bodies.items()):
                self._recent[run_id] = Appended(record, first.following(place), True)
            self._oldest.extend(bodies)
            self._n_appended += len(rows)
        answers = [
            self._answer(record, self._recent.get(run_id) or found.known.get(run_id), run_id in bodies)
            for run_id, record in zip(run_ids, records, strict=True)
        ]
        self._forget_old()
        return answers

    def _answer(
        self, record: DecisionRecord, known: Appended | None, is_new: bool
    ) -> Appended | errors.Conflict:
        if known is None:
            return errors.Conflict("request_id", record.request_id, "was used before by a bulk run")
        if known.record.request_digest != record.request_digest:
            return errors.Conflict("request_id", record.request_id)
        return Appended(known.record, known.ticket, is_new and known.record is record)

    def known(self, run_id: str) -> Appended | None:
        """Return a decision that is queued or stored."""
        # At hand first: an id leaves only after its commit, so it is always in one of the two.
        at_hand = self._recent.get(run_id)
        return at_hand if at_hand is not None else self._stored(run_id)

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

    def _forget_old(self) -> None:
        while len(self._recent) > RECENT:
            if not self._recent[self._oldest[0]].ticket.durable:
                return
            del self._recent[self._oldest.popleft()]


@lru_cache
def _find_many(n_ids: int) -> tuple[str, int]:
    """A statement that looks for so many ids, and how many it takes: a power of two, so that there are few kinds."""
    n_ids = 1 << (n_ids - 1).bit_length()
    return _FIND_MANY.format(ids=", ".join(f"?{place + 1}" for place in range(n_ids))), n_ids


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
    if record.decision_id != (right := decision_id(record.request_id, record.ordinal)):
        rule = f"must be {right!r}, got {record.decision_id!r}"
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
