"""Decisions and runs laid out for people, from the plain values of the protocol's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from decider.cli.output import facts, table


def drawn_decision(decision: Mapping[str, Any]) -> list[RenderableType]:
    """Lay out one decision: what it was made from, and its message set."""
    about = (
        "decision_id",
        "member_id",
        "stratum",
        "price",
        "propensity",
        "propensity_kind",
        "policy",
        "decision_time",
        "epoch",
        "model_version",
        "snapshot_version",
        "catalog_version",
        "already_decided",
    )
    rows = [
        (
            place,
            each["candidate"],
            each["type"],
            each["channel"],
            each["expected_incrementality"],
            each["standard_deviation"],
            each["marginal_gain"],
            each["propensity"],
        )
        for place, each in enumerate(decision["messages"])
    ]
    header = ("", "candidate", "type", "channel", "incrementality", "sd", "gain", "propensity")
    title = "Message set" if rows else "Message set: nothing is sent"
    # Ids are names, not amounts: no commas.
    named = {name: str(decision[name]) for name in ("member_id", "epoch")}
    shown = {name: decision[name] for name in about} | named
    if decision["budgets"]:
        own = [f"{each['budget']['channel'] or 'all'} {each['price']:.6g}" for each in decision["budgets"]]
        shown["price"] = f"{decision['price']:.6g} of the cost, beyond it {', '.join(own)}"
    return [facts("Decision", shown), table(title, header, rows)]


def drawn_trace(entries: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Lay out every candidate: chosen ones first, then by what they would have added, then the excluded."""

    def order(entry: Mapping[str, Any]) -> tuple[float, float]:
        if entry["place"] is not None:
            return (0.0, entry["place"])
        gain = entry["gain_after_set"]
        return (1.0, -gain) if entry["eligibility"] == "eligible" and gain is not None else (2.0, 0.0)

    rows = [
        (
            "" if each["place"] is None else each["place"],
            each["candidate"],
            each["type"],
            each["eligibility"],
            each["expected_incrementality"],
            each["standard_deviation"],
            each["value"],
            each["gain_after_set"],
        )
        for each in sorted(entries, key=order)
    ]
    header = ("place", "candidate", "type", "eligible, or why not", "incrementality", "sd", "value", "gain")
    return table("All candidates", header, rows)


def drawn_run(summary: Mapping[str, Any]) -> list[RenderableType]:
    """Lay out what a run did."""
    about = {
        name: summary[name]
        for name in (
            "run_id",
            "member_count",
            "messaged_member_count",
            "volume",
            "volume_explore",
            "price",
            "expected_incremental_reward",
            "cost",
        )
    }
    sizes = dict(enumerate(summary["per_set_size"]))
    drawn = [facts("Run", about | ({"gap": _gap(summary["gap"])} if summary["budgets"] else {}))]
    if summary["budgets"]:
        drawn.append(_drawn_budgets(summary["budgets"]))
    for title, kind, counts in (
        ("Sends by message", "message", summary["per_message"]),
        ("Sends by channel", "channel", summary["per_channel"]),
        ("Members by number of messages", "messages", sizes),
        ("Members by stratum", "stratum", summary["per_stratum"]),
    ):
        drawn.append(table(title, (kind, "count"), [(str(name), count) for name, count in counts.items()]))
    return drawn


def _gap(gap: float) -> str:
    return f"{100.0 * gap:.4f} % below the most that any choice within the budgets is worth"


def _drawn_budgets(budgets: Sequence[Mapping[str, Any]]) -> RenderableType:
    rows = []
    for each in budgets:
        budget = each["budget"]
        unit = "messages" if budget["messages"] is not None else "cost"
        spent = int(each["spent"]) if unit == "messages" else each["spent"]
        rows.append((budget["channel"] or "all", unit, budget[unit], spent, each["price"]))
    return table("Budgets", ("channel", "of", "at most", "spent", "price"), rows)
