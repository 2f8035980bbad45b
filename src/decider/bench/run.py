"""Runs cases, and measures again what falls short of its reference before it is believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from decider.bench.case import Case, Effort, Row
from decider.bench.reference import LOST, Reference, kept

_AGAIN: Final = (3, 6)
"""Times the usual rounds, when a case that fell short is measured again."""


class Verdict(NamedTuple):
    """A row, and what it keeps of its reference ratio."""

    row: Row
    kept: float | None
    """1 for all of it; None where there is no reference."""

    @property
    def lost(self) -> bool:
        """Whether more than the share LOST is gone."""
        return self.kept is not None and self.kept < 1.0 - LOST

    @property
    def passes(self) -> bool:
        """Whether the goal holds, if there is one, and the reference is kept, if there is one."""
        return self.row.holds is not False and not self.lost


def run_cases(
    cases: Iterable[Case], effort: Effort, reference: Reference | None = None
) -> Iterator[list[Verdict]]:
    """Measure cases one after another; give the rows of each as they are done.

    Notes
    -----
    A machine that is busy with something else may take a fifth from one side of a ratio for a moment. So a case
    with a row that lost too much is measured again, twice at most, each time with more rounds, and every row
    counts with the best that it reached: what is lost for good is lost each time.
    """
    for case in cases:
        found = _verdicts(case, effort, reference)
        for more in _AGAIN:
            if not any(verdict.lost for verdict in found.values()):
                break
            for key, again in _verdicts(case, effort._replace(more=more), reference).items():
                if key not in found or (again.kept or 0.0) > (found[key].kept or 0.0):
                    found[key] = again
        yield list(found.values())


def _verdicts(case: Case, effort: Effort, reference: Reference | None) -> dict[str, Verdict]:
    effort.report(case.name, 0, None)
    rows = (row.without_goal() if effort.short else row for row in case.measure(effort))
    return {row.key: Verdict(row, None if reference is None else kept(row, reference)) for row in rows}


def medians(passes: Iterable[Iterable[Row]]) -> dict[str, float]:
    """Return the median ratio of each row over several passes: what to record as the reference."""
    ratios: dict[str, list[float]] = {}
    for rows in passes:
        for row in rows:
            ratios.setdefault(row.key, []).append(row.ratio)
    return {key: sorted(each)[len(each) // 2] for key, each in ratios.items()}
