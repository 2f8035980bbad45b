"""`decider demo`: one thing through the whole house, on real data."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from decider.cli.demo import tables
from decider.cli.demo.data import find_trial
from decider.cli.demo.house import REWARD, build_house
from decider.cli.demo.reported import write_demo_report
from decider.cli.demo.serving import decide_everybody, read_back, server_process
from decider.cli.demo.values import policy_values
from decider.cli.options import examples
from decider.cli.output import Machine, emit, progress, say
from decider.evaluation import average_effects
from decider.service.client import DeciderClient

EXAMPLES = examples("decider demo", "decider demo --json", "decider demo --out /tmp/demo --offline")
SHARE = 0.30
DECISION_TIME = datetime.datetime(2026, 6, 1, 15, 0, tzinfo=datetime.UTC)
"""Fixed, so that two demos decide alike."""
STAGES = 7


def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Where to build it.  [default: decider-data/demo-<time>]"),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to download the trial.")] = False,
    machine: Machine = False,
) -> None:
    """From a randomised e-mail trial to durable gRPC decisions, in a few minutes and on this machine.

    Imports Hillstrom's trial (64,000 customers, two e-mails or none), trains on one half and judges policies
    on the other, builds the member snapshot, starts the real server, decides for everybody under "at most
    30 % may be mailed", reads the log back, explains one decision, and writes a
    report to look at.
    """
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    directory = out or Path("decider-data") / f"demo-{stamp}"
    directory.mkdir(parents=True, exist_ok=out is not None)
    with progress(machine) as advance:

        def stage(number: int, text: str) -> None:
            say(f"[{number}/{STAGES}] {text}", machine)
            advance("demo", number, STAGES)

        stage(1, "finding the trial")
        trial = find_trial(directory, allow_download=not offline)
        stage(2, "importing it, training on one half, building the snapshot")
        house = build_house(trial.path, directory)
        effects = [average_effects(house.feedback, reward) for reward in (REWARD, "conversion")]
        stage(3, "judging policies on the other half")
        time_micros = int(DECISION_TIME.timestamp()) * 1_000_000
        values = policy_values(house, SHARE, time_micros)
        stage(4, "starting the server")
        volume = int(SHARE * house.n_members)
        with server_process(house) as server, DeciderClient(server.address) as client:
            stage(5, f"deciding for all {house.n_members:,} members over gRPC")
            batch = decide_everybody(client, volume, DECISION_TIME)
            log = read_back(house, batch)
            stage(6, "explaining one decision")
            explained = client.explain(tables.worth_explaining(batch.decisions))
        stage(7, "writing the report")
        report = write_demo_report(house, values, batch.summary.run_id, trial)
    payload: dict[str, Any] = {
        "data": {
            "source": trial.source,
            "note": trial.note,
            "path": str(trial.path),
            "rows": house.feedback.n_rows,
        },
        "members": house.n_members,
        "arms": tables.arms_payload(effects),
        "average_incrementality": tables.effects_payload(effects),
        "volume": tables.volume_payload(batch, volume),
        "price": batch.summary.price,
        "values": tables.values_payload(values.judged),
        "server": {
            "address": server.address,
            "seconds_to_ready": server.seconds_to_ready,
            **tables.rate_payload(batch),
        },
        "log": log,
        "explained": tables.explained_payload(explained),
        "report": str(report),
        "where": house.places() | {"report": str(report)},
    }
    emit(payload, machine, *tables.drawn(payload, effects, values.judged))
