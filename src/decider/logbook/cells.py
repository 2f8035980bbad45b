"""Cells of a table: turned into numbers where they can be, refused by column, row and value where not."""

from __future__ import annotations

import polars as pl

from decider import errors

_MAX_FLOAT32 = 3.4028234663852886e38


def refuse_rows(field: str, rule: str, column: pl.Series, broken: pl.Series) -> None:
    """Raise if any row is broken.

    Parameters
    ----------
    column
        The values.
    broken
        Boolean, as long: which rows break the rule.

    Raises
    ------
    errors.InvalidInput
        Names the first such value, its row (from 0, among the rows kept) and how many there are.
    """
    count = int(broken.sum())
    if count:
        place = int(broken.arg_max() or 0)
        raise errors.InvalidInput.of(field, rule, column[place], f"at row {place} ({count} rows)")


def numeric(column: pl.Series, name: str, dtype: type[pl.Float32] | type[pl.Float64]) -> pl.Series:
    """Turn a column into finite floats under another name; true and false become 1 and 0.

    Raises
    ------
    errors.InvalidInput
        It holds text, a missing or not finite value, or one that the type cannot hold.
    """
    field = column.name
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        rule = "must be numeric (categories take text)"
        raise errors.InvalidInput.of(field, rule, column[0], f"of type {column.dtype}")
    refuse_rows(field, "must not be missing", column, column.is_null())
    numbers = column.cast(pl.Float64)
    refuse_rows(field, "must be finite", column, ~numbers.is_finite())
    if dtype == pl.Float32:
        refuse_rows(field, "must fit a 32-bit float", column, numbers.abs() > _MAX_FLOAT32)
    return numbers.cast(dtype).alias(name)


def one_hot(column: pl.Series) -> tuple[list[str], list[pl.Series]]:
    """Give a column's levels, sorted, and one 0/1 column ``x:<column>=<level>`` for each."""
    refuse_rows(column.name, "must not be missing", column, column.is_null())
    text = column.cast(pl.String)
    levels = sorted(text.unique().to_list())
    return levels, [(text == level).cast(pl.Float32).alias(f"x:{column.name}={level}") for level in levels]


def constant_warnings(features: list[pl.Series]) -> list[str]:
    """Name the features that tell nothing; they are kept, since the caller asked for them."""
    return [
        f"feature {column.name.removeprefix('x:')} is constant: {column[0]}"
        for column in features
        if column.n_unique() == 1
    ]
