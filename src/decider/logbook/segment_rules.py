"""What a segment's table must hold before it is sealed: its columns, and the rules of their values."""

from __future__ import annotations

import numpy as np
import polars as pl

from decider import errors
from decider.logbook.schema import RunRecord
from decider.logbook.segments import n_places

MAX_PLACES = 16


def check_segment(frame: pl.DataFrame, run: RunRecord, first_ordinal: int) -> None:
    """Refuse a frame that is not the decisions of `run` from `first_ordinal` on.

    Raises
    ------
    errors.InvalidInput
        Every broken rule with the first row that breaks it.
    """
    if not run.is_priced:
        raise errors.InvalidInput.of("theta", "must be set before decisions are logged", run.theta)
    places = n_places(frame.columns)
    if not frame.height:
        raise errors.InvalidInput.of("frame", "must have at least one row", 0)
    if first_ordinal < 0:
        raise errors.InvalidInput.of("first_ordinal", "must be >= 0", first_ordinal)
    wanted = _schema(places, pl.String if frame.schema.get("member_id") == pl.String else pl.Int64)
    if run.cells:
        wanted["cell"] = pl.UInt8
    found = dict(frame.schema)
    if not 1 <= places <= MAX_PLACES or found != wanted:
        wrong = [
            errors.Violation(name, f"must be of type {wanted.get(name)}, got {found.get(name)}")
            for name in dict.fromkeys([*wanted, *found])
            if wanted.get(name) != found.get(name)
        ]
        raise errors.InvalidInput(
            wrong or [errors.Violation("columns", f"must be {list(wanted)} in this order, got {list(found)}")]
        )
    if not _values_hold(frame, places, run, first_ordinal):
        _refuse_values(frame, places, run, first_ordinal)


def _schema(places: int, id_type: type[pl.DataType]) -> dict[str, pl.DataType | type[pl.DataType]]:
    columns: dict[str, pl.DataType | type[pl.DataType]] = {
        "ordinal": pl.Int64,
        "member_id": id_type,
        "stratum": pl.UInt8,
        "n_messages": pl.UInt8,
    }
    for name, dtype in (("c", pl.Int16), ("mean", pl.Float32), ("sd", pl.Float32), ("gain", pl.Float32)):
        columns |= {f"{name}{place}": dtype for place in range(places)}
    return columns | {
        "propensity": pl.Float64,
        "propensity_hits": pl.Int32,
        "expected": pl.Float32,
        "history_sequence": pl.Int64,
    }


def _values_hold(frame: pl.DataFrame, places: int, run: RunRecord, first_ordinal: int) -> bool:
    """Whether the rules hold, at the speed of runs; :func:`_refuse_values` says which does not."""
    if any(frame[name].null_count() for name in frame.columns if name != "propensity"):
        return False
    column = {
        name: frame[name].to_numpy() for name in frame.columns if name not in ("member_id", "propensity")
    }
    # All but the nulls, which are the deferred ones; NaN is in no interval.
    propensity = frame["propensity"].drop_nulls().to_numpy()
    ordinals = np.arange(first_ordinal, first_ordinal + frame.height)
    count = column["n_messages"]
    holds = (
        np.array_equal(column["ordinal"], ordinals)
        and column["stratum"].max() <= 2
        and count.max() <= places
        and column["propensity_hits"].min() >= -1
        and ((propensity > 0) & (propensity <= 1)).all()
        and (not run.cells or column["cell"].max() < len(run.cells))
    )
    for place in range(places):
        code = column[f"c{place}"]
        holds = holds and code.min() >= -1 and code.max() < len(run.candidates)
        holds = holds and np.array_equal(code >= 0, count > place)
    return bool(holds)


def _refuse_values(frame: pl.DataFrame, places: int, run: RunRecord, first_ordinal: int) -> None:
    n_candidates = len(run.candidates)
    never_null = [name for name in frame.columns if name != "propensity"]
    rules: list[tuple[str, str, pl.Expr]] = [
        (
            "ordinal",
            f"must rise by one from {first_ordinal}",
            pl.col("ordinal") != first_ordinal + pl.int_range(pl.len()),
        ),
        ("stratum", "must be 0, 1 or 2", pl.col("stratum") > 2),
        ("n_messages", f"must be at most {places}", pl.col("n_messages") > places),
        (
            "propensity",
            "must be in (0, 1]",
            # NaN is larger than every number to Polars, so the second rule refuses it.
            ~((pl.col("propensity") > 0) & (pl.col("propensity") <= 1)),
        ),
        ("propensity_hits", "must be >= -1", pl.col("propensity_hits") < -1),
    ]
    if run.cells:
        rules.append(("cell", f"must be below {len(run.cells)}", pl.col("cell") >= len(run.cells)))
    rules += [(name, "must not be null", pl.col(name).is_null()) for name in never_null]
    for place in range(places):
        code, filled = pl.col(f"c{place}"), pl.col("n_messages") > place
        right = pl.when(filled).then((code >= 0) & (code < n_candidates)).otherwise(code == -1)
        rules.append(
            (f"c{place}", f"must be in 0..{n_candidates - 1} where filled and -1 where empty", ~right)
        )
    rules = [(field, rule, broken.fill_null(False)) for field, rule, broken in rules]
    counts = frame.select(broken.sum().alias(str(index)) for index, (_, _, broken) in enumerate(rules)).row(0)
    wrong = []
    for (field, rule, broken), count in zip(rules, counts, strict=True):
        if count:
            place = frame.select(broken.arg_max()).item()
            found = frame[field][place]
            wrong.append(errors.Violation(field, f"{rule}, got {found!r} at row {place} ({count} rows)"))
    if wrong:
        raise errors.InvalidInput(wrong)
