"""What the models believe: each message's average effect, version by version, and on what it depends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from decider.models import UpliftModel
from decider.models.uplift import TYPE_PREFIX
from decider.reporting.charts import Curve, Row, curve_chart, interval_chart
from decider.reporting.forms import axis_thousandth, number, thousandth
from decider.reporting.page import Figure, Key, Section, Table
from decider.reporting.svg import Axis

MOST_SLOPES = 10
MOST_DRAWN = 6


class Version(NamedTuple):
    """A model, and when it was published, such as ``2026-06-01 15:00``."""

    model: UpliftModel
    published: str


class Belief(NamedTuple):
    """A coefficient with its standard deviation."""

    name: str
    mean: float
    sd: float


@dataclass(frozen=True)
class PosteriorsView:
    """The versions of one model, the latest last."""

    versions: Sequence[Version]
    per: str


def posteriors_section(view: PosteriorsView) -> Section:
    """Averages of the latest version, their way through the versions, and the strongest slopes."""
    latest = view.versions[-1].model
    lead = (
        f"{latest.name}, version {latest.version}: Gaussian posteriors of what each message causes in "
        f"{latest.reward}. Features are standardised, so the first coefficient is the average effect."
    )
    figures = [_averages(latest, view.per)]
    if len(view.versions) > 1:
        figures.append(_over_time(view))
    # A type's slopes are the mean of its messages'.
    drawn = [place for place, name in enumerate(latest.posterior_names) if not name.startswith(TYPE_PREFIX)]
    figures += [_slopes(latest, place, view.per) for place in drawn[:MOST_DRAWN]]
    return Section("posteriors", "What the model believes", lead, "Model", (), figures)


def beliefs(model: UpliftModel, place: int) -> list[Belief]:
    """The coefficients of one posterior, the intercept first."""
    covariance = model.covariance[place]
    variance = covariance if model.is_diagonal else np.diagonal(covariance)
    names = ["average effect", *model.feature_map.feature_names]
    size = model.feature_map.n_outputs
    if len(names) != size:
        names = [f"z{k}" for k in range(size)]
    names += list(model.pair_features)
    return [
        Belief(name, float(mean), float(np.sqrt(max(spread, 0.0))))
        for name, mean, spread in zip(names, model.mean[place], variance, strict=True)
    ]


def _averages(model: UpliftModel, per: str) -> Figure:
    found = [beliefs(model, place)[0]._replace(name=name) for place, name in enumerate(model.posterior_names)]
    title = f"average incremental {model.reward} per {per}"
    return Figure(
        "Average effect of each message",
        partial(_draw, [_row(each) for each in found], title),
        _table("message", found),
        "Posterior mean and 95 % interval, for the average member.",
    )


def _slopes(model: UpliftModel, place: int, per: str) -> Figure:
    found = sorted(beliefs(model, place)[1:], key=lambda each: -abs(each.mean) / (each.sd or np.inf))
    strongest = found[:MOST_SLOPES]
    name = model.posterior_names[place]
    title = f"change in effect, {model.reward} per {per} and sd"
    return Figure(
        f"{name}: what its effect depends on",
        partial(_draw, [_row(each) for each in strongest], title),
        _table("feature", found),
        f"The {len(strongest)} clearest of {len(found)} features: what one standard deviation more changes.",
        is_half=True,
    )


def _over_time(view: PosteriorsView) -> Figure:
    latest = view.versions[-1].model.posterior_names
    names = [name for name in latest if not name.startswith(TYPE_PREFIX)][:MOST_DRAWN]
    curves, rows = [], []
    for hue, name in enumerate(names):
        held = [
            (turn, beliefs(version.model, version.model.posterior_names.index(name))[0])
            for turn, version in enumerate(view.versions, 1)
            if name in version.model.posterior_names
        ]
        mean = np.array([each.mean for _, each in held])
        sd = np.array([each.sd for _, each in held])
        turns = [float(turn) for turn, _ in held]
        low, high = (mean - 1.96 * sd).tolist(), (mean + 1.96 * sd).tolist()
        curves.append(Curve(name, turns, mean.tolist(), low, high, 1 + hue % 5, is_dashed=hue % 2 == 1))
        rows += [
            (
                name,
                view.versions[turn - 1].model.version,
                view.versions[turn - 1].published,
                thousandth(each.mean),
                thousandth(each.sd),
            )
            for turn, each in held
        ]
    reward = view.versions[-1].model.reward
    return Figure(
        "Average effect, version by version",
        partial(_draw_curves, curves, len(view.versions), f"average incremental {reward} per {view.per}"),
        Table(("message", "version", "published", "mean", "sd"), rows),
        "Posterior mean and 95 % band of each published version.",
        [Key(curve.name, "dashed" if curve.is_dashed else "line", curve.hue) for curve in curves],
    )


def _row(belief: Belief) -> Row:
    ends = (belief.mean - 1.96 * belief.sd, belief.mean + 1.96 * belief.sd)
    hue = 1 if ends[0] > 0 or ends[1] < 0 else 0
    return Row(
        belief.name,
        belief.mean,
        ends,
        f"{thousandth(belief.mean)} \u00b1 {thousandth(1.96 * belief.sd)}",
        hue=hue,
    )


def _table(name: str, found: Sequence[Belief]) -> Table:
    return Table(
        (name, "mean", "sd"), [(each.name, thousandth(each.mean), thousandth(each.sd)) for each in found]
    )


def _draw(rows: Sequence[Row], title: str, width: int) -> str:
    label = f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    return interval_chart(rows, Axis(title, axis_thousandth, include=(0.0,)), label, width, reference=0.0)


def _draw_curves(curves: Sequence[Curve], n_versions: int, title: str, width: int) -> str:
    last = "; ".join(f"{curve.name} {thousandth(curve.y[-1])}" for curve in curves)
    return curve_chart(
        curves,
        Axis("version, in the order of publication", number, ends=(1.0, float(n_versions)), is_whole=True),
        Axis(title, axis_thousandth, include=(0.0,)),
        f"{title}, at the latest of {n_versions} versions: {last}",
        width,
        level=0.0,
    )
