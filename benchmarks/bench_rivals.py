"""W1 with limits on two threads beside Vowpal Wabbit and MABWiser in two processes, in one run.

Neither makes sets under caps and a price; both choose one candidate a member. They are not among the dependencies:
``pip install '.[rivals]'``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
from threadpoolctl import threadpool_limits

from benchmarks.rivals import PROCESSES, Rival, mabwiser, vowpal_wabbit
from decider.bench import Row
from decider.bench.comparison import Baseline
from decider.bench.thompson import chain

ROUND_SECONDS = 0.5
"""So long that the threads of a rival's BLAS, which spin for a while after their work, disturb little of ours."""


class Against(NamedTuple):
    """A rival and how it is set up."""

    package: str
    name: str
    make: Callable[[], Callable[[], Any]]
    n_members: int
    """That each of its processes decides for in a call."""
    blas_threads: int | None
    goal: float | None


RIVALS = {
    "vowpalwabbit": Against("vowpalwabbit", "Vowpal Wabbit", vowpal_wabbit, 5_000, None, 80.0),
    "mabwiser": Against("mabwiser", "MABWiser LinTS", mabwiser, 2_000, None, 170.0),
    "mabwiser-blas1": Against("mabwiser", "MABWiser LinTS, BLAS on a thread", mabwiser, 2_000, 1, None),
}


@pytest.mark.parametrize("against", RIVALS.values(), ids=RIVALS)
def test_rival(compare: Callable[..., list[Row]], against: Against) -> None:
    if find_spec(against.package) is None:
        pytest.skip(f"{against.package} is not installed: pip install '.[rivals]'")
    rival = Rival(against.make, against.blas_threads)
    with threadpool_limits(1):
        ours = chain("rivals", "full", True, PROCESSES, None, 0.0)
        baseline = Baseline(against.name, rival, against.n_members * PROCESSES, against.goal)
        rows = compare(ours._replace(baselines=(baseline,)), ROUND_SECONDS)
    rival.pool.shutdown()
    assert not any(row.holds is False for row in rows)
