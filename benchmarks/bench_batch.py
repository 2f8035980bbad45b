"""Bulk runs and BatchDecide of a whole snapshot at a size of one's own.

``python -m benchmarks.bench_batch [--members N | --config FILE] [--rounds N] [--case bulk|batch]`` prints the rows of
the cases `bulk` and `batch`; with `--config`, over a house of W1 that is there already.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.batch import measure_batch, over_grpc, server
from decider.bench.bulk import measure_bulk
from decider.bench.w1 import write_w1
from decider.service.client import DeciderClient


@pytest.mark.parametrize("n_members", [200_000], ids=["m2e5-k32-d32"])
def test_batch_over_grpc(benchmark: BenchmarkFixture, tmp_path: Path, n_members: int) -> None:
    config = write_w1(tmp_path, n_members)
    turns = iter(range(1_000))
    with server(config) as address, DeciderClient(address) as client:
        benchmark.group = "batch"
        answered, _ = benchmark.pedantic(
            lambda: over_grpc(client, f"turn-{next(turns)}", defer=True), rounds=3, warmup_rounds=1
        )
    assert answered == n_members


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--config", type=Path, help="a house of W1, instead of a new one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=("bulk", "batch"), action="append")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        config = options.config or write_w1(Path(folder), options.members)
        cases = {"bulk": measure_bulk, "batch": measure_batch}
        for name in options.case or cases:
            for row in cases[name](config, options.rounds):
                kept = (
                    "" if row.holds is None else ", goal held" if row.holds else f", goal {row.goal} MISSED"
                )
                print(
                    f"{row.case} {row.shape}: {row.value:,.4g} {row.unit}, {row.ratio:.2f} of {row.against}{kept}"
                )


if __name__ == "__main__":
    main()
