"""BatchDecide of a whole snapshot over gRPC, client and server on one machine, against the same run in process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from decider.bench.bulk import TIME, BulkRun, empty_log, run_rate
from decider.bench.case import Case, Effort, Report, Row, row_of, silent
from decider.bench.w1 import write_w1
from decider.config import load_config
from decider.errors import NotReady
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.compose import compose

OF_BULK: Final = 0.5
RUN: Final = BulkRun("price-deferred", volume=False, defer=True)


def measure(effort: Effort) -> Iterator[Row]:
    """A run whose every answer a client on the same machine reads."""
    n_members = 400_000 if effort.short else 5_000_000
    with TemporaryDirectory() as folder:
        effort.report("writing members", 0, None)
        config = write_w1(Path(folder), n_members)
        yield from measure_batch(config, effort.rounds(3), report=effort.report)


def measure_batch(config: Path, n_rounds: int = 3, report: Report = silent) -> Iterator[Row]:
    """One row: members a second over gRPC and in process, round by round in turn.

    Parameters
    ----------
    config
        As :func:`decider.bench.w1.write_w1` gives it.
    n_rounds
        Medians are over so many, after one that is not counted.
    """
    settings, served, alone = load_config(config), [], []
    n_members = 0
    for turn in range(n_rounds + 1):
        report("batch in process", turn, n_rounds + 1)
        empty_log(settings)
        with compose(settings) as composition:
            n_members = composition.engine.parts.snapshot.n_members
            alone.append(run_rate(composition, RUN, f"alone-{time.time_ns()}"))
        report("batch over gRPC", turn, n_rounds + 1)
        empty_log(settings)
        with server(config) as address, DeciderClient(address) as client:
            answered, seconds = over_grpc(client, f"served-{time.time_ns()}", defer=RUN.defer)
            if answered != n_members:
                raise RuntimeError(f"{answered} of {n_members} members were answered")
            served.append(answered / seconds)
    shape = f"m{n_members}-k32-d32-{RUN.name}"
    yield row_of(
        "batch", shape, median(served[1:]), "members/s", "run in process", median(alone[1:]), OF_BULK
    )


@contextmanager
def server(config: Path) -> Iterator[str]:
    """A server process; gives its address."""
    command = [sys.executable, "-m", "decider.cli.main", "serve", "--config", str(config), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise NotReady("the server ended before it served")
        try:
            yield json.loads(line)["address"]
        finally:
            process.terminate()


def over_grpc(client: DeciderClient, name: str, *, defer: bool) -> tuple[int, float]:
    """Members answered, and the seconds that it took to read every answer."""
    options = BatchOptions(request_id=name, decision_time=TIME, defer_propensities=defer)
    began = time.perf_counter()
    n_members = sum(table.height for table in client.batch_decide(None, options))
    return n_members, time.perf_counter() - began


CASE = Case("batch", "BatchDecide over gRPC, every answer read, against the same run in process", measure)
