"""A logbook added up: decisions by stratum and candidate, events by type, runs."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from decider.cli.options import rfc3339
from decider.decision.result import STRATA
from decider.logbook.store import Logbook


@dataclass
class Logged:
    """What was counted, and the latest decisions."""

    n_decisions: int = 0
    n_messages: int = 0
    per_stratum: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STRATA, 0))
    per_candidate: dict[str, int] = field(default_factory=dict)
    latest: list[dict[str, Any]] = field(default_factory=list)
    """The latest last."""


def logged_decisions(log: Logbook, member: str | None, limit: int) -> Logged:
    """Count the decisions of a log, a page at a time.

    Parameters
    ----------
    log
        Open to be read.
    member
        Count only decisions about this member, of either kind of id.
    limit
        Keep so many of the latest.
    """
    found = Logged()
    latest: list[tuple[int, int, dict[str, Any]]] = []
    for frame in log.decision_frames():
        page = frame if member is None else frame.filter(pl.col("member_id").cast(pl.String) == member)
        found.n_decisions += page.height
        found.n_messages += int(page["candidates"].list.len().sum())
        for code, count in page["stratum"].value_counts().iter_rows():
            found.per_stratum[STRATA[code]] += count
        for candidate, count in page["candidates"].explode(empty_as_null=False).value_counts().iter_rows():
            found.per_candidate[candidate] = found.per_candidate.get(candidate, 0) + count
        for row in page.tail(limit).iter_rows(named=True):
            ordinal = int(row["decision_id"].rpartition("-")[2])
            latest.append((row["sequence"], ordinal, row))
        latest = heapq.nlargest(limit, latest, key=lambda entry: entry[:2])
    found.latest = [_decision(row) for _, _, row in reversed(latest)]
    return found


def logged_events(log: Logbook) -> dict[str, int]:
    """Count the events of a log by type."""
    counts: Counter[str] = Counter()
    for frame in log.event_frames():
        counts.update(dict(frame["type"].value_counts().iter_rows()))
    return dict(counts)


def runs_of(log: Logbook) -> list[dict[str, Any]]:
    """Every bulk run with how many it decided."""
    decided: Counter[str] = Counter()
    for info in log.segments():
        decided[info.run_id] += info.n_rows
    return [
        {
            "run_id": run.run_id,
            "request_id": run.request_id,
            "policy": run.policy,
            "time": rfc3339(run.decision_time_micros),
            "price": run.theta,
            "budgets": msgspec.to_builtins(run.budgets),
            "n_decided": decided[run.run_id],
            "finished": run.finished,
            "summary": run.summary,
        }
        for run in log.runs()
    ]


def _decision(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("decision_id", "member_id", "policy", "price", "propensity", "candidates", "gains")
    named = row | {"price": row["theta"]}
    return {
        **{name: named[name] for name in kept},
        "time": rfc3339(row["decision_time_micros"]),
        "stratum": STRATA[row["stratum"]],
    }
