"""A case of the bench, and the rows that it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """One measurement beside its baseline; made by :func:`row_of`."""

    case: str
    shape: str
    """Sizes: m members, k candidates, d features, t threads, as ``m1e6-k32-d32-t2``."""
    value: float
    """What was measured, in `unit`: the median."""
    unit: str
    against: str
    """What the baseline is."""
    baseline: float
    """Its median in the same run, in the same unit."""
    ratio: float
    """value / baseline."""
    goal: float | None
    """The ratio to reach; None where none is asked for."""
    at_most: bool
    """Whether the ratio may be at most the goal, instead of at least."""
    holds: bool | None
    """Whether the goal is reached; None without a goal."""

    @property
    def key(self) -> str:
        """What names the row in a file of reference ratios."""
        return f"{self.case} {self.shape} / {self.against}"

    def without_goal(self) -> Row:
        """The row of another size than the one that the goal is for."""
        return self._replace(goal=None, holds=None)


def row_of(
    case: str,
    shape: str,
    value: float,
    unit: str,
    against: str,
    baseline: float,
    goal: float | None = None,
    *,
    at_most: bool = False,
) -> Row:
    """Return the row, with its ratio and whether its goal holds.

    Parameters
    ----------
    value, baseline
        In the same unit; rates rather than times, so that more is better.
    goal
        The least ratio, or the largest if `at_most`.
    """
    ratio = value / baseline
    holds = None if goal is None else (ratio <= goal if at_most else ratio >= goal)
    return Row(case, shape, value, unit, against, baseline, ratio, goal, at_most, holds)


class Report(Protocol):
    """What is told how far a case is."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` (None: not known) of a stage."""


def silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""


class Effort(NamedTuple):
    """How much of a case is measured."""

    short: bool = False
    """Small sizes, a few seconds a case, for the gate that looks for what was lost. Goals are for full sizes."""
    more: int = 1
    """Times as many rounds as usual: what falls short is measured again with more."""
    report: Report = silent

    @property
    def clock(self) -> Callable[[], float]:
        """Time of this thread's processor if short, so that what else runs does not count; else of the wall."""
        return time.thread_time if self.short else time.perf_counter

    def rounds(self, usual: int) -> int:
        """How many rounds to measure."""
        return usual * self.more


class Case(NamedTuple):
    """One subject of the bench."""

    name: str
    what: str
    """One line: what is measured against what."""
    measure: Callable[[Effort], Iterable[Row]]
    """Gives rows as they are measured. In the short form on one thread and with few members."""
