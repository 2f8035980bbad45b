"""Import of a randomised trial: any table with an arm, rewards, features and known propensities."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl

from decider import errors
from decider.logbook.cells import constant_warnings, numeric, one_hot, refuse_rows
from decider.logbook.feedback import Fact, Feedback, seal_feedback
from decider.logbook.propensities import propensity_columns

_ROW = "__row"


class TrialSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which columns of a table mean what.

    Exactly one of `shares` and `propensity` says with what probability each arm was given.
    """

    arm: str
    """Column with the arm of each row; its values become the arms' names."""
    control: str | int | bool
    """Value of the arm that sends nothing."""
    rewards: list[str]
    """Numeric (or true/false) columns."""
    features: list[str] = []
    """Numeric (or true/false) columns."""
    categories: list[str] = []
    """Columns that become one feature ``column=value`` for each value."""
    shares: Literal["uniform"] | dict[str, float] | None = None
    """Probability of each arm by the design, the same for every row; ``uniform`` gives all arms the same."""
    propensity: str | dict[str, str] | None = None
    """Column with the propensity of the arm taken, or a column for every arm."""
    member_id: str | None = None
    """Column with integers or strings; None takes the number of the row in the source, from 0."""
    repeated: bool = False
    """Whether a member may have several rows, as in a micro-randomised trial."""
    rows: str | None = None
    """SQL condition on the columns: only rows that fulfil it were randomised. Null is not fulfilled."""


def import_trial(source: Path | str, spec: TrialSpec, out: Path | str) -> Feedback:
    """Read a table of a randomised trial and seal it as feedback.

    Parameters
    ----------
    source
        ``.csv``, ``.csv.gz``, ``.parquet``, ``.arrow``, ``.feather`` or ``.ipc``. In CSV an empty cell and
        ``NA`` are missing values.
    spec
        What its columns mean.
    out
        Directory to make; it must not exist.

    Raises
    ------
    errors.NotFound
        There is no such file.
    errors.UnknownName
        A column or an arm does not exist; near names are given.
    errors.InvalidInput
        Another rule is broken: names the column, the rule, the value and the row (counted from 0).
    errors.Conflict
        `out` exists.
    """
    source = Path(source)
    _check_spec(spec)
    table = _scan(source)
    _check_columns(spec, _column_names(table, source))
    frame, n_read = _read(table, spec)
    arms, control = _arms(frame, spec)
    member_id = _member_ids(frame, spec)
    rewards = [numeric(frame[name], f"y:{name}", pl.Float64) for name in spec.rewards]
    features = [numeric(frame[name], f"x:{name}", pl.Float32) for name in spec.features]
    levels: dict[str, list[str]] = {}
    for name in spec.categories:
        levels[name], columns = one_hot(frame[name])
        features += columns
    arm = frame[spec.arm].cast(pl.String).alias("arm")
    propensities = propensity_columns(frame, arm, arms, spec.shares, spec.propensity)
    feature_names = [column.name.removeprefix("x:") for column in features]
    facts: dict[str, Fact] = {
        "source": source.name,
        "kind": "trial",
        "spec": msgspec.json.encode(spec).decode(),
        "n_read": n_read,
        "n_left_out": n_read - frame.height,
        "n_members": member_id.n_unique(),
        "n_by_arm": {name: int((arm == name).sum()) for name in arms},
        "warnings": constant_warnings(features),
    }
    facts |= {f"levels:{name}": values for name, values in levels.items()}
    sealed = pl.DataFrame([member_id, arm, *propensities, *rewards, *features])
    return seal_feedback(
        sealed,
        out,
        arms=arms,
        control=control,
        rewards=list(spec.rewards),
        feature_names=feature_names,
        facts=facts,
    )


def _check_spec(spec: TrialSpec) -> None:
    wrong = []
    if not spec.rewards:
        wrong.append(errors.Violation("rewards", "must name at least one column, got []"))
    if not spec.features and not spec.categories:
        wrong.append(errors.Violation("features", "must name at least one column, or categories, got []"))
    if (spec.shares is None) == (spec.propensity is None):
        wrong.append(
            errors.Violation("shares", f"must be given exactly where propensity is not, got {spec.shares!r}")
        )
    used: dict[str, str] = {}
    for field, names in _columns_of(spec).items():
        for name in names:
            if name in used:
                rule = f"must not use a column twice, got {name!r}, which is in {used[name]} too"
                wrong.append(errors.Violation(field, rule))
            used[name] = field
    if wrong:
        raise errors.InvalidInput(wrong)


def _columns_of(spec: TrialSpec) -> dict[str, list[str]]:
    chances: list[str] = []
    if isinstance(spec.propensity, dict):
        chances = list(spec.propensity.values())
    elif spec.propensity is not None:
        chances = [spec.propensity]
    return {
        "arm": [spec.arm],
        "rewards": spec.rewards,
        "features": spec.features,
        "categories": spec.categories,
        "propensity": chances,
        "member_id": [] if spec.member_id is None else [spec.member_id],
    }


def _check_columns(spec: TrialSpec, columns: list[str]) -> None:
    unknown = []
    for field, names in _columns_of(spec).items():
        for name in names:
            if name not in columns:
                near = get_close_matches(name, columns, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(columns)}"
                unknown.append(errors.Violation(field, f"must name a column, got {name!r}: {hint}"))
    if unknown:
        raise errors.UnknownName(unknown)


def _column_names(table: pl.LazyFrame, source: Path) -> list[str]:
    try:
        return table.collect_schema().names()
    except pl.exceptions.PolarsError as cause:
        raise errors.InvalidInput.of("source", f"cannot be read: {cause}", str(source)) from cause


def _scan(source: Path) -> pl.LazyFrame:
    if not source.is_file():
        raise errors.NotFound("source", "file", str(source))
    ending = "".join(source.suffixes[-2:]) if source.suffix == ".gz" else source.suffix
    if ending in (".csv", ".csv.gz"):
        # All rows vote on a column's type: an integer column may turn fractional on its last line.
        return pl.scan_csv(source, infer_schema_length=None, null_values=["", "NA"], try_parse_dates=False)
    if ending == ".parquet":
        return pl.scan_parquet(source)
    if ending in (".arrow", ".feather", ".ipc"):
        return pl.scan_ipc(source)
    raise errors.InvalidInput.of(
        "source", "must end in .csv, .csv.gz, .parquet, .arrow, .feather or .ipc", source.name
    )


def _read(table: pl.LazyFrame, spec: TrialSpec) -> tuple[pl.DataFrame, int]:
    wanted = list(dict.fromkeys(name for names in _columns_of(spec).values() for name in names))
    if spec.member_id is None:
        table = table.with_row_index(_ROW)
        wanted.append(_ROW)
    try:
        if spec.rows is None:
            frame = table.select(wanted).collect()
            n_read = frame.height
        else:
            kept = pl.sql_expr(spec.rows).fill_null(False).alias("__kept")
            marked = table.select(*wanted, kept).collect()
            n_read = marked.height
            frame = marked.filter("__kept").drop("__kept")
    except pl.exceptions.PolarsError as cause:
        field = "source" if spec.rows is None else "rows"
        raise errors.InvalidInput.of(field, f"cannot be read: {cause}", spec.rows) from cause
    if not frame.height:
        raise errors.InvalidInput.of("rows", "must leave at least one row", 0)
    return frame, n_read


def _arms(frame: pl.DataFrame, spec: TrialSpec) -> tuple[list[str], str]:
    """Name the arms, the control first, the others in the order of their names."""
    refuse_rows("arm", "must not be missing", frame[spec.arm], frame[spec.arm].is_null())
    found = sorted(frame[spec.arm].cast(pl.String).unique().to_list())
    control = str(spec.control).lower() if isinstance(spec.control, bool) else str(spec.control)
    if control not in found:
        raise errors.UnknownName.of("control", f"must be an arm that has rows, one of {found}", control)
    if len(found) == 1:
        raise errors.InvalidInput.of("arm", "must have at least one value besides the control", found)
    named = spec.shares if isinstance(spec.shares, dict) else spec.propensity
    if isinstance(named, dict):
        field = "shares" if isinstance(spec.shares, dict) else "propensity"
        without = sorted(set(named) - set(found))
        if without:
            raise errors.UnknownName.of(field, f"must name arms that have rows, one of {found}", without[0])
        missing = sorted(set(found) - set(named))
        if missing:
            raise errors.InvalidInput.of(field, f"must name every arm, {missing} are missing", sorted(named))
    return [control, *(name for name in found if name != control)], control


def _member_ids(frame: pl.DataFrame, spec: TrialSpec) -> pl.Series:
    if spec.member_id is None:
        return frame[_ROW].cast(pl.Int64).alias("member_id")
    ids = frame[spec.member_id]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise errors.InvalidInput.of("member_id", "must be integers or strings", str(ids.dtype))
    refuse_rows("member_id", "must not be missing", ids, ids.is_null())
    if not spec.repeated:
        refuse_rows("member_id", "must not be double (set repeated to allow it)", ids, ids.is_duplicated())
    if ids.dtype == pl.UInt64:
        refuse_rows("member_id", "must fit a signed 64-bit integer", ids, ids > 2**63 - 1)
    return (ids if ids.dtype == pl.String else ids.cast(pl.Int64)).alias("member_id")
