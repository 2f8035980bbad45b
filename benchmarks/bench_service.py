"""Decide against an empty unary echo of the same bytes on the same stack, in one run; and BatchDecide's rate.

``python -m benchmarks.bench_service`` prints calls a second and the ratio; the callers are a process of their
own and call in a closed loop, turn about between Decide and the echo, so that both see the same machine.
``pytest benchmarks/bench_service.py --benchmark-only`` times single calls.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.clock import ManualClock
from decider.decision.engine import Engine
from decider.logbook import Logbook
from decider.service.answers import time_message
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.decisions import DecisionService
from decider.service.interceptor import CallInterceptor
from decider.service.metrics import Metrics
from decider.service.settings import ServiceSettings
from decider.v1 import decision_service_pb2, decision_service_pb2_grpc
from tests.decision.world import TIME, build_world

DECIDE = "/decider.v1.DecisionService/Decide"
ECHO = "/bench.Echo/Echo"
N_MEMBERS = 3_000


@contextmanager
def stack(directory: Path, n_members: int = N_MEMBERS) -> Iterator[int]:
    """The real engine on a durable log, and an empty echo beside it on the same server; gives the port."""
    world = build_world(directory, n_members)
    with Logbook.open(directory / "bench-log") as log:
        engine = Engine(world.parts, log, ManualClock(TIME), 2, lambda _, parts: parts, lambda: world.parts)
        settings, metrics = ServiceSettings(), Metrics()
        server = grpc.server(
            ThreadPoolExecutor(settings.max_concurrent_rpcs),
            interceptors=(CallInterceptor(metrics),),
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
        )
        decision_service_pb2_grpc.add_DecisionServiceServicer_to_server(
            DecisionService(engine, settings, metrics), server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            server.add_generic_rpc_handlers((echo_handler(directory),))
            server.start()
            (directory / "answer").write_bytes(channel.unary_unary(DECIDE)(request_bytes("first")))
            yield port
        server.stop(0)
        engine.close()


def echo_handler(directory: Path) -> Any:
    """Takes any bytes and answers as many as Decide does, with nothing in between."""
    answer: list[bytes] = []

    def echo(_request: bytes, _context: Any) -> bytes:
        if not answer:
            answer.append((directory / "answer").read_bytes())
        return answer[0]

    methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo, bytes, bytes)}
    return grpc.method_handlers_generic_handler("bench.Echo", methods)


def request_bytes(request_id: str, member: int = 0) -> bytes:
    """One request of Decide."""
    request = decision_service_pb2.DecideRequest(
        request_id=request_id, decision_time=time_message(TIME), policy="heuristic"
    )
    request.member_id.number = 100 + 7 * (member % N_MEMBERS)
    return request.SerializeToString()


def load(port: int, n_callers: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Closed loops of callers, turn about on both methods: calls a second and latencies of each round."""
    found: dict[str, Any] = {DECIDE: [], ECHO: []}
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for turn in range(-1, rounds):
            for method in (DECIDE, ECHO):
                rate, latencies = closed_loop(channel.unary_unary(method), n_callers, seconds, f"{turn}")
                if turn >= 0:
                    latencies.sort()
                    found[method].append((rate, latencies[len(latencies) * 99 // 100]))
    return found


def closed_loop(
    call: Callable[..., bytes], n_callers: int, seconds: float, name: str
) -> tuple[float, list[float]]:
    """Calls a second, and how long each took."""
    latencies: list[list[float]] = [[] for _ in range(n_callers)]
    end = time.perf_counter() + seconds

    def caller(place: int) -> None:
        n = 0
        while (started := time.perf_counter()) < end:
            call(request_bytes(f"{name}-{place}-{n}", place * 1_000 + n), timeout=30)
            latencies[place].append(time.perf_counter() - started)
            n += 1

    threads = [threading.Thread(target=caller, args=(place,)) for place in range(n_callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [latency for of_one in latencies for latency in of_one]
    return len(everything) / seconds, everything


def measure(n_callers: int = 64, seconds: float = 2.0, rounds: int = 5) -> list[dict[str, Any]]:
    """The case `decide`: median calls a second over the rounds, against the echo's."""
    with TemporaryDirectory() as folder, stack(Path(folder)) as port:
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_service",
            "--load",
            str(port),
            str(n_callers),
            str(seconds),
            str(rounds),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    rate, echo = (statistics.median(row[0] for row in found[method]) for method in (DECIDE, ECHO))
    p99, echo_p99 = (statistics.median(row[1] for row in found[method]) for method in (DECIDE, ECHO))
    shape = f"callers{n_callers}"
    return [
        {"case": "decide", "shape": shape, "value": rate, "unit": "calls/s", "baseline": echo,
         "ratio": rate / echo, "goal": 0.8, "holds": rate / echo >= 0.8},
        {"case": "decide-p99", "shape": shape, "value": p99, "unit": "s", "baseline": echo_p99,
         "ratio": p99 / echo_p99, "goal": 1.5, "holds": p99 / echo_p99 <= 1.5},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with stack(tmp_path_factory.mktemp("bench")) as port:
        yield port


@pytest.mark.parametrize("method", [DECIDE, ECHO], ids=["decide", "echo"])
def test_one_call(benchmark: BenchmarkFixture, port: int, method: str) -> None:
    place = iter(range(10**9))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(method)
        benchmark(lambda: call(request_bytes(f"{method}-{(n := next(place))}", n)))


def test_batch(benchmark: BenchmarkFixture, port: int) -> None:
    """All members through BatchDecide as columns, nothing logged."""
    ids = pl.Series([100 + 7 * place for place in range(N_MEMBERS)])
    at = pl.Series([TIME]).cast(pl.Datetime("us", "UTC"))[0]
    place = iter(range(10**9))
    with DeciderClient(f"127.0.0.1:{port}") as client:

        def run() -> None:
            options = BatchOptions(request_id=f"batch-{next(place)}", decision_time=at, dry_run=True)
            assert client.batch_decide(ids, options).finish().member_count == N_MEMBERS

        benchmark(run)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", nargs=4, metavar=("PORT", "CALLERS", "SECONDS", "ROUNDS"))
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.load:
        at_port, n, seconds, rounds = chosen.load
        sys.stdout.write(json.dumps(load(int(at_port), int(n), float(seconds), int(rounds))))
    else:
        for row in measure(chosen.callers, chosen.seconds, chosen.rounds):
            sys.stdout.write(json.dumps(row) + "\n")
