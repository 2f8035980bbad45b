"""What a run of an experiment decided, cell by cell: how much, at which price, which messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from decider.reporting.charts import Row, bar_chart
from decider.reporting.forms import number, percent
from decider.reporting.page import Figure, Section, Table
from decider.reporting.sections.decided import CellView, RunView, counts_figure, sends_figure
from decider.reporting.svg import Axis

NONE = "\u2013"


def cells_section(view: RunView, reward: str) -> Section:
    """Sends a member and prices of all cells, then the messages of each that sends any.

    Parameters
    ----------
    view
        A run that has cells.
    reward
        Its name.
    """
    figures = [_volumes(view.cells)]
    if any(cell.price is not None for cell in view.cells):
        figures.append(_prices(view.cells, reward))
    for cell in view.cells:
        if cell.n_sends:
            figures.append(sends_figure(f"{cell.name}: sends by message", cell.per_candidate, cell.n_sends))
            title = f"{cell.name}: members by number of messages"
            figures.append(counts_figure(title, cell.per_count, cell.n_members))
    lead = f"Each member's cell in {view.policy} says which policy decides; every cell has its own price."
    return Section(
        "cells", "What each cell was sent", lead, "Cells", (), figures, [("Cells", _table(view, reward))]
    )


def _volumes(cells: Sequence[CellView]) -> Figure:
    rows = [
        Row(cell.name, _each(cell), None, f"{number(_each(cell))} \u00b7 {cell.n_sends:,} sends")
        for cell in cells
    ]
    header = ("cell", "sends per member", "sends", "members")
    return Figure(
        "Sends per member",
        partial(_draw, rows, "sends per member"),
        Table(header, [(cell.name, number(_each(cell)), cell.n_sends, cell.n_members) for cell in cells]),
        is_half=True,
    )


def _prices(cells: Sequence[CellView], reward: str) -> Figure:
    rows = [Row(cell.name, cell.price, None, _price(cell)) for cell in cells]
    title = f"price, {reward} per unit of cost"
    return Figure(
        "Price",
        partial(_draw, rows, title),
        Table(("cell", title), [(cell.name, _price(cell)) for cell in cells]),
        is_half=True,
    )


def _table(view: RunView, reward: str) -> Table:
    header = ("cell", "policy", "members", "sends", "price", f"expected incremental {reward}")
    return Table(
        header,
        [
            (
                cell.name,
                cell.policy,
                f"{cell.n_members:,} ({percent(cell.n_members / max(view.n_members, 1))})",
                cell.n_sends,
                _price(cell),
                number(cell.expected_reward) if math.isfinite(cell.expected_reward) else NONE,
            )
            for cell in view.cells
        ],
    )


def _each(cell: CellView) -> float:
    return cell.n_sends / max(cell.n_members, 1)


def _price(cell: CellView) -> str:
    return NONE if cell.price is None else number(cell.price)


def _draw(rows: Sequence[Row], title: str, width: int) -> str:
    label = f"{title}: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    return bar_chart(rows, Axis(title, number, include=(0.0,)), label, width)
