"""Time as a port: a real clock for the service, one set by hand for tests and simulations."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now_micros(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_micros(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000


class ManualClock:
    """A clock that stands still until it is told to move.

    Parameters
    ----------
    now_micros
        Where it starts, in microseconds since the Unix epoch.
    """

    def __init__(self, now_micros: int = 0) -> None:
        self._now = now_micros

    def now_micros(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return self._now

    def advance(self, micros: int) -> None:
        """Move forward by `micros` microseconds (never backwards)."""
        if micros < 0:
            raise ValueError(f"micros must be >= 0, got {micros}")
        self._now += micros
