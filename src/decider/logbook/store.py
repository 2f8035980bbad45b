"""The logbook: the durable store of decisions, events and bulk runs in one directory.

::

    <directory>/log.sqlite   decisions, events, runs, list of segments (WAL, each commit forced to disk)
    <directory>/segments/    sealed Parquet files of bulk decisions, each with its checksum in log.sqlite
    <directory>/lock         held by the one process that writes

Sequence numbers start at 1, have no gaps, and order everything: a single decision and an event take one each,
a whole segment takes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import polars as pl

from decider import errors
from decider.logbook.bulk import BulkRuns
from decider.logbook.checkpoint import Checkpoints
from decider.logbook.commit import GroupCommit, Ticket
from decider.logbook.database import DATABASE_NAME, MAX_SEQUENCE, Readers, lock_directory, open_writer
from decider.logbook.durable import sync_directory
from decider.logbook.events import Events
from decider.logbook.frames import decision_frames, event_frames, single_decisions
from decider.logbook.history import history
from decider.logbook.schema import (
    Certificate,
    DecisionRecord,
    EventRecord,
    EventResult,
    HistoryEntry,
    RunRecord,
    SealedSegment,
    SegmentInfo,
    SentSets,
    decision_id_parts,
    run_id_of,
)
from decider.logbook.singles import Appended, Found, Singles, check_single

_LAST_SEQUENCE = """SELECT max(
    (SELECT coalesce(max(sequence), 0) FROM decisions),
    (SELECT coalesce(max(sequence), 0) FROM events),
    (SELECT coalesce(max(sequence), 0) FROM segments))"""


class Logbook:
    """Open with :meth:`open`; close it, or use it as a context manager."""

    def __init__(self, directory: Path, lock: TextIO | None, commits: GroupCommit | None) -> None:
        self.directory = directory
        self._database = directory / DATABASE_NAME
        self._lock = lock
        self._commits = commits
        self._readers = Readers(self._database)
        self._singles = Singles(self._database, self._readers)
        self._bulk = BulkRuns(self._database, self._readers)
        self._events = Events(self._database, self._readers, self.get_decision)

    @classmethod
    def open(cls, directory: Path | str, *, read_only: bool = False) -> Self:
        """Open a logbook, making it when it is new, and clear away what a crash left.

        Parameters
        ----------
        directory
            One process writes to it at a time; any number may read.
        read_only
            Take no lock, remove nothing, and refuse appends.

        Raises
        ------
        errors.NotReady
            Another process writes to it; or it is to be read and there is none.
        errors.CorruptArtifact
            The database is damaged, or of an older or newer schema.
        """
        directory = Path(directory)
        database = directory / DATABASE_NAME
        if read_only:
            if not database.is_file():
                raise errors.NotReady(f"logbook {directory} does not exist")
            return cls(directory, None, None)
        (directory / "segments").mkdir(parents=True, exist_ok=True)
        lock = lock_directory(directory)
        commits = None
        try:
            connection = open_writer(database)
            sync_directory(directory)
            last = connection.execute(_LAST_SEQUENCE).fetchone()[0]
            commits = GroupCommit(connection, last + 1, Checkpoints(database))
            logbook = cls(directory, lock, commits)
            logbook._bulk.recover()
        except BaseException:
            if commits is not None:
                commits.close()
            lock.close()
            raise
        return logbook

    def close(self) -> None:
        """Commit what waits and let go of the directory; a second call does nothing."""
        self._bulk.close()
        if self._commits is not None:
            self._commits.close()
        self._readers.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Decisions of one member.

    def append_decision(self, record: DecisionRecord) -> Appended:
        """Queue one decision and give its sequence number at once; ``ticket.wait()`` before it is acted upon.

        A second call with the same `request_id` and `request_digest` stores nothing and gives the first
        record.

        Raises
        ------
        errors.Conflict
            The request id was used with another digest, or by a bulk run.
        errors.InvalidInput
            The decision id, ordinal or time is not what a single decision has.
        errors.Unavailable
            The disk failed before.
        """
        (appended,) = self.append_decisions([record])
        if isinstance(appended, errors.Conflict):
            raise appended
        return appended

    def append_decisions(
        self, records: Sequence[DecisionRecord], found: Found | None = None, *, awaited: bool = False
    ) -> list[Appended | errors.Conflict]:
        """Queue decisions as :meth:`append_decision` does, all in one transaction.

        Parameters
        ----------
        records
            One each for different members.
        found
            From :meth:`find_requests` for these requests: spares looking for them again.
        awaited
            The caller waits for a ticket of theirs next. They are committed then, and with whatever else is.

        Returns
        -------
        For each record what became of it; a conflict leaves the others alone.

        Raises
        ------
        errors.InvalidInput, errors.Unavailable
            As :meth:`append_decision`; nothing is queued then.
        """
        for record in records:
            check_single(record)
        commits = self._writer()
        with self._singles.admission:
            return self._singles.append(commits, records, found, awaited)

    def find_requests(self, run_ids: Sequence[str]) -> Found:
        """Look for the decisions that answered requests, also those that are not durable yet.

        Parameters
        ----------
        run_ids
            :func:`run_id_of` each request id.
        """
        return self._singles.find(run_ids, self._commits)

    def find_request(self, request_id: str) -> DecisionRecord | None:
        """Return the decision that answered a request, once it is durable; None if there is none.

        Raises
        ------
        errors.Unavailable
            The decision was queued, and the disk failed.
        """
        return self._singles.durable(run_id_of(request_id))

    def get_decision(self, decision_id: str) -> DecisionRecord:
        """Return a logged decision, single or bulk.

        Raises
        ------
        errors.NotFound
            No such decision is logged.
        errors.CorruptArtifact
            It is stored in a segment that is missing or changed.
        """
        run_id, ordinal = decision_id_parts(decision_id)
        record = self._singles.durable(run_id) if ordinal == 0 else None
        if record is None and ordinal >= 0:
            record = self._bulk.decision(run_id, ordinal)
        if record is None:
            raise errors.NotFound("decision_id", "decision", decision_id)
        return record

    def has_decision(self, decision_id: str) -> bool:
        """Tell whether a decision is logged, without reading it."""
        run_id, ordinal = decision_id_parts(decision_id)
        if ordinal < 0:
            return False
        single = ordinal == 0 and self._singles.durable(run_id) is not None
        return single or self._bulk.segment_of(run_id, ordinal) is not None

    # Events.

    def append_events(self, events: Sequence[EventRecord]) -> EventResult:
        """Store a batch of events, all or none; durable on return.

        An event whose id and body are stored already is counted and left alone, so a batch may be sent again.

        Raises
        ------
        errors.InvalidInput
            An event breaks a rule.
        errors.Conflict
            An event id was used before with another body.
        errors.NotFound
            An opt-out names a decision that is not logged. (For other events that is the caller's to check.)
        errors.Unavailable
            The disk failed.
        """
        return self._events.append(self._writer(), events)

    # Bulk runs: see decider.logbook.bulk.

    def start_run(self, record: RunRecord) -> RunRecord:
        """Note a bulk run before its first decision; see :meth:`BulkRuns.start`."""
        commits = self._writer()
        with self._singles.admission:
            if self._singles.known(record.run_id) is not None:
                raise errors.Conflict("request_id", record.request_id, "was used before by a single decision")
            self._singles.n_runs += 1
            return self._bulk.start(commits, record)

    def set_price(
        self,
        run_id: str,
        theta: float,
        tie_cut: int,
        cells: Sequence[tuple[float, int]] = (),
        budgets: Sequence[tuple[float, int]] = (),
        certificate: Certificate | None = None,
    ) -> None:
        """Set the prices of a run, once; see :meth:`BulkRuns.set_price`."""
        self._bulk.set_price(self._writer(), run_id, theta, tie_cut, cells, budgets, certificate)

    def seal_segment(self, run_id: str, first_ordinal: int, frame: pl.DataFrame) -> SealedSegment:
        """Write a run's decisions from `first_ordinal` on to a file; see :meth:`BulkRuns.seal`."""
        self._writer()
        return self._bulk.seal(run_id, first_ordinal, frame)

    def commit_segment(self, sealed: SealedSegment) -> Ticket:
        """Queue a sealed segment; its sequence number comes at once. See :meth:`BulkRuns.commit`."""
        return self._bulk.commit(self._writer(), sealed)

    def discard_segment(self, sealed: SealedSegment) -> None:
        """Take back a sealed segment that was not committed; see :meth:`BulkRuns.discard`."""
        self._writer()
        self._bulk.discard(sealed)

    def finish_run(self, run_id: str, summary: dict[str, object]) -> None:
        """Close a run with its summary; see :meth:`BulkRuns.finish`."""
        self._bulk.finish(self._writer(), run_id, summary)

    def run(self, run_id: str | None = None, *, request_id: str | None = None) -> RunRecord:
        """Return a run by its id or by the id of its request.

        Raises
        ------
        errors.NotFound
            There is no such run.
        """
        name, value = ("run_id", run_id) if run_id is not None else ("request_id", request_id)
        found = self._bulk.find(run_id if run_id is not None else run_id_of(request_id or ""))
        if found is None:
            raise errors.NotFound(name, "run", value)
        return found

    def runs(self) -> list[RunRecord]:
        """Return all runs, in the order of their start."""
        return self._bulk.all()

    def segments(self, run_id: str | None = None) -> list[SegmentInfo]:
        """Return the sealed segments of a run (or of all) in the order of their ordinals (or sequence)."""
        return self._bulk.segments(run_id)

    def read_segment(self, info: SegmentInfo, columns: list[str] | None = None) -> pl.DataFrame:
        """Read a segment after checking its content; see :meth:`SegmentFiles.read`."""
        return self._bulk.files.read(info, columns)

    # Reading all of it.

    @property
    def last_sequence(self) -> int:
        """The last sequence number on disk; 0 in an empty log."""
        return int(self._readers.rows(_LAST_SEQUENCE)[0][0])

    def history(self, since_micros: int = 0) -> Iterator[HistoryEntry | SentSets]:
        """Yield what members were sent and what they opted out of; see :func:`decider.logbook.history.history`.

        Everything appended before this call is among it.
        """
        if self._commits is not None:
            self._commits.flush()
        return history(self._readers, self._database, self._bulk, self.get_decision, since_micros)

    def decision_frames(self, since_micros: int = 0) -> Iterator[pl.DataFrame]:
        """Yield all decisions as frames; see :func:`frames.decision_frames`."""
        return decision_frames(self._readers, self._database, self._bulk, since_micros)

    def single_decisions(self, since_micros: int = 0) -> Iterator[DecisionRecord]:
        """Yield the decisions of one member, those of runs left out, in the order of the log."""
        for page in single_decisions(self._readers, self._database, since_micros):
            for _, record in page:
                yield record

    def event_frames(
        self, since_micros: int = 0, after_sequence: int = 0, until_sequence: int = MAX_SEQUENCE
    ) -> Iterator[pl.DataFrame]:
        """Yield events as frames, by default all; see :func:`frames.event_frames`."""
        return event_frames(self._readers, self._database, since_micros, after_sequence, until_sequence)

    def verify(self) -> int:
        """Check the database's structure, every row's checksum and every segment's; return how many rows.

        Raises
        ------
        errors.CorruptArtifact
            Names the file, and the row where it is one.
        """
        (verdict,) = self._readers.rows("PRAGMA integrity_check(1)")[0]
        if verdict != "ok":
            raise errors.CorruptArtifact(self._database, str(verdict))
        n_rows = sum(frame.height for frame in self.decision_frames())
        n_rows += sum(frame.height for frame in self.event_frames())
        self.runs()
        return n_rows

    def _writer(self) -> GroupCommit:
        if self._commits is None:
            raise errors.NotReady(f"logbook {self.directory} is open for reading only")
        return self._commits
