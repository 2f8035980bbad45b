"""The segments of a run: decided, entered in the log, durable; the next ones while the disk is at work on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision import sizes
from decider.decision.ahead import Ahead
from decider.decision.asking import Asking
from decider.decision.cells import decide_cells
from decider.decision.chunks import decide_chunk, joined, replaced
from decider.decision.exposure import Exposure, Seen
from decider.decision.frame import chunk_of_segment, segment_frame
from decider.decision.meeting import Meeting
from decider.decision.parts import Parts
from decider.decision.ports import Log, Ticket
from decider.decision.pricing import RunPrice
from decider.decision.result import ResultChunk
from decider.decision.stages import Question
from decider.errors import InvalidInput, Violation
from decider.logbook.schema import RunRecord, SealedSegment, SegmentInfo


class Desk(NamedTuple):
    """What a run works with."""

    parts: Parts
    log: Log
    exposure: Exposure
    pool: ThreadPoolExecutor

    def observe(self, rows: NDArray[np.int64], record: RunRecord) -> Seen:
        """The history as the run found it: so a run that was broken off and goes on decides the same."""
        return self.exposure.observe(rows, self.parts.catalog, record.history_sequence)


class Segment(NamedTuple):
    """Members that become durable together."""

    rows: NDArray[np.int64]
    seen: Seen
    logged: SegmentInfo | None
    made: Future[tuple[ResultChunk, Seen, SealedSegment | None]] | None = None
    """The whole of it at the run's price: sealed too, unless the run is dry."""


@dataclass(frozen=True)
class Segments:
    """What decides a run's members at its price, segment after segment.

    Parameters
    ----------
    desk
        What the run works with.
    asking, record, price
        The run, its price known.
    logged
        Segments that the log holds already, by their first ordinal: they are answered from there.
    ahead
        Everybody decided already, to be cut at the price; none where they are decided here.
    """

    desk: Desk
    asking: Asking
    record: RunRecord
    price: RunPrice
    logged: Mapping[int, SegmentInfo]
    ahead: Ahead | None = None

    def decided(self, segments: Iterator[NDArray[np.int64]], ordinal: int) -> Iterator[ResultChunk]:
        """Decide segments of rows, the first of which has an ordinal; each comes back once it is durable."""
        under_way: deque[Segment] = deque()
        entered: deque[tuple[ResultChunk, Ticket | None]] = deque()
        try:
            for rows in segments:
                under_way.append(self.begin(rows, ordinal))
                ordinal += rows.size
                if len(under_way) > sizes.AHEAD:
                    entered.append(self.enter(under_way.popleft()))
                    # The disk is at work on this one while the next one is entered.
                    if len(entered) > 1:
                        yield _durable(*entered.popleft())
            while under_way:
                entered.append(self.enter(under_way.popleft()))
                yield _durable(*entered.popleft())
            while entered:
                yield _durable(*entered.popleft())
        finally:
            for segment in under_way:
                self._drop(segment)
            # What is entered becomes durable, also where nobody hears of it: whoever goes on is to find it.
            for _, ticket in entered:
                if ticket is not None:
                    ticket.wait()

    def _drop(self, segment: Segment) -> None:
        """Let go of a segment that a run broken off leaves: another one may seal its ordinals."""
        if segment.made is None or segment.made.cancel() or segment.made.exception() is not None:
            return
        sealed = segment.made.result()[2]
        if sealed is not None:
            self.desk.log.discard_segment(sealed)

    def begin(self, rows: NDArray[np.int64], ordinal: int) -> Segment:
        """Set threads to work on one segment."""
        seen = self.desk.observe(rows, self.record)
        if ordinal in self.logged:
            return Segment(rows, seen, self.logged[ordinal])
        if self.ahead is not None:
            place = ordinal // sizes.SEGMENT
            made = self.desk.pool.submit(self._cut_and_seal, self.ahead, place, rows, self.price)
            return Segment(rows, seen, None, made)
        starts = range(0, rows.size, sizes.CHUNK)
        meeting = Meeting(len(starts), partial(self._join_and_seal, seen))
        for place, at in enumerate(starts):
            question = self._question(rows[at : at + sizes.CHUNK], seen)
            meeting.bring(self.desk.pool, place, partial(self._decide_chunk, question, ordinal + at))
        return Segment(rows, seen, None, meeting.made)

    def _join_and_seal(
        self, seen: Seen, chunks: list[ResultChunk]
    ) -> tuple[ResultChunk, Seen, SealedSegment | None]:
        chunk = joined(chunks)
        return chunk, seen, None if self.asking.request.dry_run else self._seal(chunk)

    def _decide_chunk(self, question: Question, first_ordinal: int) -> ResultChunk:
        if self.asking.experiment is None:
            return decide_chunk(question, first_ordinal)
        return decide_cells(question, self.asking.experiment, self.record.cells, first_ordinal)

    def _cut_and_seal(
        self, ahead: Ahead, place: int, rows: NDArray[np.int64], price: RunPrice
    ) -> tuple[ResultChunk, Seen, SealedSegment | None]:
        chunk, seen = ahead.cut(place, rows, price)
        return chunk, seen, None if self.asking.request.dry_run else self._seal(chunk)

    def _question(self, rows: NDArray[np.int64], seen: Seen) -> Question:
        """What is asked for `rows`, at the run's price."""
        deferred = self.asking.request.defer_propensities
        return self.asking.question(rows, seen, self.price, with_propensities=not deferred)

    def _seal(self, chunk: ResultChunk) -> SealedSegment:
        return self.desk.log.seal_segment(self.record.run_id, chunk.first_ordinal, segment_frame(chunk))

    def enter(self, segment: Segment) -> tuple[ResultChunk, Ticket | None]:
        """The segment's decisions, entered in the log or found there; and what tells when they are durable."""
        ticket = None
        if segment.logged is not None:
            chunk = chunk_of_segment(self.desk.log.read_segment(segment.logged), self.desk.parts.snapshot)
            if not np.array_equal(chunk.rows, segment.rows):
                run_id = self.record.run_id
                rule = f"must come in the order in which run {run_id} first had them; others came in"
                value = f"{segment.rows.size} members from place {chunk.first_ordinal} on"
                raise InvalidInput([Violation("members", f"{rule} {value}")])
        else:
            assert segment.made is not None
            chunk, seen, sealed = segment.made.result()
            if sealed is not None:
                sealed.written.result()  # nobody else waits for the disk while members are reserved
                chunk, ticket = self._log(chunk, seen, sealed)
        return chunk, ticket

    def _log(self, chunk: ResultChunk, seen: Seen, sealed: SealedSegment) -> tuple[ResultChunk, Ticket]:
        """Log the segment; members who were sent something in the meantime are decided again first."""
        exposure, log = self.desk.exposure, self.desk.log
        while True:
            with exposure.reserving:
                changed = exposure.changed(chunk.rows, seen)
                if changed.size:
                    log.discard_segment(sealed)
                else:
                    commit = log.commit_segment(sealed)
                    time_micros = self.asking.request.decision_time_micros
                    exposure.add_sets(
                        chunk.rows, chunk.sets, self.desk.parts.catalog, time_micros, commit.sequence
                    )
            if not changed.size:
                return chunk, commit
            seen = exposure.observe(chunk.rows, self.desk.parts.catalog)
            again = self._decide_chunk(self._question(chunk.rows[changed], seen), 0)
            chunk = replaced(chunk, changed, again)
            sealed = self._seal(chunk)


def _durable(chunk: ResultChunk, ticket: Ticket | None) -> ResultChunk:
    if ticket is not None:
        ticket.wait()
    return chunk
