"""The price and its frontier: what every volume would earn, where today's price stands, which one to take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from decider.evaluation import Frontier, FrontierPoint
from decider.reporting.charts import Curve, Mark, curve_chart
from decider.reporting.forms import axis_percent, axis_thousandth, bracketed, number, percent, thousandth
from decider.reporting.page import Figure, Finding, Key, Section, Table
from decider.reporting.svg import Axis


@dataclass(frozen=True)
class PriceView:
    """A frontier and what it is of.

    Parameters
    ----------
    frontier
        With today's price and the recommended one, where they are known.
    model
        The model that orders the rows.
    reward, per
        The reward's name, and what its rate is per, such as ``1,000 members``.
    exchange_rate
        The reward that one send must be worth; None where no price was asked for.
    opt_outs
        The name of the reward that counts opt-outs; None without.
    """

    frontier: Frontier
    model: str
    reward: str
    per: str
    exchange_rate: float | None = None
    opt_outs: str | None = None


def price_section(view: PriceView) -> Section:
    """The frontier with its band, or why there is none."""
    lead = f"Each row is sent the message that {view.model} thinks best, rows with the most to gain first."
    found = view.frontier
    if found.refused:
        return Section(
            "price",
            "Price and frontier",
            lead,
            "Price",
            [Finding("warning", f"No frontier: {found.refused}.")],
        )
    findings = []
    if found.today is not None:
        findings.append(Finding("note", f"Today: {_told(found.today, view)}."))
    best = found.recommended
    if best is not None and view.exchange_rate is not None:
        low, high = best.volumes
        findings.append(
            Finding(
                "good",
                f"Recommended where a send must be worth {number(view.exchange_rate)} {view.reward}: "
                f"{_told(best.point, view)}. "
                f"The log cannot tell volumes from {percent(low)} to {percent(high)} apart from it.",
            )
        )
    figures = [_figure(view)]
    if view.opt_outs is not None and found.points[0].harm is not None:
        figures.append(_harm(view))
    return Section("price", "Price and frontier", lead, "Price", findings, figures)


def _figure(view: PriceView) -> Figure:
    points = view.frontier.points
    curve = Curve(
        "frontier",
        [point.volume for point in points],
        [point.reward for point in points],
        [point.band.low for point in points],
        [point.band.high for point in points],
    )
    marks = []
    best = view.frontier.recommended
    if best is not None:
        marks.append(
            Mark(f"recommended\nprice {_price(best.point)}", best.point.volume, best.point.reward, 3)
        )
    if view.frontier.today is not None:
        today = view.frontier.today
        marks.append(Mark(f"today\nprice {_price(today)}", today.volume, today.reward, 2, is_open=True))
    label = f"Incremental {view.reward} per {view.per} by volume: " + ", ".join(
        f"{percent(point.volume)} {thousandth(point.reward)}" for point in points[::25]
    )
    keys = [Key("estimate", "line"), Key("95 % band of all points together", "band")]
    keys += [Key("recommended price", "dot", 3)] if best is not None else []
    keys += [Key("today's price", "open", 2)] if view.frontier.today is not None else []
    return Figure(
        "What every volume would earn",
        partial(_draw, curve, f"incremental {view.reward} per {view.per}", label, tuple(marks)),
        Table(
            ("volume", "price", f"incremental {view.reward} per {view.per}", "95 % band"),
            [
                (percent(point.volume), _price(point), thousandth(point.reward), bracketed(point.band))
                for point in points[::10]
            ],
        ),
        "Against sending nothing to anybody. The whole frontier lies in the band, in 95 of 100 such logs.",
        keys,
    )


def _harm(view: PriceView) -> Figure:
    points = [
        point for point in view.frontier.points if point.harm is not None and point.harm_band is not None
    ]
    harms = [point.harm or 0.0 for point in points]
    bands = [point.harm_band or (0.0, 0.0) for point in points]
    curve = Curve(
        "opt-outs",
        [point.volume for point in points],
        harms,
        [band[0] for band in bands],
        [band[1] for band in bands],
        hue=2,
    )
    title = f"incremental {view.opt_outs} per {view.per}"
    return Figure(
        "What every volume would cost in opt-outs",
        partial(_draw, curve, title, f"{title} by volume, up to {thousandth(harms[-1])}", ()),
        Table(
            ("volume", title, "95 % band"),
            [
                (percent(point.volume), thousandth(harm), bracketed(band))
                for point, harm, band in list(zip(points, harms, bands, strict=True))[::10]
            ],
        ),
        "Against sending nothing to anybody.",
        [Key("estimate", "line", 2), Key("95 % band of all points together", "band", 2)],
    )


def _draw(curve: Curve, y_title: str, label: str, marks: tuple[Mark, ...], width: int) -> str:
    return curve_chart(
        [curve],
        Axis("share of rows that are sent a message", axis_percent, ends=(0.0, 1.0)),
        Axis(y_title, axis_thousandth, include=(0.0,)),
        label,
        width,
        marks,
        level=0.0,
    )


def _told(point: FrontierPoint, view: PriceView) -> str:
    return (
        f"price {_price(point)}, volume {percent(point.volume)}, {thousandth(point.reward)} {bracketed(point.band)} "
        f"incremental {view.reward} per {view.per}"
    )


def _price(point: FrontierPoint) -> str:
    return "none sent" if point.price is None else number(point.price)
