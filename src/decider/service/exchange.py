"""Decides what the front processes hand over: whatever has come meanwhile is the next group."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from google.rpc import code_pb2

from decider.errors import InvalidInput, Violation
from decider.priority import step_back
from decider.service import deciding, link
from decider.service.deciding import Deciding
from decider.service.front import DECIDE
from decider.service.metrics import Metrics
from decider.service.ports import Engine
from decider.service.requests import member_request
from decider.service.statuses import status_of
from decider.v1 import decision_service_pb2

_MAX_BYTES = 1 << 18
BEHIND_FRONTS = 5
"""Of 20 steps of niceness: a third of a front's share of a core that both want all the time."""


class _Front:
    """The link to one front."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.frames = connection, link.Frames()

    def send(self, answers: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Nothing happens when the front is gone: so are its callers."""
        with contextlib.suppress(OSError):
            self.socket.sendall(link.answers_frame(answers))


class Exchange:
    """Takes calls of Decide from the fronts, and decides together whatever has come.

    Parameters
    ----------
    engine
        Decides.
    metrics
        Counts calls and decisions.
    path
        Of the Unix socket.
    """

    def __init__(self, engine: Engine, metrics: Metrics, path: Path) -> None:
        self._deciding, self._metrics = Deciding(engine, metrics), metrics
        self._seconds = metrics.call_seconds.of("Decide")
        self._ok = metrics.calls.labels("Decide", "OK")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="decide-together", daemon=True)

    def start(self) -> None:
        """Decide from now on; calls that came before have waited."""
        self._thread.start()

    def close(self) -> None:
        """Take no more; a second call does nothing."""
        with contextlib.suppress(OSError):
            self._wake.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        for each in (self._listener, self._wake, self._woken):
            each.close()

    def _run(self) -> None:
        # Where fronts and engine want a core at once, what a front brings meanwhile is decided together, and each call
        # costs less; the other way round, groups are small and cost most, and all callers wait for the fronts.
        step_back(BEHIND_FRONTS)
        # This thread reads and decides in turn: another one to read would only take the interpreter from it.
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                calls: list[tuple[_Front, link.Call]] = []
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    if key.data is None:
                        connection, _ = self._listener.accept()
                        selector.register(connection, selectors.EVENT_READ, _Front(connection))
                    else:
                        calls += self._received(key.data, selector)
                if calls:
                    self._decide(calls)

    def _received(self, front: _Front, selector: selectors.BaseSelector) -> list[tuple[_Front, link.Call]]:
        try:
            data = front.socket.recv(_MAX_BYTES)
        except OSError:
            data = b""
        if not data:
            selector.unregister(front.socket)
            front.socket.close()
            return []
        return [(front, call) for call in front.frames.calls(data)]

    def _decide(self, calls: list[tuple[_Front, link.Call]]) -> None:
        started = time.perf_counter()
        requests, asked = [], []
        refused: list[tuple[_Front, int, Exception]] = []
        for front, call in calls:
            try:
                requests.append(member_request(_parsed(call.request)))
                asked.append((front, call.number))
            except Exception as error:  # it is this call's alone
                refused.append((front, call.number, error))
        if refused:
            callers = [(front, number) for front, number, _ in refused]
            self._tell(callers, [error for *_, error in refused], started)
        if requests:
            self._tell(asked, self._deciding.decide(requests), started)

    def _tell(
        self, asked: Sequence[tuple[_Front, int]], answers: Sequence[deciding.Answer], started: float
    ) -> None:
        by_front: dict[_Front, list[tuple[int, bytes, bytes]]] = {}
        seconds, n_good = time.perf_counter() - started, 0
        for (front, number), answer in zip(asked, answers, strict=True):
            if isinstance(answer, bytes):
                told, n_good = (number, answer, b""), n_good + 1
            else:
                status = status_of(answer, DECIDE)
                self._metrics.calls.labels("Decide", code_pb2.Code.Name(status.code)).inc()
                told = (number, b"", status.SerializeToString())
            by_front.setdefault(front, []).append(told)
        self._ok.inc(n_good)
        self._seconds.observe(seconds, len(asked))
        for front, some in by_front.items():
            front.send(some)


def _parsed(raw: bytes) -> decision_service_pb2.DecideRequest:
    try:
        return decision_service_pb2.DecideRequest.FromString(raw)
    except Exception as error:
        rule = (
            f"must be a protobuf message of type decider.v1.DecideRequest, got {len(raw)} bytes that are none"
        )
        raise InvalidInput([Violation("request", rule)]) from error
