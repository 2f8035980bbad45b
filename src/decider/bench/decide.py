"""Decide over gRPC, durable log on, against an empty unary echo of the same bytes on the same stack.

Server and load generator are processes of their own. 64 callers in a closed loop, turn about between the two
methods, so that both see the same machine; then both at half of Decide's rate, calls at random times.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from decider.bench.case import Case, Effort, Row, row_of
from decider.bench.house import build_house
from decider.bench.load import write_requests
from decider.bench.stack import DECIDE, ECHO, request_bytes
from decider.clock import SystemClock

N_CALLERS = 64
N_CONNECTIONS = 4
N_REQUESTS = 400_000
GOAL, GOAL_LATENCY = 0.8, 1.5


def measure(effort: Effort) -> Iterator[Row]:
    """Calls a second, and latency at half load."""
    n_members, seconds = (5_000, 1.0) if effort.short else (100_000, 3.0)
    with TemporaryDirectory() as folder, _stack(Path(folder), n_members) as (ports, requests):
        generator = _Generator(ports, requests)
        rounds = effort.rounds(2 if effort.short else 5)
        generator.run(DECIDE, min(seconds, 1.0), "closed", N_CALLERS)
        found: dict[str, list[dict[str, float]]] = {DECIDE: [], ECHO: []}
        for turn in range(rounds):
            effort.report("calls a second", turn, rounds)
            for method, loads in found.items():
                loads.append(generator.run(method, seconds, "closed", N_CALLERS))
        rate, echo = (statistics.median(load["rate"] for load in found[m]) for m in (DECIDE, ECHO))
        yield row_of("decide", f"callers{N_CALLERS}", rate, "calls/s", "an empty echo", echo, GOAL)
        at_half: dict[str, list[dict[str, float]]] = {DECIDE: [], ECHO: []}
        flushes = []
        for turn in range(rounds):
            effort.report("half load", turn, rounds)
            flushes += _flush_seconds(Path(folder))
            for method, loads in at_half.items():
                loads.append(generator.run(method, seconds, "open", rate / 2))
        flush = statistics.median(flushes)
        for name, goal in (("p50", None), ("p99", GOAL_LATENCY)):
            decide, echo = (
                statistics.median(load[name] for load in at_half[m]) * 1e3 for m in (DECIDE, ECHO)
            )
            yield row_of(
                "decide", f"half-load-{name}, less one fsync", decide - flush * 1e3, "ms", "an empty echo", echo,
                goal, at_most=True,
            )  # fmt: skip


@contextmanager
def _stack(directory: Path, n_members: int) -> Iterator[tuple[dict[str, int], Path]]:
    """The server process; its ports, and a file of requests."""
    config, requests = build_house(directory, n_members), directory / "requests"
    now = SystemClock().now_micros()
    write_requests(
        requests, [request_bytes(f"r{n:08}", n * 7919 % n_members, now + n) for n in range(N_REQUESTS)]
    )
    command = [sys.executable, "-m", "decider.bench.stack", str(config), str(n_members)]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline()), requests
    finally:
        server.communicate()


class _Generator:
    """Runs loads, each with requests that no other has sent."""

    def __init__(self, ports: dict[str, int], requests: Path) -> None:
        self._ports = {DECIDE: ports["port"], ECHO: ports["echo"]}
        self._requests, self._first = requests, 0

    def run(self, method: str, seconds: float, kind: str, how: float) -> dict[str, float]:
        command = [
            sys.executable, "-m", "decider.bench.load", str(self._ports[method]), method, str(self._requests),
            str(self._first), str(N_CONNECTIONS), str(seconds), kind, str(how),
        ]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        if found["n_failed"]:
            raise RuntimeError(f"{found['n_failed']} calls of {method} failed")
        if method == DECIDE:
            self._first += found["n"] + N_CALLERS
        return found


def _flush_seconds(directory: Path, n: int = 100) -> list[float]:
    """How long it takes to append 4 KiB and force them to the disk."""
    seconds = []
    with (directory / "flushed").open("ab") as file:
        for _ in range(n):
            start = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return seconds


CASE = Case("decide", "Decide over gRPC, durable, against an empty call on the same stack", measure)
