"""How a model orders members by what a message would cause: curves of targeting, areas under them, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from decider.evaluation import UpliftJudgement
from decider.reporting.charts import Curve, Dot, Row, curve_chart, interval_chart, scatter_chart
from decider.reporting.forms import (
    axis_percent,
    axis_thousandth,
    ends_of,
    number,
    percent,
    thousandth,
    with_interval,
)
from decider.reporting.page import Figure, Finding, Key, Section, Table
from decider.reporting.svg import Axis

MOST_DRAWN = 8
"""Messages whose curves are drawn; all of them stand in the table."""


@dataclass(frozen=True)
class UpliftView:
    """Judgements by message, channel and segment, or why there is none.

    Parameters
    ----------
    model, reward, per
        Names, and what rates are per.
    judgements
        As :func:`decider.evaluation.judge_uplift` gives them.
    """

    model: str
    reward: str
    per: str
    judgements: Mapping[str, UpliftJudgement | str]


def uplift_section(view: UpliftView) -> Section:
    """The area under each curve, then curve and calibration of each message."""
    judged = {name: each for name, each in view.judgements.items() if not isinstance(each, str)}
    findings = [
        Finding("warning", f"{name}: {why}.") for name, why in view.judgements.items() if isinstance(why, str)
    ]
    findings += [
        Finding(
            "note",
            f"{name}: predictions are exaggerated; observed effects rise {slope.value:.2f} for 1 predicted.",
        )
        for name, each in judged.items()
        if (slope := each.slope).value is not None and slope.normal is not None and slope.normal.high < 1.0
    ]
    lead = (
        f"Rows ordered by {view.model}, which did not learn from them: is the order better than a random one?"
    )
    figures = [_areas(judged, view)] if judged else []
    for name, each in list(judged.items())[:MOST_DRAWN]:
        short = name.removeprefix("message ")
        figures += [_curve(short, each, view), _calibration(short, each, view)]
    return Section("uplift", "Uplift curves and calibration", lead, "Uplift", findings, figures)


def _areas(judged: Mapping[str, UpliftJudgement], view: UpliftView) -> Figure:
    rows = [
        Row(name.removeprefix("message "), each.autoc.value, ends_of(each.autoc), with_interval(each.autoc))
        for name, each in judged.items()
    ]
    title = f"AUTOC, {view.reward} per {view.per}"
    return Figure(
        "Is the order better than a random one?",
        partial(_draw_areas, rows, title),
        Table(
            (
                "ordered for",
                "AUTOC [95 %]",
                "Qini [95 %]",
                "AUUC [95 %]",
                "effect on all [95 %]",
                "calibration slope (se)",
            ),
            [
                (
                    name,
                    *(with_interval(area) for area in (each.autoc, each.qini, each.auuc, each.effect)),
                    "refused"
                    if each.slope.value is None
                    else f"{each.slope.value:.2f} ({each.slope.standard_error:.2f})",
                )
                for name, each in judged.items()
            ],
        ),
        "The area under the curve of targeting; 0 for a random order. Lines are 95 % intervals.",
    )


def _curve(name: str, judged: UpliftJudgement, view: UpliftView) -> Figure:
    shares = [0.0, *(point.share for point in judged.curve)]
    gains = [0.0, *(point.gain for point in judged.curve)]
    return Figure(
        f"{name}: gain by share",
        partial(_draw_curve, shares, gains, f"incremental {view.reward} per {view.per}", name),
        Table(
            ("share", "gain", "above the mean of all (TOC)"),
            [(percent(point.share), thousandth(point.gain), thousandth(point.toc)) for point in judged.curve],
        ),
        f"Qini {with_interval(judged.qini)}.",
        [Key("by the model", "line"), Key("random order", "reference")],
        is_half=True,
    )


def _calibration(name: str, judged: UpliftJudgement, view: UpliftView) -> Figure:
    dots = [
        Dot(
            f"predicted {thousandth(each.predicted)}, observed {with_interval(each.observed)}",
            each.predicted,
            each.observed.value,
            ends_of(each.observed),
        )
        for each in judged.bins
        if each.observed.value is not None
    ]
    slope = judged.slope
    said = (
        "refused"
        if slope.value is None
        else f"{number(slope.value)} (se {number(slope.standard_error or 0.0)})"
    )
    return Figure(
        f"{name}: predicted and observed",
        partial(_draw_dots, dots, view, name),
        Table(
            ("bin", "rows", "predicted", "observed [95 %]"),
            [
                (place + 1, each.n_rows, thousandth(each.predicted), with_interval(each.observed))
                for place, each in enumerate(judged.bins)
            ],
        ),
        f"Ten bins of like predictions. Slope {said}; 1 is calibrated.",
        [Key("bin, 95 % interval", "dot"), Key("calibrated", "reference")],
        is_half=True,
    )


def _draw_areas(rows: Sequence[Row], title: str, width: int) -> str:
    label = f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    return interval_chart(rows, Axis(title, axis_thousandth, include=(0.0,)), label, width, reference=0.0)


def _draw_curve(shares: Sequence[float], gains: Sequence[float], title: str, name: str, width: int) -> str:
    return curve_chart(
        [Curve(name, shares, gains)],
        Axis("share messaged, largest predictions first", axis_percent, ends=(0.0, 1.0)),
        Axis(title, axis_thousandth, include=(0.0,)),
        f"{name}: {title} rises to {thousandth(gains[-1])} when all are messaged",
        width,
        diagonal=((0.0, 0.0), (1.0, gains[-1])),
    )


def _draw_dots(dots: Sequence[Dot], view: UpliftView, name: str, width: int) -> str:
    return scatter_chart(
        dots,
        Axis("predicted", axis_thousandth),
        Axis(f"observed incremental {view.reward} per {view.per}", axis_thousandth),
        f"{name}: " + "; ".join(dot.label for dot in dots),
        width,
        is_shared=False,
    )
