"""One BatchDecide call: reading, deciding and answering at the same time.

Three threads hand over to one another through bounded flows::

    reader:  bytes -> members   |  decider:  members -> decisions   |  grpc:  decisions -> bytes -> client

so the interpreter's work on one chunk overlaps the kernels' work on the next, and a client that stops reading
stops the decider, which stops the reader: nothing piles up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import structlog

from decider.decision.result import ResultChunk
from decider.errors import InvalidInput, Unavailable, Violation
from decider.service import answers
from decider.service.columns import ResultStreams, pieces, read_members
from decider.service.flow import BrokenOff, Closed, Flow
from decider.service.heap import keep_large_blocks
from decider.service.metrics import Metrics
from decider.service.ports import Engine, MemberIds, Run
from decider.service.requests import BatchRequest, batch_request, member_rows
from decider.service.serialised import columns_response
from decider.service.settings import ServiceSettings
from decider.v1 import decision_service_pb2, run_pb2

Response = decision_service_pb2.BatchDecideResponse

_CHUNKS_READ_AHEAD = 4
_ANSWERS_AHEAD = 2

_log = structlog.get_logger(__name__)


class _Members:
    """A chunk of members, with the field that they came in."""

    def __init__(self, ids: MemberIds, field: str) -> None:
        self.ids, self.field = ids, field


class _End:
    """The client's word that all members were sent."""

    def __init__(self, n_members: int) -> None:
        self.n_members = n_members


_Received = BatchRequest | _Members | _End
_Given = tuple[str, Any]


class Batch:
    """One call, from its header to its summary.

    Parameters
    ----------
    engine
        Decides.
    settings
        Limits.
    metrics
        Counts.
    requests
        What the client sends, parsed.
    context
        The call.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServiceSettings,
        metrics: Metrics,
        requests: Iterator[Any],
        context: Any,
    ) -> None:
        self._engine, self._settings, self._metrics = engine, settings, metrics
        self._requests, self._context = requests, context
        self._incoming: Flow[_Received] = Flow(_CHUNKS_READ_AHEAD, settings.stall_seconds)
        self._outgoing: Flow[_Given] = Flow(_ANSWERS_AHEAD, settings.stall_seconds)
        self._run: Run | None = None
        self._streams: ResultStreams | None = None
        self._header: BatchRequest | None = None
        self._reader = threading.Thread(target=self._read, name="batch-read", daemon=True)
        self._decider = threading.Thread(target=self._decide, name="batch-decide", daemon=True)

    def answers(self) -> Iterator[Response | bytes]:
        """What goes back to the client, as it comes, tables serialised; ends the run when the client breaks off."""
        keep_large_blocks()
        self._context.add_callback(self._stop)
        self._reader.start()
        self._decider.start()
        told = time.monotonic()
        try:
            while True:
                try:
                    given = self._outgoing.take(self._settings.progress_seconds)
                except (Closed, BrokenOff):
                    return
                if given is not None:
                    yield from self._responses(*given)
                run = self._run
                if run is not None and time.monotonic() - told >= self._settings.progress_seconds:
                    yield answers.progress_message(run.progress())
                    told = time.monotonic()
        finally:
            self._stop()
            self._decider.join()

    def _stop(self) -> None:
        self._incoming.stop()
        self._outgoing.stop()

    def _read(self) -> None:
        """Turn requests into members: the reader thread."""
        try:
            for request in self._requests:
                self._incoming.put(_received(request))
        except BrokenOff:
            return
        except BaseException as error:  # carried over to the thread that answers
            self._incoming.close(error)
        else:
            self._incoming.close()

    def _decide(self) -> None:
        """Run the batch: the decider thread. Nothing of the run is held when it ends, however it ends."""
        outcome = "failed"
        try:
            self._run_all()
            outcome = "finished"
        except BrokenOff:
            # The generator above may be stuck in a send that never ends: only the call itself can free it.
            outcome = "broken_off"
            self._context.cancel()
            self._outgoing.close()
        except BaseException as error:  # carried over to the thread that answers
            outcome = "failed" if self._context.is_active() else "broken_off"
            self._outgoing.close(error)
        else:
            self._outgoing.close()
        finally:
            if self._run is not None:
                self._run.close()
            self._metrics.runs.labels(outcome).inc()
            _log.info("run", outcome=outcome, run_id=self._run.record.run_id if self._run else None)

    def _run_all(self) -> None:
        header = self._take()
        if not isinstance(header, BatchRequest):
            raise _out_of_order("the first request must be a header", header)
        self._header = header
        run = self._run = self._engine.start_run(header.run, header.whole_snapshot)
        priced = run.record.theta is not None
        self._outgoing.put(("started", run.record))
        if header.whole_snapshot:
            rest = self._take()
            if rest is not None:
                raise _out_of_order("nothing may follow the header of a whole snapshot", rest)
        else:
            self._add_members(run)
        if not self._context.is_active():
            raise BrokenOff("the client is gone")
        for chunk in run.finish():
            if not priced:
                priced = True
                self._outgoing.put(("priced", run.record))
            self._put(chunk)
        self._outgoing.put(("summary", run.summary))

    def _add_members(self, run: Run) -> None:
        """Take members in until the client says that these were all."""
        n_members = 0
        while True:
            received = self._take()
            match received:
                case _Members():
                    for chunk in run.add(received.ids, received.field):
                        self._put(chunk)
                    n_members += len(received.ids)
                case _End() if received.n_members == n_members:
                    return
                case _End():
                    rule = f"must be the number of members sent, {n_members}"
                    raise InvalidInput.of("end.member_count", rule, received.n_members)
                case None:
                    # A stream that breaks can look like one that was closed: only `end` tells them apart.
                    raise InvalidInput([Violation("end", "is required after the last member, got nothing")])
                case _:
                    raise _out_of_order("a header must come only once", received)

    def _put(self, chunk: ResultChunk) -> None:
        self._metrics.run_members.inc(chunk.n_members)
        self._outgoing.put(("chunk", chunk))

    def _take(self) -> _Received | None:
        """The next request; none when the client has closed its side."""
        try:
            received = self._incoming.take(self._settings.stall_seconds)
        except Closed:
            return None
        if received is None:
            raise Unavailable(f"the client sent nothing for {self._settings.stall_seconds} s")
        return received

    def _responses(self, kind: str, given: Any) -> Iterator[Response | bytes]:
        run, header = self._run, self._header
        assert run is not None
        assert header is not None
        match kind:
            case "started":
                self._streams = ResultStreams(given.candidates, given.run_id)
                yield answers.started_message(given)
            case "priced":
                yield answers.priced_message(given)
            case "chunk" if header.result_format != run_pb2.RESULT_FORMAT_SUMMARY_ONLY:
                candidates, streams = run.parts.catalog.candidates, self._streams
                assert streams is not None
                for piece in pieces(given, header.max_members_per_answer):
                    if header.result_format == run_pb2.RESULT_FORMAT_ROWS:
                        yield answers.rows_message(piece, candidates, run.record.run_id)
                    else:
                        yield columns_response(piece, streams.write(piece))
            case "summary":
                for channel, n_sends in given.per_channel.items():
                    self._metrics.sends.labels(channel).inc(n_sends)
                yield answers.progress_message(run.progress())
                yield answers.summary_message(given)


def _received(request: decision_service_pb2.BatchDecideRequest) -> _Received:
    match request.WhichOneof("request"):
        case "header":
            return batch_request(request.header)
        case "columns":
            return _Members(read_members(request.columns.arrow_ipc), "columns.member_id")
        case "rows":
            return _Members(member_rows(request.rows), "rows.member_ids")
        case "end":
            return _End(request.end.member_count)
        case _:
            raise InvalidInput(
                [Violation("request", "must hold a header, columns, rows or end, got nothing")]
            )


def _out_of_order(rule: str, received: _Received | None) -> InvalidInput:
    names = {BatchRequest: "a header", _Members: "members", _End: "end"}
    return InvalidInput([Violation("request", f"{rule}, got {names.get(type(received), 'nothing')}")])
