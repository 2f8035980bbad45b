"""Read-outs of experiments: who came to which cell, what the cells differ in, and where effects are going."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from decider.experiments import Comparison, Effect, LongTermReadOut, ReadOut
from decider.reporting.charts import Curve, Row, curve_chart, interval_chart
from decider.reporting.forms import axis_thousandth, bracketed, number, percent, thousandth
from decider.reporting.page import Figure, Finding, Key, Section, Table
from decider.reporting.svg import Axis


def experiment_section(found: ReadOut) -> Section:
    """One experiment: its alarms first, then effects by metric and cell, then the weeks.

    Parameters
    ----------
    found
        As :func:`decider.experiments.read_out` gives it.
    """
    findings = [Finding("warning", f"{text}.") for text in found.warnings]
    findings += [Finding("note", f"{text}.") for text in found.notes]
    if not found.warnings:
        findings.insert(
            0, Finding("good", "No sample ratio is wrong, no guardrail says stop, no signs disagree.")
        )
    metrics = list(dict.fromkeys(each.metric for each in found.comparisons))
    figures = [
        _metric(metric, [each for each in found.comparisons if each.metric == metric]) for metric in metrics
    ]
    figures += [_weeks(each) for each in found.long_term if len(each.weeks) > 1]
    tables = [("Cells", _cells(found)), ("Sample ratios", _ratios(found))]
    if found.guardrails:
        tables.append(("Guardrails", _guardrails(found)))
    lead = "Every interval and p-value holds however often one looks."
    anchor = "experiment-" + "".join(c if c.isalnum() else "-" for c in found.experiment)
    return Section(
        anchor, f"Experiment {found.experiment}", lead, found.experiment, findings, figures, tables
    )


def _metric(metric: str, comparisons: Sequence[Comparison]) -> Figure:
    rows = [_row(f"{each.cell} less {each.against}", each.effect) for each in comparisons]
    title = f"difference in {metric} per 1,000 members"
    return Figure(
        f"{metric}: cells against one another",
        partial(_draw, rows, title),
        Table(
            ("cell", "against", "role", "difference [interval]", "level", "p-value", "members"),
            [
                (
                    each.cell,
                    each.against,
                    each.role,
                    _told(each.effect),
                    percent(each.effect.level),
                    "\u2013" if each.effect.p_value is None else f"{each.effect.p_value:.3g}",
                    each.effect.n_members,
                )
                for each in comparisons
            ],
        ),
        "Lines are confidence sequences.",
    )


def _weeks(found: LongTermReadOut) -> Figure:
    told = [
        (week, each.value, each.interval)
        for week, each in enumerate(found.weeks, 1)
        if each.value is not None and each.interval is not None
    ]
    curve = Curve(
        found.cell,
        [float(week) for week, _, _ in told],
        [value for _, value, _ in told],
        [ends[0] for _, _, ends in told],
        [ends[1] for _, _, ends in told],
    )
    title = f"difference in {found.metric} per 1,000 members"
    return Figure(
        f"{found.cell}: {found.metric}, week by week",
        partial(_draw_weeks, curve, len(found.weeks), title),
        Table(
            ("week", "difference [interval]"),
            [(week, _told(each)) for week, each in enumerate(found.weeks, 1)],
        ),
        f"Early {_told(found.short)}, late {_told(found.late)}, a week adds {_told(found.trend)}.",
        [Key("estimate", "line"), Key("confidence sequence", "band"), Key("no difference", "reference")],
    )


def _row(label: str, effect: Effect) -> Row:
    ends = None if effect.interval is None else (effect.interval.low, effect.interval.high)
    return Row(label, effect.value, ends, _told(effect))


def _told(effect: Effect) -> str:
    if effect.value is None or effect.interval is None:
        return "refused"
    return f"{thousandth(effect.value)} {bracketed((effect.interval.low, effect.interval.high))}"


def _draw(rows: Sequence[Row], title: str, width: int) -> str:
    label = f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    return interval_chart(rows, Axis(title, axis_thousandth, include=(0.0,)), label, width, reference=0.0)


def _draw_weeks(curve: Curve, n_weeks: int, title: str, width: int) -> str:
    label = f"{title}, by week: " + ", ".join(thousandth(value) for value in curve.y)
    axis = Axis("week since the start", number, ends=(1.0, float(n_weeks)), is_whole=True)
    return curve_chart([curve], axis, Axis(title, axis_thousandth, include=(0.0,)), label, width, level=0.0)


def _cells(found: ReadOut) -> Table:
    total = max(sum(found.members), 1)
    rows = [
        (cell, members, percent(members / total), percent(share))
        for cell, members, share in zip(found.cells, found.members, found.shares, strict=True)
    ]
    return Table(("cell", "members", "share", "planned"), rows)


def _ratios(found: ReadOut) -> Table:
    rows = [
        (
            each.stage,
            each.untold or f"{each.p_value:.3g}",
            "not told" if each.untold else "wrong" if each.is_wrong else "as planned",
        )
        for each in found.ratios
    ]
    return Table(("members", "p-value", "verdict"), rows)


def _guardrails(found: ReadOut) -> Table:
    rows = [
        (
            each.guardrail,
            each.cell,
            f"{each.harmed:,} of {each.members:,}",
            f"{each.base_harmed:,} of {each.base_members:,}",
            f"{each.p_value:.3g}",
            "stop" if each.must_stop else "go on",
        )
        for each in found.guardrails
    ]
    return Table(("guardrail", "cell", "harmed", "in the control", "p-value", "verdict"), rows)
