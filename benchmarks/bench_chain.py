"""W1 from features to message sets: moments, draws, best three; against the sgemm bound and against NumPy.

All on one thread in one run. The bound counts the multiply-adds of the moments alone,
``k (d (d + 1) / 2 + d)`` a member for a full covariance, at the rate of a large square sgemm.
"""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from decider.bench.chain import CHUNK, Chain
from decider.bench.thompson import chain
from decider.bench.timing import median_seconds


@pytest.mark.parametrize("limits", ["caps", "free"])
@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_chain(compare, capsys: pytest.CaptureFixture[str], form: str, limits: str) -> None:
    limited = limits == "caps"
    with threadpool_limits(1):
        compare(chain("chain", form, limited, threads=1, of_sgemm=None, times_numpy=0.0))
    one = Chain(form, limited)
    of_steps = median_seconds(*one.steps.values(), round_seconds=0.02)
    told = ", ".join(f"{name} {s / CHUNK * 1e9:.0f}" for name, s in zip(one.steps, of_steps, strict=True))
    with capsys.disabled():
        print(
            f"\nns a member, each step alone: {told}; {(one.sets[0] >= 0).sum() / CHUNK:.2f} messages a member"
        )
