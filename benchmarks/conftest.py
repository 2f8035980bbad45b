"""Runs a comparison of `decider.bench` under pytest-benchmark: its function is timed, its ratios are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench import Effort, Row
from decider.bench.comparison import Comparison


@pytest.fixture
def compare(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[Row]]:
    def run(comparison: Comparison, round_seconds: float = 0.02) -> list[Row]:
        rows = comparison.rows(Effort(), round_seconds=round_seconds)
        benchmark.group = comparison.case
        benchmark.pedantic(comparison.call, rounds=3)
        benchmark.extra_info |= {f"times {row.against}": row.ratio for row in rows}
        with capsys.disabled():
            for row in rows:
                print(
                    f"\n{row.case} {row.shape}: {row.value:,.4g} {row.unit}, {row.ratio:.3g} times {row.against}"
                )
        return rows

    return run
