"""Propensities of a trial: from its design, from one column, or from a column for every arm."""

from __future__ import annotations

import math
from typing import Literal

import polars as pl

from decider import errors
from decider.logbook.cells import numeric, refuse_rows

SUM_TOLERANCE = 1e-9
"""How far propensities that must sum to one may be off."""


def propensity_columns(
    frame: pl.DataFrame,
    arm: pl.Series,
    arms: list[str],
    shares: Literal["uniform"] | dict[str, float] | None,
    propensity: str | dict[str, str] | None,
) -> list[pl.Series]:
    """Give ``propensity`` (of the arm taken) and ``p:<arm>`` for every arm.

    Parameters
    ----------
    frame
        The table.
    arm
        Arm of each row, by name.
    arms
        All arms.
    shares
        Probability of each arm, the same for all rows.
    propensity
        Column with the propensity of the arm taken (then, with more than two arms, those of the others stay
        null), or a column for every arm; None where `shares` is given.

    Raises
    ------
    errors.InvalidInput
        A propensity is outside its bounds, or those of a row or of the design do not sum to one.
    """
    if isinstance(propensity, dict):
        chances = {name: _chance(frame[propensity[name]]) for name in arms}
        total = pl.DataFrame(list(chances.values())).sum_horizontal()
        refuse_rows(
            "propensity", f"must sum to 1 within {SUM_TOLERANCE}", total, (total - 1).abs() > SUM_TOLERANCE
        )
        columns = [chances[name].alias(f"p:{name}") for name in arms]
        table = pl.DataFrame([arm, *columns])
        taken = table.select(
            pl.coalesce(pl.when(pl.col("arm") == name).then(pl.col(f"p:{name}")) for name in arms)
        ).to_series()
    elif propensity is not None:
        taken = _chance(frame[propensity])
        columns = [_known_chance(arm, taken, name, arms) for name in arms]
    else:
        design = _design(shares, arms)
        columns = [pl.repeat(design[name], arm.len(), eager=True).alias(f"p:{name}") for name in arms]
        taken = arm.replace_strict(arms, [design[name] for name in arms], return_dtype=pl.Float64)
    refuse_rows("propensity", "must be in (0, 1]", taken, ~((taken > 0) & (taken <= 1)))
    return [taken.alias("propensity"), *columns]


def _chance(column: pl.Series) -> pl.Series:
    numbers = numeric(column, column.name, pl.Float64)
    refuse_rows(column.name, "must be in [0, 1]", numbers, ~((numbers >= 0) & (numbers <= 1)))
    return numbers


def _known_chance(arm: pl.Series, taken: pl.Series, name: str, arms: list[str]) -> pl.Series:
    """Probability of one arm where only that of the arm taken is logged: with two arms, the rest of it."""
    other = pl.lit(1.0) - pl.col("taken") if len(arms) == 2 else pl.lit(None, pl.Float64)
    table = pl.DataFrame([arm.alias("arm"), taken.alias("taken")])
    return table.select(
        pl.when(pl.col("arm") == name).then(pl.col("taken")).otherwise(other).alias(f"p:{name}")
    ).to_series()


def _design(shares: Literal["uniform"] | dict[str, float] | None, arms: list[str]) -> dict[str, float]:
    if not isinstance(shares, dict):
        return dict.fromkeys(arms, 1 / len(arms))
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise errors.InvalidInput.of(f"shares.{name}", "must be in (0, 1]", share)
    total = math.fsum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise errors.InvalidInput.of("shares", f"must sum to 1 within {SUM_TOLERANCE}", total)
    return shares
