"""Bulk runs: a run is noted first, priced once, filled with sealed segments, and finished with a summary."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import polars as pl

from decider import errors
from decider.logbook.commit import GroupCommit, Ticket
from decider.logbook.database import Readers, checked_body
from decider.logbook.schema import (
    Certificate,
    DecisionRecord,
    RunRecord,
    SealedSegment,
    SegmentInfo,
    SentSets,
    run_id_of,
)
from decider.logbook.segment_rules import check_segment
from decider.logbook.segments import SegmentFiles, decision_of_row

_ADD_RUN = "INSERT INTO runs (run_id, crc, body) VALUES (?, ?, ?)"
_CHANGE_RUN = "UPDATE runs SET crc = ?, body = ? WHERE run_id = ?"
_ADD_SEGMENT = """INSERT INTO segments (sequence, run_id, first_ordinal, n_rows, file, n_bytes, xxh3_128)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_SEGMENTS = "SELECT run_id, first_ordinal, n_rows, sequence, file, n_bytes, xxh3_128 FROM segments"


class _Span(NamedTuple):
    """Ordinals of one run: ``first .. end - 1``."""

    run_id: str
    first: int
    end: int

    @classmethod
    def of(cls, info: SegmentInfo) -> _Span:
        return cls(info.run_id, info.first_ordinal, info.first_ordinal + info.n_rows)


_LOGGING = Ticket.stored(0)


class BulkRuns:
    """The bulk runs of a logbook.

    Parameters
    ----------
    database
        Path of the database, for errors.
    readers
        Connections to it.
    """

    def __init__(self, database: Path, readers: Readers) -> None:
        self.files = SegmentFiles(database.parent / "segments")
        self._database = database
        self._readers = readers
        self._changing = threading.Lock()
        # Ordinals between their seal and their commit; with a ticket once the commit is queued.
        self._reserved: dict[_Span, Ticket | None] = {}

    def recover(self) -> list[str]:
        """Remove the segment files that were never acknowledged; return their names."""
        return self.files.recover({info.file for info in self.segments()})

    def start(self, commits: GroupCommit, run: RunRecord) -> RunRecord:
        """Note a run; durable on return. The same request again gives the stored run.

        Raises
        ------
        errors.Conflict
            The request id was used with another digest.
        errors.InvalidInput
            The run's id does not belong to its request, or it has no candidates.
        """
        if run.run_id != run_id_of(run.request_id):
            raise errors.InvalidInput.of("run_id", f"must be {run_id_of(run.request_id)!r}", run.run_id)
        if not run.candidates or len(set(run.candidates)) != len(run.candidates):
            raise errors.InvalidInput.of(
                "candidates", "must be at least one and all different", run.candidates
            )
        if (run.theta is None) != (run.tie_cut is None):
            raise errors.InvalidInput.of("tie_cut", "must be given exactly where theta is", run.tie_cut)
        with self._changing:
            known = self.find(run.run_id)
            if known is not None:
                if known.request_digest != run.request_digest:
                    raise errors.Conflict("request_id", run.request_id)
                return known
            body = msgspec.msgpack.encode(run)
            commits.submit(_ADD_RUN, [(run.run_id, crc32(body), body)], numbered=False).wait()
        return run

    def set_price(
        self,
        commits: GroupCommit,
        run_id: str,
        theta: float,
        tie_cut: int,
        cells: Sequence[tuple[float, int]] = (),
        budgets: Sequence[tuple[float, int]] = (),
        certificate: Certificate | None = None,
    ) -> None:
        """Set a run's price, and that of each of its cells or budgets; the same again changes nothing.

        Raises
        ------
        errors.Conflict
            The run has another price already: decisions may have gone out under it.
        errors.InvalidInput
            A price is NaN, or `tie_cut` is not an unsigned 64-bit integer.
        """
        for price, cut in ((theta, tie_cut), *cells, *budgets):
            if math.isnan(price):
                raise errors.InvalidInput.of("theta", "must be a number", price)
            if not 0 <= cut < 2**64:
                raise errors.InvalidInput.of("tie_cut", "must be in 0..2^64-1", cut)
        with self._changing:
            run = self.get(run_id)
            if len(cells) != len(run.cells):
                raise errors.InvalidInput.of("cells", f"must be {len(run.cells)} prices", len(cells))
            priced = [
                msgspec.structs.replace(cell, theta=price, tie_cut=cut)
                for cell, (price, cut) in zip(run.cells, cells, strict=True)
            ]
            if len(budgets) != len(run.budgets):
                raise errors.InvalidInput.of("budgets", f"must be {len(run.budgets)} prices", len(budgets))
            paid = [
                msgspec.structs.replace(budget, price=price, tie_cut=cut)
                for budget, (price, cut) in zip(run.budgets, budgets, strict=True)
            ]
            bound, gap = (None, None) if certificate is None else certificate
            changed = msgspec.structs.replace(
                run, theta=theta, tie_cut=tie_cut, cells=priced, budgets=paid, bound=bound, gap=gap
            )
            if changed == run:
                return
            if run.theta is not None:
                rule = f"has the price {run.theta} already, got {theta}"
                if run.budgets:
                    rule = f"has prices of its budgets already, got {list(budgets)}"
                raise errors.Conflict("run_id", run_id, rule)
            self._change(commits, changed)

    def seal(self, run_id: str, first_ordinal: int, frame: pl.DataFrame) -> SealedSegment:
        """Begin to write decisions to a file and reserve their ordinals; nothing is logged before :meth:`commit`.

        Several threads may seal segments of one run at once. The file is on disk when `written` of what is returned
        ends; where the disk refuses it ends with errors.Unavailable, and the ordinals are free again.

        Raises
        ------
        errors.Conflict
            Some of these ordinals are logged or about to be, or the run is finished.
        errors.InvalidInput
            The frame breaks a rule, or the run has no price yet.
        """
        run = self.get(run_id)
        check_segment(frame, run, first_ordinal)
        span = _Span(run_id, first_ordinal, first_ordinal + frame.height)
        with self._changing:
            self._reserve(span)
        try:
            return self.files.seal(run, first_ordinal, frame, lambda: self._free(span))
        except BaseException:
            self._free(span)
            raise

    def commit(self, commits: GroupCommit, sealed: SealedSegment) -> Ticket:
        """Queue a sealed segment for the log; its decisions are logged once the ticket's wait returns.

        Raises
        ------
        errors.Conflict
            It was committed or discarded already.
        errors.Unavailable
            The disk refused its file.
        """
        sealed.written.result()
        info, span = sealed.info, _Span.of(sealed.info)
        with self._changing:
            if self._reserved.get(span, _LOGGING) is not None:
                raise errors.Conflict("first_ordinal", info.first_ordinal, "is not sealed and waiting")
            row = (info.run_id, info.first_ordinal, info.n_rows, info.file, info.n_bytes, info.xxh3_128)
            ticket = self._reserved[span] = commits.submit(_ADD_SEGMENT, [row], numbered=True)
        return ticket

    def discard(self, sealed: SealedSegment) -> None:
        """Remove a sealed segment that was not committed, and free its ordinals."""
        if sealed.written.exception() is not None:
            return
        span = _Span.of(sealed.info)
        with self._changing:
            if self._reserved.get(span, _LOGGING) is not None:
                raise errors.Conflict("first_ordinal", span.first, "is not sealed and waiting")
            self.files.remove(sealed.info)
            del self._reserved[span]

    def finish(self, commits: GroupCommit, run_id: str, summary: dict[str, object]) -> None:
        """Close a run; durable on return. Closing it again with the same summary changes nothing.

        Raises
        ------
        errors.Conflict
            It is finished with another summary, or a segment of it is being sealed.
        """
        with self._changing:
            run = self.get(run_id)
            if run.finished:
                if _canonical(run.summary) != _canonical(summary):
                    raise errors.Conflict("run_id", run_id, "is finished with another summary")
                return
            self._forget_durable()
            if any(span.run_id == run_id for span in self._reserved):
                raise errors.Conflict("run_id", run_id, "has a segment that is sealed and not logged yet")
            self._change(commits, msgspec.structs.replace(run, finished=True, summary=summary))

    def find(self, run_id: str) -> RunRecord | None:
        """Return a run, None if there is none."""
        rows = self._readers.rows("SELECT run_id, crc, body FROM runs WHERE run_id = ?", (run_id,))
        return self._decoded(*rows[0]) if rows else None

    def get(self, run_id: str) -> RunRecord:
        """Return a run, or raise errors.NotFound."""
        run = self.find(run_id)
        if run is None:
            raise errors.NotFound("run_id", "run", run_id)
        return run

    def all(self) -> list[RunRecord]:
        """Return all runs in the order of their start."""
        rows = self._readers.rows("SELECT run_id, crc, body FROM runs ORDER BY rowid")
        return [self._decoded(*row) for row in rows]

    def segments(self, run_id: str | None = None) -> list[SegmentInfo]:
        """Return a run's segments by ordinal, or all by sequence."""
        if run_id is None:
            rows = self._readers.rows(f"{_SEGMENTS} ORDER BY sequence")
        else:
            rows = self._readers.rows(f"{_SEGMENTS} WHERE run_id = ? ORDER BY first_ordinal", (run_id,))
        return [_info(row) for row in rows]

    def segment_of(self, run_id: str, ordinal: int) -> SegmentInfo | None:
        """Return the segment that holds a run's ordinal."""
        statement = f"{_SEGMENTS} WHERE run_id = ? AND first_ordinal <= ? ORDER BY first_ordinal DESC LIMIT 1"
        rows = self._readers.rows(statement, (run_id, ordinal))
        if not rows:
            return None
        info = _info(rows[0])
        return info if ordinal < info.first_ordinal + info.n_rows else None

    def decision(self, run_id: str, ordinal: int) -> DecisionRecord | None:
        """Return one decision of a run, None if it is not logged."""
        info = self.segment_of(run_id, ordinal)
        return None if info is None else decision_of_row(self.get(run_id), self.files.read_row(info, ordinal))

    def sent_sets(self, run: RunRecord, info: SegmentInfo) -> SentSets:
        """What the members of one of a run's segments were sent."""
        places = [f"c{place}" for place in range(self.files.n_places(info))]
        frame = self.files.read(info, ["member_id", *places])
        return SentSets(
            sequence=info.sequence,
            time_micros=run.decision_time_micros,
            member_ids=frame["member_id"],
            sets=np.stack([frame[place].to_numpy() for place in places]),
            candidates=[run.entry(code) for code in range(len(run.candidates))],
        )

    def close(self) -> None:
        """Wait for the files that are being written; a second call does nothing."""
        self.files.close()

    def _free(self, span: _Span) -> None:
        with self._changing:
            del self._reserved[span]

    def _reserve(self, span: _Span) -> None:
        self._forget_durable()
        for other in [*self._reserved, *map(_Span.of, self.segments(span.run_id))]:
            if span.run_id == other.run_id and span.first < other.end and other.first < span.end:
                rule = (
                    f"reaches into the ordinals {other.first}..{other.end - 1} that are logged or about to be"
                )
                raise errors.Conflict("first_ordinal", span.first, rule)
        if self.get(span.run_id).finished:
            raise errors.Conflict("run_id", span.run_id, "is finished and takes no more decisions")
        self._reserved[span] = None

    def _forget_durable(self) -> None:
        durable = [span for span, ticket in self._reserved.items() if ticket is not None and ticket.durable]
        for span in durable:
            del self._reserved[span]

    def _change(self, commits: GroupCommit, run: RunRecord) -> None:
        body = msgspec.msgpack.encode(run)
        commits.submit(_CHANGE_RUN, [(crc32(body), body, run.run_id)], numbered=False).wait()

    def _decoded(self, run_id: str, crc: int, body: bytes) -> RunRecord:
        return msgspec.msgpack.decode(
            checked_body(self._database, f"run {run_id}", crc, body), type=RunRecord
        )


def _canonical(summary: dict[str, object]) -> bytes:
    # Bytes compare NaN with NaN, and a list with the tuple that it was.
    return msgspec.msgpack.encode(summary, order="deterministic")


def _info(row: tuple[object, ...]) -> SegmentInfo:
    return msgspec.convert(dict(zip(SegmentInfo.__struct_fields__, row, strict=True)), SegmentInfo)
