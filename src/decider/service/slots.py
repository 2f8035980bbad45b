"""A limit on how many are under way at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from decider.errors import Overloaded


class Slots:
    """At most so many at once, of what holds a thread for long, or of calls.

    Parameters
    ----------
    n_slots
        How many.
    what
        What they are, for the error.
    """

    def __init__(self, n_slots: int, what: str) -> None:
        self._free = threading.Semaphore(n_slots)
        self._text = too_many(n_slots, what)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot.

        Raises
        ------
        Overloaded
            When none is free.
        """
        if not self._free.acquire(blocking=False):
            raise Overloaded(self._text)
        try:
            yield
        finally:
            self._free.release()


def too_many(most: int, what: str) -> str:
    """Say that so many are under way, and no more may be."""
    return f"{most} {what} are under way already, as many as are allowed: try again later"
