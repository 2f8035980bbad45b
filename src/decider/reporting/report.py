"""The report: what was found, section by section, as one HTML file that opens without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decider.reporting.forms import number, percent, thousandth, with_interval
from decider.reporting.page import Section, Tile, page
from decider.reporting.sections.cells import cells_section
from decider.reporting.sections.data import DataView, data_section
from decider.reporting.sections.decided import RunView, decided_section
from decider.reporting.sections.estimates import EstimatesView, best_of, estimates_section
from decider.reporting.sections.exploration import ExplorationView, exploration_section
from decider.reporting.sections.posteriors import PosteriorsView, posteriors_section
from decider.reporting.sections.price import PriceView, price_section
from decider.reporting.sections.uplift import UpliftView, uplift_section


@dataclass(frozen=True)
class Report:
    """Everything that the report shows; a section of None is left out.

    Parameters
    ----------
    title, subtitle
        The heading, and the line under it.
    facts
        Where it all comes from: names and values.
    data
        Data warnings: they come first.
    run
        What a run decided.
    price
        The frontier.
    estimates
        Judged policies.
    uplift
        Judged predictions.
    posteriors
        One model, version by version.
    exploration
        Whether chance works as logged.
    more
        Further sections, such as read-outs of experiments: they stand before the exploration's.
    """

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    data: DataView
    run: RunView | None
    price: PriceView | None
    estimates: EstimatesView
    uplift: UpliftView | None
    posteriors: PosteriorsView | None
    exploration: ExplorationView
    more: Sequence[Section] = ()


def html_of(report: Report) -> str:
    """The report as an HTML document; the same report gives the same text."""
    sections = [data_section(report.data)]
    if report.run is not None:
        sections.append(decided_section(report.run))
        if report.run.cells:
            sections.append(cells_section(report.run, report.estimates.reward))
    if report.price is not None:
        sections.append(price_section(report.price))
    sections.append(estimates_section(report.estimates))
    if report.uplift is not None:
        sections.append(uplift_section(report.uplift))
    if report.posteriors is not None:
        sections.append(posteriors_section(report.posteriors))
    sections += [*report.more, exploration_section(report.exploration)]
    return page(report.title, report.subtitle, report.facts, _tiles(report), sections)


def write_report(report: Report, path: Path) -> None:
    """Write the report; the file appears when it is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(html_of(report), "utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _tiles(report: Report) -> list[Tile]:
    tiles = []
    run = report.run
    if run is not None:
        note = f"{percent(run.n_sends / max(run.n_members, 1))} of {run.n_members:,} members"
        tiles.append(Tile("Sends", f"{run.n_sends:,}", note))
        tiles.append(_price_of(run, report.estimates.reward))
    estimates = report.estimates
    name, best = best_of(estimates.policies[estimates.main].incremental)
    what = f"incremental {estimates.reward} per {estimates.per}"
    if best.value is None:
        tiles.append(Tile(estimates.main, "no number", best.refused))
    else:
        ends = with_interval(best).partition(" ")[2]
        tiles.append(Tile(estimates.main, thousandth(best.value), f"{what}, {name.upper()} {ends}"))
    n_warnings = sum(f.level == "warning" for f in data_section(report.data).findings)
    tiles.append(Tile("Data warnings", str(n_warnings), "look at them first" if n_warnings else "none"))
    return tiles


def _price_of(run: RunView, reward: str) -> Tile:
    if run.price is not None:
        return Tile("Price", number(run.price), f"{reward} per unit of cost")
    if run.budget_prices:
        by_channel = ", ".join(f"{name} {number(price)}" for name, price in run.budget_prices.items())
        return Tile("Prices", by_channel, f"{reward} beyond the policy's own price, by channel")
    prices = [cell.price for cell in run.cells if cell.price is not None]
    return Tile(
        "Price", f"{number(min(prices))} to {number(max(prices))}", f"{reward} per unit of cost, by cell"
    )
