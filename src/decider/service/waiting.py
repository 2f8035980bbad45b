"""Decide calls that wait are decided together: the event loop hands them over, one thread decides.

Nobody waits for a group to fill. Whatever has come while the thread was busy is the next one: alone when there
is little to do, many when there is much, and then each costs a fraction of what it costs alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from decider.service.deciding import Answer

MAX_TOGETHER = 256
"""Most calls in a group: bounds how long the first one waits for the last."""

Request = TypeVar("Request")


class WaitingDecides(Generic[Request]):
    """Calls of Decide on their way; :meth:`close` when no more come.

    Parameters
    ----------
    decide
        Gives the answers of a group; called in a thread of this class.
    loop
        Where the calls are awaited.
    """

    def __init__(
        self, decide: Callable[[Sequence[Request]], Sequence[Answer]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._decide_group, self._loop = decide, loop
        self._calls: SimpleQueue[tuple[Request, asyncio.Future[bytes]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._decide_all, name="decide-together", daemon=True)
        self._thread.start()

    def decide(self, request: Request) -> asyncio.Future[bytes]:
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

    def _decide(self, group: list[tuple[Request, asyncio.Future[bytes]]]) -> None:
        futures = [future for _, future in group]
        answers = self._decide_group([request for request, _ in group])
        try:
            # All callers of a group wake at once.
            self._loop.call_soon_threadsafe(_settle, futures, answers)
        except RuntimeError:
            # The loop is closed: the process ends, and nobody listens.
            return


def _settle(futures: Sequence[asyncio.Future[bytes]], answers: Sequence[Answer]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        # A caller that is gone has cancelled its future.
        if future.done():
            continue
        if isinstance(answer, bytes):
            future.set_result(answer)
        else:
            future.set_exception(answer)
