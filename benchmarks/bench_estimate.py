"""Off-policy sums over 32 actions with 200 resamples: one pass against a loop in NumPy, in one run.

`DECIDER_BENCH_ROWS` sets the number of rows; the full size is 10,000,000, which `decider bench --case ope` takes.
"""

from __future__ import annotations

import os

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench import Effort
from decider.bench.ope import N_RESAMPLES, Resamples, compared, logged, numpy_columns, one_pass
from decider_core.estimate import values

SIZES = [int(float(os.environ.get("DECIDER_BENCH_ROWS", "1e6")))]


@pytest.mark.parametrize("n", SIZES, ids="m{:.0e}".format)
def test_resamples(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], n: int) -> None:
    # Both have one spread, and 200 resamples tell it to 5 % of itself: the bounds are at five of that.
    small = logged(5_000)
    ours = values(one_pass(small, threads=1)).resampled_dr.std()
    assert 0.65 < ours / Resamples(numpy_columns(small), 1, N_RESAMPLES)()[:, 2].std() < 1.5
    row = compared(Effort(), n, threads=2)
    rows = logged(n)
    benchmark.pedantic(one_pass, args=(rows, 2), rounds=3)
    benchmark.extra_info |= {"times_numpy": row.ratio}
    with capsys.disabled():
        print(f"\n{row.shape}: {row.value:,.0f} rows/s, {row.ratio:.0f} times NumPy")
