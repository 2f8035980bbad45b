"""Pictures of a simulation: what each policy caused, and whom it lost, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

FORMATS = ("svg", "png", "html")


def draw(epochs: pl.DataFrame, title: str) -> Any:
    """Draw incremental reward, share of the oracle's, and opt-outs so far, as one Altair chart.

    Parameters
    ----------
    epochs
        From :func:`decider.simulation.metrics.epochs_frame`; with a column ``seed``, means over seeds are drawn.
    title
        Above the chart.
    """
    told = epochs.with_columns(
        opt_outs_per_1000=1000.0 * pl.col("opt_outs") / pl.col("n_members"),
    )
    mean = told.group_by("policy", "epoch", maintain_order=True).agg(
        pl.col("incremental_per_1000", "share_of_oracle", "opt_outs_per_1000").mean()
    )
    mean = mean.with_columns(
        opt_outs_so_far=pl.col("opt_outs_per_1000").cum_sum().over("policy", order_by="epoch")
    )
    # send-all, at another volume, would squeeze the others.
    equal = mean.filter(pl.col("policy") != "send_all")
    order = mean["policy"].unique(maintain_order=True).to_list()
    panels = [
        _lines(equal, "incremental_per_1000", "incremental reward per 1,000 members", order),
        _lines(equal, "share_of_oracle", "share of the oracle's", order),
        _lines(mean, "opt_outs_so_far", "opt-outs so far per 1,000 members", order),
    ]
    return alt.hconcat(*panels).properties(title=title)


def save(chart: Any, directory: Path, stem: str = "simulation") -> list[Path]:
    """Write the chart in every format; needs no network, neither to write nor to open."""
    paths = [directory / f"{stem}.{kind}" for kind in FORMATS]
    for path in paths:
        extra = {"inline": True} if path.suffix == ".html" else {}
        chart.save(str(path), **extra)
    return paths


def _lines(frame: pl.DataFrame, column: str, title: str, order: list[str]) -> Any:
    hue = alt.Color("policy:N", scale=alt.Scale(scheme="tableau20", domain=order), sort=order)
    return (
        alt.Chart(frame.select("policy", "epoch", column))
        .mark_line()
        .encode(x=alt.X("epoch:Q"), y=alt.Y(f"{column}:Q", title=title), color=hue)
        .properties(width=320, height=260)
    )
