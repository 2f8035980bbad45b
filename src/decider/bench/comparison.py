"""One function beside its baselines: what most cases consist of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from decider.bench.case import Effort, Row, row_of
from decider.bench.timing import median_seconds


class Baseline(NamedTuple):
    """What the function is compared with."""

    name: str
    call: Callable[[], object]
    work: float
    """Units of work that a call does, in the unit of the comparison."""
    goal: float | None = None
    """The least ratio of the rates."""


class Comparison(NamedTuple):
    """A function, and what it is compared with in the same run."""

    case: str
    shape: str
    unit: str
    """Work a second, as ``members/s``."""
    call: Callable[[], object]
    work: float
    """Units of work that a call does."""
    baselines: tuple[Baseline, ...]

    def rows(self, effort: Effort, rounds: int = 5, round_seconds: float = 0.02) -> list[Row]:
        """Measure in turn; one row for each baseline."""
        effort.report(f"{self.case} {self.shape}", 0, None)
        seconds, *others = median_seconds(
            self.call,
            *(baseline.call for baseline in self.baselines),
            rounds=effort.rounds(rounds),
            round_seconds=round_seconds,
            clock=effort.clock,
        )
        return [
            row_of(
                self.case, self.shape, self.work / seconds, self.unit,
                baseline.name, baseline.work / other, baseline.goal,
            )
            for baseline, other in zip(self.baselines, others, strict=True)
        ]  # fmt: skip
