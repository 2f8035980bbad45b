"""What a run with budgets is worth, beside the optimum that a linear programme finds: no caps but the member's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from decider.bench.w1 import CHANNELS, write_w1
from decider.config import load_config
from decider.decision.held import weigh
from decider.decision.pricing import RunPrice
from decider.decision.request import Budget, RunRequest
from decider.service.compose import compose
from decider_core.explore import EXPLOIT
from tests.decision.world import TIME

N_MEMBERS, SHARES = 2_000, (0.3, 0.2, 0.05, 0.15)


def test_no_choice_within_the_budgets_is_worth_more(tmp_path: Path) -> None:
    amounts = {channel: int(share * N_MEMBERS) for channel, share in zip(CHANNELS, SHARES, strict=True)}
    request = RunRequest(
        request_id="optimum",
        decision_time_micros=TIME,
        budgets=tuple(Budget(channel=channel, messages=n) for channel, n in amounts.items()),
        defer_propensities=True,
        dry_run=True,
    )
    config = write_w1(tmp_path, N_MEMBERS, n_candidates=16, n_features=8)
    policies = tmp_path / "policies.toml"
    policies.write_text(policies.read_text().replace("price = 1.2", "price = 0.0"))
    with compose(load_config(config)) as composition:
        run = composition.engine.start_run(request, whole_snapshot=True)
        chunks, summary = list(run.finish()), run.summary
        members = run._members()
        seen = members.observe(np.zeros(0, np.int64))
        question = members.asking.question(
            np.arange(N_MEMBERS), seen, RunPrice.at(0.0), with_propensities=False
        )
        weighed, catalog = weigh(question), composition.engine.parts.catalog
    value = sum(float(np.nansum(c.gains[:, c.stratum == EXPLOIT], dtype=np.float64)) for c in chunks)
    left = np.array(list(amounts.values())) - np.bincount(catalog.channel, weighed.drawn, len(CHANNELS))
    optimum = linear_optimum(
        weighed.lanes.value[:, weighed.priced], catalog.channel, left, catalog.max_messages
    )
    assert value <= optimum * (1 + 1e-6)
    assert optimum <= (summary.bound or 0.0) * (1 + 1e-6)
    assert value == pytest.approx(optimum, rel=1e-3)
    assert [each.spent for each in summary.budgets] == list(amounts.values())


def linear_optimum(value: np.ndarray, channel: np.ndarray, budgets: np.ndarray, max_messages: int) -> float:
    """The most that messages are worth, fractions of them allowed: by HiGHS' interior point."""
    candidate, member = np.nonzero(value > 0)
    pairs = np.arange(candidate.size)
    of_member = csr_array((np.ones(pairs.size), (member, pairs)), (value.shape[1], pairs.size))
    of_channel = csr_array((np.ones(pairs.size), (channel[candidate], pairs)), (budgets.size, pairs.size))
    room = np.concatenate([np.full(value.shape[1], float(max_messages)), budgets])
    worth = value[candidate, member].astype(np.float64)
    found = linprog(-worth, vstack([of_member, of_channel]).tocsr(), room, bounds=(0, 1), method="highs-ipm")
    assert found.status == 0
    return -float(found.fun)
