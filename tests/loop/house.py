"""A house for a loop: members, catalog, policies, configuration, a model that knows nothing; and who lives there.

``python -m tests.loop.house DIRECTORY EPOCHS`` goes round, and prints a line an epoch.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import polars as pl

from decider.clock import SystemClock
from decider.config import load_config
from decider.logbook import Logbook
from decider.logbook.schema import EventRecord, EventType, run_id_of
from decider.loop.loop import begin, live
from decider.loop.spec import LoopSpec, load_loop
from decider.members import SnapshotSpec, build_snapshot
from decider.service.client import DeciderClient

N_MEMBERS = 400
TRUTH = {"picks@email": 0.05, "picks@push": 0.25, "season@email": 0.15, "season@push": -0.05}

CATALOG = """
name = "loop"
[caps]
member = { per_decision = 2 }
[[channels]]
name = "email"
cost = 1.0
[[channels]]
name = "push"
cost = 1.0
[[messages]]
id = "picks"
type = "picks"
channels = ["email", "push"]
[[messages]]
id = "season"
type = "season"
channels = ["email", "push"]
"""
POLICIES = """
[[policy]]
name = "loop"
kind = "thompson"
model = "visits"
seed = 3
explore = 0.5
explore_counts = [0.3, 0.5, 0.2]
"""
LOOP = """
name = "visits"
server = "127.0.0.1:{port}"
policy = "loop"
model = "visits"
first = 2026-09-01T09:00:00Z
epoch_seconds = 86400
keep = 0.98
reward = {{ name = "visit", window_seconds = 86400, weights = {{ clicked = 1.0 }} }}
gates = {{ rows = 150 }}
"""


def build_house(directory: Path) -> LoopSpec:
    """Write everything; the port is one that was free."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(1)
    table = directory / "members.parquet"
    columns = {"id": np.arange(100, 100 + N_MEMBERS), "activity": rng.normal(size=N_MEMBERS)}
    pl.DataFrame(columns).write_parquet(table)
    consent: dict[str, str | bool] = {"email": True, "push": True}
    spec = SnapshotSpec(id="id", features=("activity",), attributes=(), consent=consent)
    build_snapshot(table, spec, directory / "snapshot")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (directory / "catalog.toml").write_text(CATALOG)
    (directory / "policies.toml").write_text(POLICIES)
    (directory / "decider.toml").write_text(f'listen = "127.0.0.1:{port}"\n')
    (directory / "loop.toml").write_text(LOOP.format(port=port))
    loop = load_loop(directory / "loop.toml")
    begin(loop, load_config(directory / "decider.toml"))
    return loop


def crowd(directory: Path, spec: LoopSpec, client: DeciderClient, epoch: int) -> None:
    """Come or stay away, by what was sent; the same in every telling."""
    dice = np.random.default_rng([7, epoch]).random(N_MEMBERS)
    at = int(spec.time_of(epoch).timestamp() * 1e6) + 60_000_000
    events = []
    with Logbook.open(directory / "logbook", read_only=True) as log:
        run = log.run(run_id_of(spec.request_of(epoch)))
        for info in log.segments(run.run_id):
            for row in log.read_segment(info).iter_rows(named=True):
                sent = [run.candidates[row[f"c{place}"]] for place in range(row["n_messages"])]
                chance = 0.3 + sum(TRUTH[name] for name in sent) - 0.05 * (len(sent) == 2)
                if dice[row["ordinal"]] < chance:
                    name = f"{run.run_id}-{row['ordinal']}"
                    events.append(
                        EventRecord(
                            event_id=f"{name}-came",
                            type=EventType.CLICKED,
                            event_time_micros=at,
                            decision_id=name,
                        )
                    )
    for first in range(0, len(events), 50):
        client.record_events(events[first : first + 50])


def main(directory: Path, n_epochs: int) -> None:
    """Go round against the running server."""
    spec = load_loop(directory / "loop.toml")
    config = load_config(directory / "decider.toml")
    print("begun", flush=True)
    for epoch in live(
        spec, config, SystemClock(), n_epochs, lambda client, number: crowd(directory, spec, client, number)
    ):
        print(epoch.epoch, epoch.published or epoch.refused, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
