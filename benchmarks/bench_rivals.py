"""W1 with limits on two threads beside Vowpal Wabbit and MABWiser in two processes, in one run.

Neither makes sets under caps and a price; both choose one candidate a member. They are not among the dependencies:
``pip install '.[rivals]'``.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from threadpoolctl import threadpool_limits

from benchmarks.rivals import PROCESSES, Rival, mabwiser, vowpal_wabbit
from decider.bench.comparison import Baseline
from decider.bench.thompson import chain

RIVALS = {
    "vowpalwabbit": ("Vowpal Wabbit", vowpal_wabbit, 5_000, 80.0),
    "mabwiser": ("MABWiser LinTS", mabwiser, 2_000, 170.0),
}


@pytest.mark.parametrize("package", RIVALS)
def test_rival(compare, package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install '.[rivals]'")
    name, make, n_members, goal = RIVALS[package]
    rival = Rival(make)
    with threadpool_limits(1):
        ours = chain("rivals", "full", True, PROCESSES, None, 0.0)
        baseline = Baseline(name, rival, n_members * PROCESSES, goal)
        rows = compare(ours._replace(baselines=(baseline,)))
    rival.pool.shutdown()
    assert all(row.holds for row in rows)
