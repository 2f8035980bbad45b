"""BatchDecide of a whole snapshot over gRPC, client and server on one machine, against the run in process.

``python -m benchmarks.bench_batch [--members N] [--json]`` prints members a second of both and their ratio.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.w1 import write_w1
from decider.config import load_config
from decider.decision.request import RunRequest
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.compose import compose

TIME = datetime(2026, 9, 1, 12, tzinfo=UTC)
GOAL = 400_000
"""Members a second to hold at least."""


@contextmanager
def server(config: Path) -> Iterator[str]:
    """A server process; gives its address."""
    command = [sys.executable, "-m", "decider.cli.main", "serve", "--config", str(config), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"]
        process.terminate()


def over_grpc(client: DeciderClient, name: str, *, defer: bool) -> tuple[int, float]:
    """Members answered, and the seconds that it took to read every answer."""
    options = BatchOptions(request_id=name, decision_time=TIME, defer_propensities=defer)
    began = time.perf_counter()
    n_members = sum(table.height for table in client.batch_decide(None, options))
    return n_members, time.perf_counter() - began


def in_process(config: Path, n_rounds: int, *, defer: bool) -> list[float]:
    """Members a second of runs without a server, durable log on."""
    rates = []
    with compose(load_config(config)) as composition:
        for turn in range(n_rounds + 1):
            request = RunRequest(
                request_id=f"in-process-{defer}-{turn}",
                decision_time_micros=int(TIME.timestamp()) * 1_000_000,
                defer_propensities=defer,
            )
            began = time.perf_counter()
            run = composition.engine.start_run(request, whole_snapshot=True)
            n_members = sum(chunk.n_members for chunk in run.finish())
            rates.append(n_members / (time.perf_counter() - began))
    return rates[1:]


def measure(n_members: int, n_rounds: int = 3, *, defer: bool = True) -> dict[str, Any]:
    """The case `batch`: median members a second over gRPC, and in process."""
    with TemporaryDirectory() as folder:
        config = write_w1(Path(folder), n_members)
        alone = in_process(config, n_rounds, defer=defer)
        with server(config) as address, DeciderClient(address) as client:
            over_grpc(client, "warm", defer=defer)
            served = []
            for turn in range(n_rounds):
                answered, seconds = over_grpc(client, f"turn-{turn}", defer=defer)
                served.append(answered / seconds)
    return {
        "case": "batch",
        "shape": f"m{n_members}-k32-d32",
        "value": median(served),
        "unit": "members/s",
        "baseline": median(alone),
        "ratio": median(served) / median(alone),
        "goal": GOAL,
        "holds": median(served) >= GOAL,
        "propensities": "deferred" if defer else "with the decision",
    }


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
    """Print the case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--with-propensities", action="store_true", help="do not defer them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.members, defer=not options.with_propensities)
    if options.json:
        print(json.dumps(found))
    else:
        verdict = "held" if found["holds"] else "MISSED"
        print(f"{found['shape']}: {found['value']:,.0f} members/s over gRPC, goal {GOAL:,}: {verdict}")
        print(f"in process {found['baseline']:,.0f}, ratio {found['ratio']:.2f}")


if __name__ == "__main__":
    main()
