"""Decide calls that wait are decided together: the event loop hands them over, one thread decides.

Nobody waits for a group to fill. Whatever has come while the thread was busy is the next one: alone when there
is little to do, many when there is much, and then each costs a fraction of what it costs alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from operator import attrgetter
from queue import Empty, SimpleQueue

from decider.decision.ports import Ticket
from decider.decision.request import MemberRequest
from decider.decision.together import Outcome
from decider.service.answers import decide_response
from decider.service.metrics import Metrics
from decider.service.ports import Engine

MAX_TOGETHER = 256
"""Most calls in a group: bounds how long the first one waits for the last."""

Call = tuple[MemberRequest, "asyncio.Future[bytes]"]
Answer = bytes | Exception


class WaitingDecides:
    """Calls of Decide on their way; :meth:`close` when no more come.

    Parameters
    ----------
    engine
        Decides.
    metrics
        Counts decisions.
    loop
        Where the calls are awaited.
    """

    def __init__(self, engine: Engine, metrics: Metrics, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._metrics, self._loop = engine, metrics, loop
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._decide_all, name="decide-together", daemon=True)
        self._thread.start()

    def decide(self, request: MemberRequest) -> asyncio.Future[bytes]:
        """The serialised answer to come, once the decision is durable. To be called on the loop."""
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._calls.put((request, future))
        return future

    def close(self) -> None:
        """Answer what waits, and end the thread; a second call does nothing."""
        self._calls.put(None)
        self._thread.join()

    def _decide_all(self) -> None:
        while (call := self._calls.get()) is not None:
            group = [call]
            open_ = True
            while len(group) < MAX_TOGETHER:
                try:
                    more = self._calls.get_nowait()
                except Empty:
                    break
                if more is None:
                    open_ = False
                    break
                group.append(more)
            self._decide(group)
            if not open_:
                return

    def _decide(self, group: list[Call]) -> None:
        futures = [future for _, future in group]
        try:
            outcomes = self._engine.decide_together([request for request, _ in group])
            answers = [
                self._answer(request, outcome) for (request, _), outcome in zip(group, outcomes, strict=True)
            ]
        except Exception as error:  # nobody may be left waiting
            self._tell(futures, [error] * len(group))
            return
        tickets = [outcome.ticket for outcome in outcomes if outcome.ticket is not None]
        # The log commits in order, and after a failure nothing more: the last one to be durable tells of all.
        last = max(tickets, key=attrgetter("sequence"), default=None)
        if last is None:
            self._tell(futures, answers)
        else:
            last.then(lambda: self._tell(futures, _durable(answers, outcomes, last)))

    def _answer(self, request: MemberRequest, outcome: Outcome) -> Answer:
        decision = outcome.decision
        if decision is None:
            assert outcome.error is not None
            return outcome.error
        self._metrics.count_decision(decision)
        return decide_response(decision, request.dry_run)

    def _tell(self, futures: Sequence[asyncio.Future[bytes]], answers: Sequence[Answer]) -> None:
        """Wake all callers of a group at once; from any thread."""
        try:
            self._loop.call_soon_threadsafe(_settle, futures, answers)
        except RuntimeError:
            # The loop is closed: the process ends, and nobody listens.
            return


def _durable(answers: Sequence[Answer], outcomes: Sequence[Outcome], last: Ticket) -> Sequence[Answer]:
    """The answers of a group whose last decision is settled; errors for those that are not on the disk."""
    if last.durable:
        return answers
    told: list[Answer] = []
    for answer, outcome in zip(answers, outcomes, strict=True):
        try:
            if outcome.ticket is not None:
                outcome.ticket.wait(0.0)
            told.append(answer)
        except Exception as error:
            told.append(error)
    return told


def _settle(futures: Sequence[asyncio.Future[bytes]], answers: Sequence[Answer]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        # A caller that is gone has cancelled its future.
        if future.done():
            continue
        if isinstance(answer, bytes):
            future.set_result(answer)
        else:
            future.set_exception(answer)
