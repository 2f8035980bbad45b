"""Exploration health: whether chance works as it is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from decider.evaluation import PropensityBin
from decider.reporting.charts import Dot, Row, interval_chart, scatter_chart
from decider.reporting.forms import axis_percent, number, percent
from decider.reporting.page import Figure, Finding, Key, Section, Table
from decider.reporting.svg import Axis

LOUD_Z = 4.0


class Planned(NamedTuple):
    """The planned share of a stratum.

    Parameters
    ----------
    share
        Of the members.
    error
        Standard error of the realised share; 0 where chance has no part in it.
    """

    share: float
    error: float


@dataclass(frozen=True)
class ExplorationView:
    """What is known of chance.

    Parameters
    ----------
    bins
        Logged propensities and realised frequencies.
    per_stratum, planned
        Members of a run by stratum, and the strata's planned shares; empty without a run.
    """

    bins: Sequence[PropensityBin]
    per_stratum: Mapping[str, int]
    planned: Mapping[str, Planned]


def exploration_section(view: ExplorationView) -> Section:
    """Realised frequencies against propensities, and the strata against their plan."""
    strange = [
        f"{each.arm}: given in {percent(each.realised)} of {each.n_rows:,} rows whose propensity is about "
        f"{percent(each.propensity)}."
        for each in view.bins
        if abs(each.realised - each.propensity) > LOUD_Z * each.standard_error
    ]
    findings = [Finding("warning", text) for text in strange]
    strata = _strata(view)
    findings += [
        Finding(
            "warning",
            f"Stratum {name}: {percent(share)} of members, planned {percent(planned)} (z = {z:+.1f}).",
        )
        for name, share, planned, z, _ in strata
        if abs(z) > LOUD_Z
    ]
    if not findings:
        findings.append(Finding("good", "What was drawn came as often as its propensity says."))
    figures = [_reliability(view, is_half=bool(strata))] + ([_strata_figure(strata)] if strata else [])
    lead = "Every estimate stands on logged propensities: here they meet what happened."
    return Section("exploration", "Exploration health", lead, "Exploration", findings, figures)


def _strata(view: ExplorationView) -> list[tuple[str, float, float, float, float]]:
    total = sum(view.per_stratum.values())
    found = []
    for name, (planned, error) in view.planned.items():
        if not error or not total:
            continue
        share = view.per_stratum.get(name, 0) / total
        found.append((name, share, planned, (share - planned) / error, error / planned))
    return found


def _strata_figure(strata: Sequence[tuple[str, float, float, float, float]]) -> Figure:
    rows = [
        Row(
            name,
            share / planned,
            (share / planned - 1.96 * error, share / planned + 1.96 * error),
            f"{share / planned:.3f}",
        )
        for name, share, planned, _, error in strata
    ]
    return Figure(
        "Strata: realised over planned",
        partial(_draw_strata, rows),
        Table(
            ("stratum", "realised", "planned", "z"),
            [(name, percent(share), percent(planned), f"{z:+.2f}") for name, share, planned, z, _ in strata],
        ),
        "1 is as planned. Lines are 95 % intervals.",
        is_half=True,
    )


def _draw_strata(rows: Sequence[Row], width: int) -> str:
    label = "Realised over planned share: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    axis = Axis("realised share over planned share", number, include=(0.98, 1.02))
    return interval_chart(rows, axis, label, width, reference=1.0)


def _reliability(view: ExplorationView, *, is_half: bool) -> Figure:
    arms = list(dict.fromkeys(each.arm for each in view.bins))
    table = Table(
        ("arm", "rows", "propensity", "realised", "standard error"),
        [
            (
                each.arm,
                each.n_rows,
                f"{each.propensity:.5f}",
                f"{each.realised:.5f}",
                f"{each.standard_error:.5f}",
            )
            for each in view.bins
        ],
    )
    if len(arms) == len(view.bins):
        # One propensity for each arm: dots would lie on one another.
        return Figure(
            "Realised frequency less logged propensity",
            partial(_draw_differences, view.bins),
            table,
            "0 is as logged. Lines are 95 % intervals.",
            is_half=is_half,
        )
    dots = [
        Dot(
            f"{each.arm}: propensity {percent(each.propensity)}, given {percent(each.realised)}",
            each.propensity,
            each.realised,
            (each.realised - 1.96 * each.standard_error, each.realised + 1.96 * each.standard_error),
            1 + arms.index(each.arm) % 5,
        )
        for each in view.bins
    ]
    return Figure(
        "Logged propensity and realised frequency",
        partial(_draw_bins, dots),
        table,
        "Rows of like propensities in bins, arm by arm; on the line all is well.",
        [
            *(Key(arm, "dot", 1 + place % 5) for place, arm in enumerate(arms[:5])),
            Key("as logged", "reference"),
        ],
        is_half=is_half,
    )


def _draw_differences(bins: Sequence[PropensityBin], width: int) -> str:
    rows = []
    for each in bins:
        apart, reach = each.realised - each.propensity, 1.96 * each.standard_error
        text = f"{percent(each.realised)} of {percent(each.propensity)}"
        rows.append(Row(each.arm, apart, (apart - reach, apart + reach), text))
    label = "Realised frequency, of logged propensity: " + ", ".join(
        f"{row.label} {row.text}" for row in rows
    )
    return interval_chart(rows, Axis("realised less logged", axis_percent), label, width, reference=0.0)


def _draw_bins(dots: Sequence[Dot], width: int) -> str:
    return scatter_chart(
        dots,
        Axis("logged propensity", axis_percent),
        Axis("realised frequency", axis_percent),
        "; ".join(dot.label for dot in dots),
        width,
    )
