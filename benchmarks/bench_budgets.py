"""One price per channel at once: seconds and the gap that the prices certify, 100,000 members x 32 candidates."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider_core.assemble import Caps, assemble
from decider_core.budgets import BudgetPrices, Outcome, outcome_of, price_for_budgets

N, K, MAX_MESSAGES = 100_000, 32, 3


def solve(n_budgets: int, equal_costs: bool) -> tuple[BudgetPrices, int, float]:
    """Return the prices for budgets of 30 % of what goes out at no price, the passes taken, and their seconds."""
    g = np.random.default_rng(0)
    value = g.normal(0.3, 1.0, (K, N)).astype(np.float32)
    cost = np.ones(K, np.float32) if equal_costs else g.choice([0.5, 1.0, 1.5, 4.0], K).astype(np.float32)
    budget = (np.arange(K) % n_budgets).astype(np.int32)
    room = np.full(N, MAX_MESSAGES, np.int16)
    caps = Caps(budget, budget, room, *(np.tile(room, (n_budgets, 1)),) * 2, MAX_MESSAGES)
    reason, fatigue, keys = np.zeros((K, N), np.uint8), np.zeros(N, np.float32), np.zeros(N, np.uint64)
    n_passes = 0

    def outcome_at(theta: np.ndarray) -> Outcome:
        nonlocal n_passes
        n_passes += 1
        price = np.ascontiguousarray(theta[budget])
        found = assemble(value, reason, fatigue, 0.0, cost, price, 0, keys, caps)
        return outcome_of(*found, cost, budget, n_budgets)

    budgets = np.floor(outcome_at(np.zeros(n_budgets, np.float32)).spend * 0.3)
    began = time.perf_counter()
    return price_for_budgets(outcome_at, budgets), n_passes, time.perf_counter() - began


@pytest.mark.parametrize("equal_costs", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize("n_budgets", [1, 4], ids=lambda n: f"m1e5-k32-b{n}")
def test_budgets(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], n_budgets: int, equal_costs: bool
) -> None:
    found, n_passes, seconds = benchmark.pedantic(lambda: solve(n_budgets, equal_costs), rounds=1)
    assert found.gap <= 1e-3
    with capsys.disabled():
        kind = "equal" if equal_costs else "unequal"
        print(f"\nbudgets {n_budgets}, {kind} costs: {seconds:.2f} s, {n_passes} passes, gap {found.gap:.1e}")
