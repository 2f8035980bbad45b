"""What a run decided: messages, channels, sends per member, and why members were sent nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from decider.reporting.charts import Row, bar_chart
from decider.reporting.forms import number, percent
from decider.reporting.page import Figure, Section, Table
from decider.reporting.sections.exploration import Planned
from decider.reporting.svg import Axis

REASONS = {
    "price": "nothing was worth its price",
    "holdout": "holdout: never messaged",
    "drawn": "explore: no message was drawn",
    "several_rules": "several rules, no message left",
    "not_live": "no message is live",
    "channel_filter": "channel not asked for",
    "audience": "outside every audience",
    "consent": "no consent",
    "quiet_hours": "quiet hours",
    "suppressed": "suppressed after an earlier send",
    "member_cap": "cap of the member reached",
    "channel_cap": "cap of the channel reached",
    "topic_cap": "cap of the topic reached",
    "no_posterior": "nothing is known of the message",
}


@dataclass(frozen=True)
class CellView:
    """What a run decided in one cell of its experiment.

    Parameters
    ----------
    name, policy
        Names.
    n_members, n_sends
        Members of the cell, and what they were sent.
    price
        Reward per unit of cost; None in the holdout, where there is none.
    expected_reward
        Expected incremental reward of its sends under its model; NaN where its policy has none.
    per_candidate
        Sends by ``message@channel``.
    per_count
        Members by number of messages.
    """

    name: str
    policy: str
    n_members: int
    n_sends: int
    price: float | None
    expected_reward: float
    per_candidate: Mapping[str, int]
    per_count: Mapping[int, int]


@dataclass(frozen=True)
class RunView:
    """A run that has finished.

    Parameters
    ----------
    run_id, policy
        Names; the experiment stands in the place of the policy where the run has cells.
    n_members, n_sends, n_explored
        Members decided for, sends, and sends drawn at random.
    price
        Reward per unit of cost; None where cells differ in it, or budgets have prices of their own.
    expected_reward
        Expected incremental reward of all sends under the model.
    per_candidate
        Sends by ``message@channel``.
    per_channel
        Sends by channel.
    per_count
        Members by number of messages.
    per_stratum
        Members by stratum.
    planned
        The strata's planned shares, with the standard errors that realised ones have.
    unsent
        Members who were sent nothing, by reason.
    cells
        Of the experiment that it ran, the holdout first; empty where it ran none.
    budget_prices
        By channel what a message must be worth beyond the policy's own price, where the run had budgets.
    """

    run_id: str
    policy: str
    n_members: int
    n_sends: int
    n_explored: int
    price: float | None
    expected_reward: float
    per_candidate: Mapping[str, int]
    per_channel: Mapping[str, int]
    per_count: Mapping[int, int]
    per_stratum: Mapping[str, int]
    planned: Mapping[str, Planned]
    unsent: Mapping[str, int]
    cells: Sequence[CellView] = ()
    budget_prices: Mapping[str, float] = field(default_factory=dict)


def decided_section(view: RunView) -> Section:
    """Three or four bar charts of the run."""
    nothing = sum(view.unsent.values())
    reasons = {REASONS.get(name, name): count for name, count in _falling(view.unsent)}
    figures = [
        sends_figure("Sends by message", view.per_candidate, view.n_sends),
        counts_figure("Members by number of messages", view.per_count, view.n_members),
        _bars("Why members were sent nothing", "members", reasons, nothing, "reason"),
    ]
    if len(view.per_channel) > 1:
        figures.insert(
            2, _bars("Sends by channel", "sends", dict(_falling(view.per_channel)), view.n_sends, "channel")
        )
    kind = "experiment" if view.cells else "policy"
    lead = (
        f"Run {view.run_id} of {kind} {view.policy}: {view.n_sends:,} sends to {view.n_members:,} members, "
        f"{view.n_explored:,} of them drawn at random to keep learning."
    )
    return Section("decided", "What was decided", lead, "Decisions", (), figures)


def sends_figure(title: str, per_candidate: Mapping[str, int], n_sends: int) -> Figure:
    """Sends by message and channel, the most first; half a page wide."""
    return _bars(title, "sends", dict(_falling(per_candidate)), n_sends, "candidate", is_half=True)


def counts_figure(title: str, per_count: Mapping[int, int], n_members: int) -> Figure:
    """Members by the number of messages that they were sent; half a page wide."""
    counts = {_messages(count): members for count, members in sorted(per_count.items())}
    return _bars(title, "members", counts, n_members, "messages", is_half=True)


def _bars(
    title: str, what: str, counts: Mapping[str, int], total: int, name: str, *, is_half: bool = False
) -> Figure:
    total = max(total, 1)
    rows = [
        Row(label, float(count), None, f"{count:,} \u00b7 {percent(count / total)}")
        for label, count in counts.items()
    ]
    label = f"{title}: " + ", ".join(f"{each.label} {each.text}" for each in rows)
    draw = partial(_draw, rows, Axis(what, number, include=(0.0,)), label)
    table = Table(
        (name, what, "share"), [(label, count, percent(count / total)) for label, count in counts.items()]
    )
    return Figure(title, draw, table, is_half=is_half)


def _draw(rows: list[Row], axis: Axis, label: str, width: int) -> str:
    return bar_chart(rows, axis, label, width)


def _falling(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: -each[1])


def _messages(count: int) -> str:
    return "none" if count == 0 else "1 message" if count == 1 else f"{count} messages"
