"""The real thing: a server process on a free port, a client that decides for everybody, the log read back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from decider.cli.demo.house import House
from decider.errors import Unavailable
from decider.logbook import Logbook
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient

START_SECONDS = 120.0


class ServerProcess(NamedTuple):
    """A running server."""

    address: str
    facts: dict[str, Any]
    """What it said when it was ready."""
    seconds_to_ready: float


class Batch(NamedTuple):
    """What came back from a batch over everybody."""

    decisions: pl.DataFrame
    summary: Any
    seconds: float


@contextmanager
def server_process(house: House) -> Iterator[ServerProcess]:
    """Start ``decider serve`` in a process of its own; stop it at the end."""
    command = [
        sys.executable,
        "-m",
        "decider.cli.main",
        "serve",
        "--config",
        str(house.config_path),
        "--json",
    ]
    began = time.monotonic()
    errors = (house.directory / "server.log").open("wb")
    with errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        # A server that hangs on its start must not hang the demo.
        alarm = threading.Timer(START_SECONDS, process.kill)
        alarm.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            alarm.cancel()
            if not line:
                raise Unavailable(f"the server did not start; see {house.directory / 'server.log'}")
            facts = json.loads(line)
            yield ServerProcess(facts["address"], facts, time.monotonic() - began)
        finally:
            alarm.cancel()
            process.terminate()
            process.wait(timeout=60)


def decide_everybody(client: DeciderClient, volume: int, decision_time: datetime) -> Batch:
    """One ``BatchDecide`` over the whole snapshot under a volume."""
    options = BatchOptions(request_id="demo-everybody", decision_time=decision_time, volume=volume)
    began = time.perf_counter()
    answers = client.batch_decide(None, options)
    tables = list(answers)
    seconds = time.perf_counter() - began
    return Batch(pl.concat(tables), answers.summary, seconds)


def read_back(house: House, batch: Batch) -> dict[str, Any]:
    """Read the durable log while the server runs, and hold it against what the client was told."""
    with Logbook.open(house.config.path("logbook"), read_only=True) as log:
        run = log.run(batch.summary.run_id)
        frames = [log.read_segment(info) for info in log.segments(run.run_id)]
        logged = pl.concat(frames).sort("ordinal")
        n_verified = log.verify()
    sent = logged["n_messages"].sum()
    first = [run.candidates[code] if code >= 0 else None for code in logged["c0"].to_list()]
    told = batch.decisions["candidates"].list.first().to_list()
    return {
        "run_id": run.run_id,
        "decisions": logged.height,
        "sends": int(sent),
        "segments": len(frames),
        "rows_verified": n_verified,
        "equals_what_the_client_was_told": first == told
        and logged["member_id"].equals(batch.decisions["member_id"]),
    }
