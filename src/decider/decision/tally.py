"""Counts and sums over a run's decisions."""

from __future__ import annotations

import math

import numpy as np

from decider.catalog import Catalog
from decider.decision.charges import Charges
from decider.decision.pricing import RunPrice
from decider.decision.result import STRATA, ResultChunk, RunSummary, SpentBudget
from decider.logbook.schema import RunRecord
from decider_core.counts import count_sets
from decider_core.explore import EXPLORE


class Tally:
    """Adds up chunks; see :class:`RunSummary` for what it counts."""

    def __init__(self, catalog: Catalog, max_messages: int) -> None:
        self._catalog = catalog
        self._per_candidate = np.zeros(catalog.n_candidates, np.int64)
        self._per_count = np.zeros(max_messages + 1, np.int64)
        self._per_stratum = np.zeros(len(STRATA), np.int64)
        self._volume_explore = 0
        self._expected: list[float] = []

    def add(self, chunk: ResultChunk) -> None:
        """Count one chunk."""
        counts = count_sets(chunk.sets, chunk.stratum, self._per_candidate.size, len(STRATA))
        self._per_candidate += counts.per_candidate
        self._per_count += counts.per_count
        self._per_stratum += counts.per_stratum
        self._volume_explore += int(counts.sends_of_stratum[EXPLORE])
        self._expected.append(float(chunk.expected.sum(dtype=np.float64)))

    def summary(self, record: RunRecord, price: RunPrice) -> RunSummary:
        """Everything counted so far of a run."""
        catalog, per = self._catalog, self._per_candidate
        per_message = {message.id: 0 for message in catalog.messages}
        per_channel = dict.fromkeys(catalog.channel_names, 0)
        for candidate in catalog.candidates:
            per_message[candidate.message] += int(per[candidate.index])
            per_channel[candidate.channel] += int(per[candidate.index])
        return RunSummary(
            run_id=record.run_id,
            n_members=int(self._per_count.sum()),
            n_messaged=int(self._per_count[1:].sum()),
            volume=int(per.sum()),
            volume_explore=self._volume_explore,
            price=float(price.theta),
            tie_cut=int(price.tie_cut),
            expected_incremental_reward=math.fsum(self._expected),
            cost=float(per @ catalog.cost.astype(np.float64)),
            per_message=per_message,
            per_channel=per_channel,
            per_count=tuple(self._per_count.tolist()),
            per_stratum=dict(zip(STRATA, self._per_stratum.tolist(), strict=True)),
            budgets=self._spent(record),
            bound=record.bound,
            gap=record.gap,
        )

    def _spent(self, record: RunRecord) -> tuple[SpentBudget, ...]:
        if not record.budgets:
            return ()
        charges = Charges(self._catalog, record.theta or 0.0, record.budgets)
        spent = charges.spent(self._per_candidate).tolist()
        return tuple(
            SpentBudget(budget.channel, budget.unit, budget.amount, budget.price, budget.tie_cut, amount)
            for budget, amount in zip(record.budgets, spent, strict=True)
        )
