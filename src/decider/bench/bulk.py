"""Bulk runs, from the snapshot to durable checksummed files, against the kernels alone on as many threads."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from threadpoolctl import threadpool_limits

from decider.bench.case import Case, Effort, Report, Row, row_of, silent
from decider.bench.chain import CHUNK, Chain
from decider.bench.threads import together
from decider.bench.w1 import write_w1
from decider.config import Config, load_config
from decider.decision.request import Budget, RunRequest
from decider.service.compose import Composition, compose

TIME: Final = datetime(2026, 9, 1, 12, tzinfo=UTC)
PER_MEMBER: Final = 0.7
"""Sends of a volume run, a member: half of what the lowest price would leave."""
OF_CHANNELS: Final = {"email": 0.25, "push": 0.2, "sms": 0.1, "in_app": 0.15}
"""The same, channel by channel."""
OF_KERNELS: Final = 0.6
MEMORY_GIB: Final = 2.0
"""What a run may hold beyond the mapped snapshot."""
_TURNS: Final = 64
_SAMPLE_SECONDS: Final = 0.02


class BulkRun(NamedTuple):
    """What a run is asked for."""

    name: str
    volume: bool
    """At the exact price of a volume, instead of one that is given."""
    defer: bool
    """Leave the propensities of Thompson's sets to replays."""
    budgets: bool = False
    """At the prices of four budgets, one for each channel."""


RUNS: Final = (
    BulkRun("volume-deferred", volume=True, defer=True),
    BulkRun("price-deferred", volume=False, defer=True),
    BulkRun("budgets-deferred", volume=False, defer=True, budgets=True),
    BulkRun("price-propensities", volume=False, defer=False),
)


def measure(effort: Effort) -> Iterator[Row]:
    """Runs at a volume, a price, and prices of budgets, with the propensities of Thompson's sets and without."""
    n_members = 400_000 if effort.short else 5_000_000
    with TemporaryDirectory() as folder:
        effort.report("writing members", 0, None)
        config = write_w1(Path(folder), n_members)
        yield from measure_bulk(config, effort.rounds(3), report=effort.report)


def measure_bulk(
    config: Path, n_rounds: int = 3, runs: tuple[BulkRun, ...] = RUNS, report: Report = silent
) -> Iterator[Row]:
    """Rows of runs over the whole snapshot of a house of W1, each in turn with the kernels alone.

    Parameters
    ----------
    config
        As :func:`decider.bench.w1.write_w1` gives it; its logbook is emptied before every run.
    n_rounds
        Medians are over so many, after one that is not counted.
    """
    settings = load_config(config)
    n_threads = settings.threads or os.cpu_count() or 1
    kernels = together([Chain("full", limited=False, seed=seed) for seed in range(n_threads)], _TURNS)
    for run in runs:
        rates, alone, memory, n_members = [], [], 0.0, 0
        for turn in range(n_rounds + 1):
            report(f"bulk {run.name}", turn, n_rounds + 1)
            with threadpool_limits(1):
                began = time.perf_counter()
                kernels()
                alone.append(_TURNS * CHUNK * n_threads / (time.perf_counter() - began))
            empty_log(settings)
            with compose(settings) as composition, anonymous_memory() as held:
                n_members = composition.engine.parts.snapshot.n_members
                rates.append(run_rate(composition, run, f"bench-{run.name}-{time.time_ns()}"))
            memory = max(memory, held.most - held.before)
        shape = f"m{n_members}-k32-d32-t{n_threads}-{run.name}"
        goal = OF_KERNELS if run.defer and not run.budgets else None
        yield row_of("bulk", shape, median(rates[1:]), "members/s", "kernels", median(alone[1:]), goal)
        if memory:
            allowed = f"{MEMORY_GIB:.0f} GiB"
            yield row_of("bulk", shape, memory, "GiB", allowed, MEMORY_GIB, 1.0, at_most=True)


def empty_log(settings: Config) -> None:
    """Begin anew: what earlier rounds sent would be read again for every member."""
    shutil.rmtree(settings.path("logbook"), ignore_errors=True)


def run_rate(composition: Composition, run: BulkRun, request_id: str) -> float:
    """Members a second of one run, durable log on."""
    n_members = composition.engine.parts.snapshot.n_members
    request = RunRequest(
        request_id=request_id,
        decision_time_micros=int(TIME.timestamp()) * 1_000_000,
        defer_propensities=run.defer,
        volume=int(PER_MEMBER * n_members) if run.volume else None,
        budgets=tuple(
            Budget(channel=channel, messages=int(share * n_members)) for channel, share in OF_CHANNELS.items()
        )
        if run.budgets
        else (),
    )
    began = time.perf_counter()
    n_decided = sum(
        chunk.n_members for chunk in composition.engine.start_run(request, whole_snapshot=True).finish()
    )
    return n_decided / (time.perf_counter() - began)


class Held:
    """Anonymous memory of this process in GiB: before, and the most since then."""

    def __init__(self) -> None:
        self.before = self.most = _anonymous_gib()

    def sample(self) -> None:
        """Look once more."""
        self.most = max(self.most, _anonymous_gib())


@contextmanager
def anonymous_memory() -> Iterator[Held]:
    """Watch what the process holds besides mapped files; nothing where the system does not tell."""
    held, done = Held(), threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            held.sample()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield held
    finally:
        done.set()
        watcher.join()
        held.sample()


def _anonymous_gib() -> float:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    kib = [line.split()[1] for line in text.splitlines() if line.startswith("RssAnon:")]
    return int(kib[0]) / (1 << 20) if kib else 0.0


CASE = Case("bulk", "runs over a snapshot, durable, against the kernels alone", measure)
