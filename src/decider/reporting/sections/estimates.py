"""What policies are worth: estimates with intervals, and the gates they passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from decider.evaluation import Estimate, Limits, PolicyEstimates
from decider.reporting.charts import Row, interval_chart
from decider.reporting.forms import axis_thousandth, ends_of, percent, thousandth, with_interval
from decider.reporting.page import Figure, Finding, Key, Section, Table
from decider.reporting.svg import Axis

BEST_FIRST = ("dr", "sndr", "snips", "ips")
"""Which estimator stands for a policy: the first of these that has a number."""


@dataclass(frozen=True)
class EstimatesView:
    """Judged policies.

    Parameters
    ----------
    policies
        By name, in order.
    main
        The policy whose every estimator is shown.
    reward, per
        The reward's name, and what its rate is per.
    n_rows
        Rows that judged.
    limits
        The gates.
    """

    policies: Mapping[str, PolicyEstimates]
    main: str
    reward: str
    per: str
    n_rows: int
    limits: Limits


def estimates_section(view: EstimatesView) -> Section:
    """All policies against never messaging, one policy by all estimators, and the gates."""
    lead = (
        f"Off-policy, on {view.n_rows:,} rows. There is no number where the log has fewer than "
        f"{view.limits.effective_rows:g} effective rows, or one row has more than "
        f"{percent(view.limits.largest_share)} of the weight."
    )
    figures = [_against_nothing(view), _every_estimator(view)]
    return Section(
        "estimates",
        "What policies are worth",
        lead,
        "Policies",
        _refusals(view),
        figures,
        [("Gates", _gates(view))],
    )


def best_of(estimates: Mapping[str, Estimate]) -> tuple[str, Estimate]:
    """The estimator that stands for a policy."""
    named = [(name, estimates[name]) for name in BEST_FIRST if name in estimates]
    named += [(name, each) for name, each in estimates.items() if name not in BEST_FIRST]
    return next((each for each in named if each[1].value is not None), named[0])


def _against_nothing(view: EstimatesView) -> Figure:
    best = {name: best_of(found.incremental) for name, found in view.policies.items()}
    rows = [_row(f"{name}", estimate, 3 if name == view.main else 1) for name, (_, estimate) in best.items()]
    used = sorted({estimator.upper() for estimator, each in best.values() if each.value is not None})
    return Figure(
        f"Incremental {view.reward} per {view.per}",
        partial(_draw, rows, f"incremental {view.reward} per {view.per}"),
        _numbers("policy", rows, {name: each for name, (_, each) in best.items()}),
        f"Against never messaging, by {' or '.join(used) or 'no estimator'}. "
        "Thick lines are 95 % intervals; thin ones hold at every look while members come in.",
        [Key("judged policy", "line", 1), Key(view.main, "line", 3), Key("never messaging", "reference")],
    )


def _every_estimator(view: EstimatesView) -> Figure:
    found = view.policies[view.main].incremental
    rows = [_row(name, each, 3) for name, each in found.items()]
    return Figure(
        f"{view.main}, by every estimator",
        partial(_draw, rows, f"incremental {view.reward} per {view.per}"),
        _numbers("estimator", rows, found),
        "They should agree within their intervals; those with a lasting bias reach as far as it may.",
    )


def _row(name: str, estimate: Estimate, hue: int) -> Row:
    return Row(name, estimate.value, ends_of(estimate), with_interval(estimate), estimate.anytime, hue)


def _draw(rows: Sequence[Row], title: str, width: int) -> str:
    label = f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    return interval_chart(rows, Axis(title, axis_thousandth, include=(0.0,)), label, width, reference=0.0)


def _numbers(name: str, rows: Sequence[Row], estimates: Mapping[str, Estimate]) -> Table:
    return Table(
        (name, "estimate [95 %]", "standard error", "at every look"),
        [
            (
                row.label,
                row.text,
                None if each.standard_error is None else thousandth(each.standard_error),
                None
                if each.anytime is None
                else f"[{thousandth(each.anytime.low)}, {thousandth(each.anytime.high)}]",
            )
            for row, each in zip(rows, estimates.values(), strict=True)
        ],
    )


def _gates(view: EstimatesView) -> Table:
    return Table(
        (
            "policy",
            "effective rows",
            "largest weight's share",
            "unsupported rows",
            "overlap",
            "members matched",
        ),
        [
            (
                name,
                round(found.support.effective_rows),
                f"{100 * found.support.largest_share:.3f} %",
                found.support.n_unsupported,
                percent(found.support.overlap),
                found.support.matched_members,
            )
            for name, found in view.policies.items()
        ],
    )


def _refusals(view: EstimatesView) -> list[Finding]:
    reasons: dict[str, list[str]] = {}
    for policy, found in view.policies.items():
        _, best = best_of(found.incremental)
        if best.value is None:
            reasons.setdefault(best.refused, []).append(policy)
    return [Finding("warning", f"No number for {', '.join(names)}: {why}.") for why, names in reasons.items()]
