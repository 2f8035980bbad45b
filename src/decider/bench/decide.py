"""Decide over gRPC, durable log on, against an empty unary echo of the same bytes on the same stack.

Server and load generator are processes of their own. 64 callers in a closed loop, turn about between the two
methods, so that both see the same machine. Then at half of Decide's rate, calls at random times, beside the empty
echo and one that answers when a page is on the disk: what that one takes, no durable answer is spared.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from decider.bench.case import Case, Effort, Row, row_of
from decider.bench.house import build_house
from decider.bench.load import write_requests
from decider.bench.stack import DECIDE, ECHO, FORCED_ECHO, request_bytes
from decider.clock import SystemClock
from decider.errors import NotReady, Unavailable

N_CALLERS = 64
N_CONNECTIONS = 4
N_REQUESTS = 400_000
GOAL, GOAL_LATENCY = 0.8, 1.5
MOST_REFUSED = 0.01
"""Share of a load's calls that may be refused, as a server does over its limit while the disk stalls."""


def measure(effort: Effort) -> Iterator[Row]:
    """Calls a second, and latency at half load: through one front process, and without any."""
    for n_fronts in (1, 0):
        with TemporaryDirectory() as folder:
            yield from _rows(effort, Path(folder), n_fronts)


def _rows(effort: Effort, folder: Path, n_fronts: int) -> Iterator[Row]:
    n_members, seconds = (5_000, 1.0) if effort.short else (100_000, 3.0)
    shape = f"fronts{n_fronts}-callers{N_CALLERS}"
    goal, goal_latency = (GOAL, GOAL_LATENCY) if n_fronts else (None, None)
    with service(folder, n_members, n_fronts) as generator:
        rounds = effort.rounds(2 if effort.short else 5)
        generator.run(DECIDE, min(seconds, 1.0), "closed", N_CALLERS)
        found: dict[str, list[dict[str, float]]] = {DECIDE: [], ECHO: []}
        for turn in range(rounds):
            effort.report("calls a second", turn, rounds)
            for method, loads in found.items():
                loads.append(generator.run(method, seconds, "closed", N_CALLERS))
        rate, echo = (statistics.median(load["rate"] for load in found[m]) for m in (DECIDE, ECHO))
        yield row_of("decide", shape, rate, "calls/s", "an empty echo", echo, goal)
        at_half: dict[str, list[dict[str, float]]] = {DECIDE: [], ECHO: [], FORCED_ECHO: []}
        flushes = []
        for turn in range(rounds):
            effort.report("half load", turn, rounds)
            flushes += flush_seconds(folder)
            for method, loads in at_half.items():
                loads.append(generator.run(method, seconds, "open", rate / 2))
        flush = statistics.median(flushes)
        for name in ("p50", "p99"):
            decide, echo, forced = (
                statistics.median(load[name] for load in at_half[m]) * 1e3
                for m in (DECIDE, ECHO, FORCED_ECHO)
            )
            goal_here = goal_latency if name == "p99" else None
            yield row_of(
                "decide", f"{shape}-half-load-{name}, less one fsync of {flush * 1e3:.1f} ms", decide - flush * 1e3,
                "ms", "an empty echo", echo, goal_here, at_most=True,
            )  # fmt: skip
            yield row_of(
                "decide", f"{shape}-half-load-{name}", decide, "ms", "an echo forced to the disk", forced,
                goal_here, at_most=True,
            )  # fmt: skip
        refused = 100.0 * generator.n_refused[DECIDE] / generator.n_calls[DECIDE]
        most = 100.0 * MOST_REFUSED
        yield row_of("decide", f"{shape}-refused", refused, "%", "the limit", most)


@contextmanager
def service(
    directory: Path, n_members: int, n_fronts: int, n_requests: int = N_REQUESTS
) -> Iterator[Generator]:
    """The service with so many fronts, as many echoes, and what makes load for them."""
    config, requests = build_house(directory, n_members), directory / "requests"
    now = SystemClock().now_micros()
    write_requests(
        requests, [request_bytes(f"r{n:08}", n * 7919 % n_members, now + n) for n in range(n_requests)]
    )
    with ExitStack() as stack:
        serving = stack.enter_context(_process("serve", str(config), str(n_members), str(n_fronts)))
        port = 0
        for _ in range(max(n_fronts, 1)):
            echoing = _process("echo", str(serving["n_bytes"]), str(port), str(directory))
            port = stack.enter_context(echoing)["port"]
        yield Generator({DECIDE: serving["port"], ECHO: port, FORCED_ECHO: port}, requests)


@contextmanager
def _process(*arguments: str) -> Iterator[dict[str, int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "decider.bench.stack", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise NotReady(f"the process for {arguments[0]!r} ended before it served")
        yield json.loads(line)
    finally:
        process.communicate()


class Generator:
    """Runs loads, each with requests that no other has sent."""

    def __init__(self, ports: dict[str, int], requests: Path) -> None:
        self.ports = ports
        self.n_calls, self.n_refused = dict.fromkeys(ports, 0), dict.fromkeys(ports, 0)
        """Of each method, in all loads."""
        self._requests, self._first = requests, 0

    def run(self, method: str, seconds: float, kind: str, how: float) -> dict[str, float]:
        """A load for so long: ``closed`` with `how` many callers, or ``open`` at that rate.

        Raises
        ------
        Unavailable
            When the load broke off, or more than MOST_REFUSED of its calls were refused: it is no measurement.
        """
        command = [
            sys.executable, "-m", "decider.bench.load", str(self.ports[method]), method, str(self._requests),
            str(self._first), str(N_CONNECTIONS), str(seconds), kind, str(how),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode:
            why = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise Unavailable(f"a load of {method} broke off: {why[-1]}")
        found: dict[str, Any] = json.loads(done.stdout)
        refused, calls = found["n_failed"], found["n"] + found["n_failed"]
        if refused > MOST_REFUSED * calls:
            raise Unavailable(
                f"{refused:,} of {calls:,} calls of {method} were refused, and at most {MOST_REFUSED:.0%} may be: "
                "what the others took is no measurement; is the disk, or the machine, busy with something else?"
            )
        self.n_calls[method] += calls
        self.n_refused[method] += refused
        if method == DECIDE:
            self._first += calls + N_CALLERS
        return found


def flush_seconds(directory: Path, n: int = 100) -> list[float]:
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
