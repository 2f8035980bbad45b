"""Parts of one whole, made by several threads: whoever brings the last part goes on with all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

Part = TypeVar("Part")
Whole = TypeVar("Whole")


class Meeting(Generic[Part, Whole]):
    """A whole that is made as soon as its last part is there; no thread waits for another one's part.

    Parameters
    ----------
    n_parts
        How many parts there will be.
    whole
        Makes the whole from the parts, in their order; called by the thread that brings the last of them.
    """

    def __init__(self, n_parts: int, whole: Callable[[list[Part]], Whole]) -> None:
        self.made: Future[Whole] = Future()
        """The whole, or the first error on the way to it."""
        self._parts: dict[int, Part] = {}
        self._n_parts = n_parts
        self._whole = whole
        self._lock = threading.Lock()

    def bring(self, pool: Executor, place: int, part: Callable[[], Part]) -> None:
        """Have the part at `place` made by a thread of the pool."""
        pool.submit(self._bring, place, part)

    def _bring(self, place: int, part: Callable[[], Part]) -> None:
        if self.made.done():  # given up, or failed at another part
            return
        try:
            made = part()
            with self._lock:
                self._parts[place] = made
                if len(self._parts) < self._n_parts or not self.made.set_running_or_notify_cancel():
                    return
            self.made.set_result(self._whole([self._parts[each] for each in range(self._n_parts)]))
        except BaseException as error:
            with suppress(InvalidStateError):  # of several errors the first is told
                self.made.set_exception(error)
