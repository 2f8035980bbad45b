"""Decide against an empty unary echo of the same bytes on the same stack; single calls; what h2load gives.

``python -m benchmarks.bench_service`` prints the rows of ``decider bench --case decide``, and what one and two
server processes on one port give under h2load, where that is installed.
``pytest benchmarks/bench_service.py --benchmark-only`` times single calls, replay and explain.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.case import Effort
from decider.bench.decide import CASE, service
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


def h2load(n_fronts: int, seconds: int = 3) -> Iterator[str]:
    """Calls a second under h2load, through so many front processes, beside as many echo processes.

    h2load sends one and the same request over and over. Logged, it would be decided once and then looked up; so
    it asks for a dry run: the whole decision, no log.
    """
    if shutil.which("h2load") is None:
        yield "h2load: skipped, it is not installed"
        return
    with TemporaryDirectory() as folder, service(Path(folder), 20_000, n_fronts, 1) as generator:
        request = request_bytes("h2load", 7, SystemClock().now_micros(), dry_run=True)
        body = Path(folder) / "body"
        body.write_bytes(b"\0" + len(request).to_bytes(4) + request)
        rates = {}
        for method in (DECIDE, ECHO):
            done = subprocess.run(
                [
                    "h2load", "-c", "8", "-m", "8", "-D", str(seconds), "--warm-up-time=1", "-d", str(body),
                    "-H", "content-type: application/grpc", "-H", "te: trailers",
                    f"http://127.0.0.1:{generator.ports[method]}{method}",
                ],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            found = re.search(r"finished in [^,]+, ([0-9.]+) req/s", done.stdout)
            assert found, done.stdout
            rates[method] = float(found[1])
        share = rates[DECIDE] / rates[ECHO]
        told = f"{rates[DECIDE]:.0f} decisions/s, {rates[ECHO]:.0f} echoes/s, {share:.2f}"
        yield f"h2load, {n_fronts} on one port: {told}"


if __name__ == "__main__":
    for row in CASE.measure(Effort()):
        sys.stdout.write(f"{row}\n")
    for n_fronts in (1, 2):
        for line in h2load(n_fronts):
            sys.stdout.write(line + "\n")
