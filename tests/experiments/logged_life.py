"""A logbook in which an experiment ran, made record by record."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decider.experiments import Experiment
from decider.logbook import Logbook
from decider.logbook.schema import DecisionRecord, EventRecord, EventType, SetEntry, decision_id

DAY = 86_400_000_000
CANDIDATE = "top-picks@email"


def decision(
    experiment: Experiment, member: int, time_micros: int, cell: str, **changes: object
) -> DecisionRecord:
    request_id = f"{member}-{time_micros}"
    fields: dict[str, object] = {
        "policy": cell or "before", "policy_version": f"p-{cell}", "experiment": experiment.name if cell else "",
        "experiment_version": experiment.version if cell else "", "cell": cell, "evaluation": bool(cell),
        "messages": [SetEntry(candidate=CANDIDATE, mean=0.1, sd=0.1, gain=0.1)],
    }  # fmt: skip
    return DecisionRecord(
        decision_id=decision_id(request_id),
        request_id=request_id,
        request_digest="digest",
        ordinal=0,
        member_id=member,
        decision_time_micros=time_micros,
        epoch=0,
        model_version="",
        snapshot_version="s1",
        catalog_version="c1",
        stratum=2,
        theta=0.0,
        tie_cut=0,
        propensity=1.0,
        propensity_kind="exact",
        **(fields | changes),  # type: ignore[arg-type]
    )


def event(
    name: str, kind: str, time_micros: int, made: DecisionRecord, value: float | None = None
) -> EventRecord:
    return EventRecord(
        event_id=name,
        type=EventType(kind),
        event_time_micros=time_micros,
        decision_id=made.decision_id,
        candidate=CANDIDATE,
        value=value,
    )


def write(log: Logbook, experiment: Experiment, n_members: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Members who were sent something a week before the start, and once under the experiment; what they did."""
    g = np.random.default_rng(seed)
    keys = np.arange(n_members, dtype=np.uint64)
    cells = experiment.assign(keys)
    habit = g.gamma(2.0, 1.0, n_members)
    before, during = g.poisson(habit), g.poisson(habit + 1.0 * (cells == 2))
    unsubscribed = g.random(n_members) < 0.05
    start = experiment.start_micros
    days = g.integers(0, 20, n_members)
    for member in range(n_members):
        earlier = decision(experiment, member, start - 7 * DAY, "")
        name = experiment.cell_names[cells[member]]
        empty: dict[str, object] = {"messages": []} if cells[member] == 0 else {}
        made = decision(experiment, member, start + int(days[member]) * DAY, name, **empty)
        for each in (earlier, made):
            log.append_decision(each)
        time = made.decision_time_micros + 3_600_000_000
        found = [
            event(f"b{member}-{i}", "played", start - 6 * DAY, earlier, 2.0) for i in range(before[member])
        ]
        found += [event(f"d{member}-{i}", "played", time, made, 2.0) for i in range(during[member])]
        if cells[member]:
            found.append(event(f"g{member}", "delivered", time, made))
        if unsubscribed[member]:
            found.append(event(f"u{member}", "unsubscribed", time, made))
        if found:
            log.append_events(found)
    return {"cells": cells, "before": before, "during": during, "unsubscribed": unsubscribed, "days": days}


def open_log(folder: Path) -> Logbook:
    return Logbook.open(folder)
