"""A bounded hand-over between two threads that either side can break off."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

from decider.errors import DeciderError

Item = TypeVar("Item")


class BrokenOff(DeciderError):
    """The other side is gone, or did nothing for too long."""


class Closed(Exception):
    """The giver has nothing more."""


class Flow(Generic[Item]):
    """Items from one giving thread to one taking thread.

    The giver waits while `capacity` items lie here: a taker that stops cannot make memory grow.

    Parameters
    ----------
    capacity
        Most items that wait.
    stall_seconds
        How long the giver waits for a taker that takes nothing.
    """

    def __init__(self, capacity: int, stall_seconds: float) -> None:
        self._capacity, self._stall_seconds = capacity, stall_seconds
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> None:
        """Hand over an item.

        Raises
        ------
        BrokenOff
            When the taker stopped, or took nothing for `stall_seconds`.
        """
        with self._changed:
            room = lambda: self._stopped or len(self._items) < self._capacity  # noqa: E731
            if not self._changed.wait_for(room, self._stall_seconds):
                raise BrokenOff(f"nothing was taken for {self._stall_seconds} s")
            if self._stopped:
                raise BrokenOff("the other side stopped")
            self._items.append(item)
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will be given; `error` reaches the taker after the items."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Nothing more will be taken."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def take(self, timeout_seconds: float) -> Item | None:
        """The next item; none when the time is over first.

        Raises
        ------
        Closed
            When all has been taken and the giver closed.
        BrokenOff
            When this side was stopped from another thread.
        BaseException
            The giver's error, when it closed with one.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._items:
                if self._stopped:
                    raise BrokenOff("the other side stopped")
                if self._closed:
                    raise self._error if self._error is not None else Closed
                left = deadline - time.monotonic()
                if left <= 0.0 or not self._changed.wait(left):
                    if self._items:
                        break
                    return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item
