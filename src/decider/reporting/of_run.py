"""From a finished run of the logbook to what the report shows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.decision.engine import Engine
from decider.decision.policy import Policy
from decider.decision.result import STRATA
from decider.logbook import Logbook
from decider.logbook.schema import RunRecord
from decider.logbook.segments import n_places
from decider.reporting.sections.decided import CellView, RunView
from decider.reporting.sections.exploration import Planned
from decider_core.counts import count_sets


def run_view(log: Logbook, engine: Engine, run: RunRecord) -> RunView:
    """Read what a run decided, cell by cell where it ran an experiment, and why members were sent nothing.

    Parameters
    ----------
    log
        Holds the run's segments.
    engine
        On the same log: finds the policies that decided, and who might have got what.
    run
        Its record; it must have finished.

    Raises
    ------
    NotReady
        When a version that it was made with is not here any more.
    """
    cells = [_Counted(run) for _ in range(len(run.cells) or 1)]
    for info in log.segments(run.run_id):
        frame = log.read_segment(info)
        for code, counted in enumerate(cells):
            counted.add(frame.filter(pl.col("cell") == code) if run.cells else frame)
    policies = engine.policies_of(run.run_id)
    summary: Mapping[str, Any] = run.summary
    per_candidate = np.sum([counted.per_candidate for counted in cells], axis=0)
    return RunView(
        run_id=run.run_id,
        policy=run.policy,
        n_members=summary["n_members"],
        n_sends=summary["volume"],
        n_explored=summary["volume_explore"],
        price=_one_price(run),
        expected_reward=summary["expected_incremental_reward"],
        per_candidate=_named(run, per_candidate),
        per_channel=summary["per_channel"],
        per_count=dict(enumerate(summary["per_count"])),
        per_stratum=summary["per_stratum"],
        planned=_planned(policies, [counted.n_members for counted in cells]),
        unsent=engine.unsent(run.run_id),
        budget_prices={budget.channel or "all": budget.price or 0.0 for budget in run.budgets},
        cells=[
            CellView(
                name=cell.name,
                policy=cell.policy,
                n_members=counted.n_members,
                n_sends=int(counted.per_candidate.sum()),
                price=cell.theta if _sends(policy) else None,
                expected_reward=math.fsum(counted.expected),
                per_candidate=_named(run, counted.per_candidate),
                per_count=counted.per_count,
            )
            for cell, policy, counted in zip(run.cells, policies, cells, strict=True)
        ]
        if run.cells
        else (),
    )


class _Counted:
    """Counts and sums over the decisions of one cell, or of all."""

    def __init__(self, run: RunRecord) -> None:
        self.n_members = 0
        self.per_candidate = np.zeros(len(run.candidates), np.int64)
        self.per_count: dict[int, int] = {}
        self.expected: list[float] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Count some rows of a segment."""
        if not frame.height:
            return
        codes = frame.select(f"c{place}" for place in range(n_places(frame.columns)))
        sets = np.ascontiguousarray(codes.to_numpy().T)
        counts = count_sets(sets, frame["stratum"].to_numpy(), self.per_candidate.size, len(STRATA))
        self.n_members += frame.height
        self.per_candidate += counts.per_candidate
        for count, members in enumerate(counts.per_count.tolist()):
            self.per_count[count] = self.per_count.get(count, 0) + members
        self.expected.append(float(frame["expected"].to_numpy().sum(dtype=np.float64)))


def _named(run: RunRecord, per_candidate: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(run.candidates, per_candidate.tolist(), strict=True))


def _sends(policy: Policy) -> bool:
    return policy.holdout < 1.0


def _one_price(run: RunRecord) -> float | None:
    """The price of the run, where it is one: budgets have their own, and cells other than the first, the holdout."""
    if run.budgets:
        return None
    prices = {cell.theta for cell in run.cells[1:]} or {run.theta}
    return prices.pop() if len(prices) == 1 else None


def _planned(policies: Sequence[Policy], n_members: Sequence[int]) -> dict[str, Planned]:
    """Planned shares of the strata over all cells; which member is in which cell is not left to chance."""
    chances = []
    for policy in policies:
        exploring = (1.0 - policy.holdout) * (1.0 if policy.kind == "random" else policy.explore)
        chances.append((policy.holdout, exploring, 1.0 - policy.holdout - exploring))
    chance, members = np.array(chances), np.array(n_members, np.float64)
    total = max(members.sum(), 1.0)
    share = members @ chance / total
    error = np.sqrt(members @ (chance * (1.0 - chance)).clip(0.0)) / total
    return {name: Planned(*each) for name, *each in zip(STRATA, share.tolist(), error.tolist(), strict=True)}
