"""Decide against an empty unary echo of the same bytes on the same stack; single calls; what h2load gives.

``python -m benchmarks.bench_service`` prints the rows of ``decider bench --case decide``, and what one and two
server processes on one port give under h2load, where that is installed.
``pytest benchmarks/bench_service.py --benchmark-only`` times single calls, replay and explain.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.case import Effort
from decider.bench.decide import CASE
from decider.bench.house import FIRST_ID, N_CANDIDATES, build_house
from decider.bench.stack import DECIDE, ECHO, request_bytes, start_echo
from decider.clock import SystemClock
from decider.config import load_config
from decider.decision.engine import Engine
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.loop import run
from decider.service.start import open_service

N_MEMBERS = 3_000


@dataclass(frozen=True)
class Stack:
    """A service and an echo in this process."""

    engine: Engine
    ports: dict[str, int]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    composition, server = open_service(load_config(build_house(tmp_path_factory.mktemp("house"), N_MEMBERS)))
    server.start()
    echo, echo_port = run(start_echo(bytes(500)))
    yield Stack(composition.engine, {DECIDE: server.port, ECHO: echo_port})
    run(echo.stop(0.0))
    server.stop(0.0)
    composition.close()


@pytest.mark.parametrize("method", [DECIDE, ECHO], ids=["decide", "echo"])
def test_one_call(benchmark: BenchmarkFixture, stack: Stack, method: str) -> None:
    now, place = SystemClock().now_micros(), iter(range(10**9))
    with grpc.insecure_channel(f"127.0.0.1:{stack.ports[method]}") as channel:
        call = channel.unary_unary(method)
        benchmark(lambda: call(request_bytes(f"{method}-{(n := next(place))}", n % N_MEMBERS, now)))


def test_explain(benchmark: BenchmarkFixture, stack: Stack) -> None:
    """Replay one decision and explain it, over gRPC."""
    at = pl.Series([SystemClock().now_micros()]).cast(pl.Datetime("us", "UTC"))[0]
    with DeciderClient(f"127.0.0.1:{stack.ports[DECIDE]}") as client:
        decided = client.decide(FIRST_ID, request_id="explain", decision_time=at)
        explanation = benchmark(lambda: client.explain(decided.decision_id))
        assert explanation.reproduced
        assert len(explanation.trace) == N_CANDIDATES


def test_explain_in_process(benchmark: BenchmarkFixture, stack: Stack) -> None:
    """The same without the wire."""
    at = pl.Series([SystemClock().now_micros()]).cast(pl.Datetime("us", "UTC"))[0]
    with DeciderClient(f"127.0.0.1:{stack.ports[DECIDE]}") as client:
        decided = client.decide(FIRST_ID, request_id="explain-here", decision_time=at)
    assert benchmark(lambda: stack.engine.explain(decided.decision_id)).reproduced


def test_batch(benchmark: BenchmarkFixture, stack: Stack) -> None:
    """All members through BatchDecide as columns, nothing logged."""
    ids = pl.Series(range(FIRST_ID, FIRST_ID + N_MEMBERS))
    at = pl.Series([SystemClock().now_micros()]).cast(pl.Datetime("us", "UTC"))[0]
    place = iter(range(10**9))
    with DeciderClient(f"127.0.0.1:{stack.ports[DECIDE]}") as client:

        def decide_all() -> None:
            options = BatchOptions(request_id=f"batch-{next(place)}", decision_time=at, dry_run=True)
            assert client.batch_decide(ids, options).finish().member_count == N_MEMBERS

        benchmark(decide_all)


if __name__ == "__main__":
    for row in CASE.measure(Effort()):
        sys.stdout.write(f"{row}\n")
