"""The members table against its spec: checked once as a whole, then converted batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from decider.errors import InvalidInput, Violation
from decider.members.source import collect, require_columns
from decider.members.spec import MAX_CHANNELS, Fill, SnapshotSpec
from decider.members.zones import is_zone

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """What the columns of a table become."""

    id_type: Literal["int64", "string"]
    levels: dict[str, tuple[str, ...]]
    """By category: its levels, sorted."""
    feature_names: tuple[str, ...]
    channel_names: tuple[str, ...]
    zones: tuple[str, ...]
    attributes: tuple[str, ...]
    """Columns kept as they are, the id first."""


@dataclass(frozen=True)
class Batch:
    """Some members, converted."""

    ids: pl.Series
    features: Array
    """float32[n, n_features]"""
    consent: Array
    """uint32[n] bits by channel."""
    zone: Array
    """int16[n] places in the layout's zones."""


def read_layout(frame: pl.LazyFrame, schema: pl.Schema, spec: SnapshotSpec) -> Layout:
    """Check a spec against a table and find the levels of categories and the zones in use.

    Raises
    ------
    InvalidInput
        Names every unknown or doubled column, wrong type, fill for a column that is not used, and zone.
    """
    require_columns(schema, _named_columns(spec))
    violations = [*_spec_violations(spec), *_type_violations(schema, spec)]
    if violations:
        raise InvalidInput(violations)
    levels = {name: _levels(frame, name, spec) for name in spec.categories}
    return Layout(
        id_type=id_type_of(schema[spec.id], spec.id_type),
        levels=levels,
        feature_names=_feature_names(spec, levels),
        channel_names=tuple(spec.consent),
        zones=_zones(frame, spec),
        attributes=tuple(dict.fromkeys([spec.id, *(schema if spec.attributes is None else spec.attributes)])),
    )


def convert(
    table: pl.DataFrame, layout: Layout, spec: SnapshotSpec, first_row: int, filled: Counter[str]
) -> Batch:
    """Convert some rows of the table.

    Parameters
    ----------
    table
        The rows.
    layout, spec
        What to make of them.
    first_row
        Place of the first of them in the whole table, for messages.
    filled
        Counts of filled values by column; added to.

    Raises
    ------
    InvalidInput
        A missing value without a fill, or one that its column cannot hold: names column, value and row.
    """
    rows = _Rows(table, spec, first_row, filled)
    features = np.empty((len(table), len(layout.feature_names)), np.float32)
    for place, name in enumerate(spec.features):
        features[:, place] = rows.numbers(name)
    place = len(spec.features)
    for name, levels in layout.levels.items():
        text = rows.texts(name)
        for level in levels:
            features[:, place] = (text == level).to_numpy()
            place += 1
    consent = np.zeros(len(table), np.uint32)
    for bit, given in enumerate(spec.consent.values()):
        agreed = np.bool_(given) if isinstance(given, bool) else rows.flags(given)
        consent |= np.where(agreed, np.uint32(1 << bit), np.uint32(0))
    zone = np.zeros(len(table), np.int16)
    if spec.time_zone_column is not None:
        names = rows.texts(spec.time_zone_column).cast(pl.Enum(layout.zones))
        zone = names.to_physical().cast(pl.Int16).to_numpy()
    return Batch(rows.ids(layout.id_type), features, consent, zone)


def id_type_of(dtype: pl.DataType, wanted: str) -> Literal["int64", "string"]:
    """Say what ids of a column's type are in the snapshot."""
    if wanted == "string" or (wanted == "auto" and dtype == pl.String):
        return "string"
    return "int64"


class _Rows:
    """Columns of a batch with their missing values met, and with messages that know the row."""

    def __init__(self, table: pl.DataFrame, spec: SnapshotSpec, first_row: int, filled: Counter[str]) -> None:
        self._table, self._first_row, self._filled = table, first_row, filled
        self._fills = {} if isinstance(spec.missing, str) else spec.missing
        self._id = spec.id
        self._counted: set[str] = set()

    def numbers(self, name: str) -> Array:
        """A column as float32, finite."""
        column = self._table[name].cast(pl.Float64)
        if (fill := self._fill_for(name)) is not None:
            column = column.fill_null(float(fill)).fill_nan(float(fill))
        # By way of float64, so that large integers and decimals round but once.
        values: Array = column.cast(pl.Float32).to_numpy()
        bad = ~np.isfinite(values)
        if bad.any():
            self._refuse(name, "must be finite as float32", int(bad.argmax()))
        return values

    def texts(self, name: str) -> pl.Series:
        """A column as strings."""
        column = self._table[name].cast(pl.String)
        fill = self._fill_for(name)
        return column if fill is None else column.fill_null(text_of(fill))

    def flags(self, name: str) -> Array:
        """A column as booleans; of integers, 0 and 1 only."""
        column = self._table[name]
        fill = self._fill_for(name)
        if column.dtype != pl.Boolean:
            bad = (~column.is_in([0, 1])).fill_null(value=False).to_numpy()
            if bad.any():
                self._refuse(name, "must be 0 or 1", int(bad.argmax()))
            column = column.cast(pl.Boolean)
        return (column if fill is None else column.fill_null(bool(fill))).to_numpy()

    def ids(self, id_type: str) -> pl.Series:
        """The ids as Int64 or String."""
        column = self._table[self._id]
        ids = column.cast(pl.String if id_type == "string" else pl.Int64, strict=False)
        for rule, bad in (
            ("must not be null", column.is_null()),
            ("must be an int64", ids.is_null()),
            ("must not be empty", ids == "" if id_type == "string" else ids.is_null()),
        ):
            if bad.any():
                self._refuse(self._id, rule, int(bad.arg_max() or 0))
        return ids

    def _fill_for(self, name: str) -> Fill | None:
        """What to fill a column with, None when nothing is missing; counts, and refuses without a fill."""
        column = self._table[name]
        missing = column.is_null()
        if column.dtype.is_float():
            missing = missing | column.is_nan().fill_null(value=False)
        n_missing = int(missing.sum())
        if n_missing == 0:
            return None
        if name not in self._fills:
            self._refuse(name, "must not be missing (or name a fill for it)", int(missing.arg_max() or 0))
        if name not in self._counted:
            self._counted.add(name)
            self._filled[name] += n_missing
        return self._fills[name]

    def _refuse(self, name: str, rule: str, row: int) -> NoReturn:
        raise InvalidInput.of(name, rule, self._table[name][row], f"at row {self._first_row + row}")


def text_of(fill: Fill) -> str:
    """A fill as the level it stands for: booleans as Polars writes them."""
    return str(fill).lower() if isinstance(fill, bool) else str(fill)


def _named_columns(spec: SnapshotSpec) -> Iterator[tuple[str, str]]:
    yield "id", spec.id
    yield from ((f"features[{i}]", name) for i, name in enumerate(spec.features))
    yield from ((f"categories[{i}]", name) for i, name in enumerate(spec.categories))
    yield from ((f"attributes[{i}]", name) for i, name in enumerate(spec.attributes or ()))
    yield from ((f"consent.{name}", given) for name, given in spec.consent.items() if isinstance(given, str))
    if spec.time_zone_column is not None:
        yield "time_zone_column", spec.time_zone_column


def _spec_violations(spec: SnapshotSpec) -> Iterator[Violation]:
    for field in ("features", "categories", "attributes"):
        for name, count in Counter(getattr(spec, field) or ()).items():
            if count > 1:
                yield Violation(field, f"must name a column once, got {name!r} {count} times")
    if len(spec.consent) > MAX_CHANNELS:
        yield Violation("consent", f"must hold at most {MAX_CHANNELS} channels, got {len(spec.consent)}")
    if spec.time_zone is not None and spec.time_zone_column is not None:
        found = f"{spec.time_zone!r} and {spec.time_zone_column!r}"
        yield Violation("time_zone", f"must not be given together with time_zone_column, got {found}")
    if not isinstance(spec.missing, str):
        fillable = {*spec.features, *spec.categories, *spec.consent.values(), spec.time_zone_column}
        for name in spec.missing:
            if name not in fillable:
                rule = "must fill a feature, a category, a consent or the time zone"
                yield Violation(f"missing.{name}", f"{rule}, got {name!r}")


def _type_violations(schema: pl.Schema, spec: SnapshotSpec) -> Iterator[Violation]:
    fills = {} if isinstance(spec.missing, str) else spec.missing
    texts = (pl.String, pl.Categorical, pl.Enum)

    def check(
        field: str, name: str, rule: str, *, fits: bool, fill: type | tuple[type, ...]
    ) -> Iterator[Violation]:
        if not fits:
            yield Violation(field, f"must be {rule}, got {schema[name]} in column {name!r}")
        elif name in fills and not isinstance(fills[name], fill):
            yield Violation(f"missing.{name}", f"must be {rule}, got {fills[name]!r}")

    dtype = schema[spec.id]
    if not (dtype.is_integer() or (dtype == pl.String and spec.id_type != "int64")):
        wanted = "integers" if spec.id_type == "int64" else "integers or strings"
        yield from check("id", spec.id, wanted, fits=False, fill=())
    for i, name in enumerate(spec.features):
        fits = schema[name].is_numeric() or schema[name] == pl.Boolean
        yield from check(f"features[{i}]", name, "numeric or boolean", fits=fits, fill=(int, float))
    for i, name in enumerate(spec.categories):
        fits = schema[name] in texts or schema[name].is_integer() or schema[name] == pl.Boolean
        yield from check(f"categories[{i}]", name, "text, integers or booleans", fits=fits, fill=(str, int))
    for channel, given in spec.consent.items():
        if isinstance(given, str):
            fits = schema[given] == pl.Boolean or schema[given].is_integer()
            yield from check(
                f"consent.{channel}", given, "boolean (or integers 0 and 1)", fits=fits, fill=bool
            )
    if (zone := spec.time_zone_column) is not None:
        yield from check("time_zone_column", zone, "text", fits=schema[zone] in texts, fill=str)


def _levels(frame: pl.LazyFrame, name: str, spec: SnapshotSpec) -> tuple[str, ...]:
    found = _distinct(frame, name, spec)
    if len(found) > spec.max_levels:
        rule = f"must have at most {spec.max_levels} levels (see max_levels), got {len(found)}"
        raise InvalidInput([Violation("categories", f"{name!r} {rule}")])
    return found


def _distinct(frame: pl.LazyFrame, name: str, spec: SnapshotSpec) -> tuple[str, ...]:
    """The distinct texts of a column, sorted; a null counts as its fill (without one it is refused later)."""
    column = collect(frame.select(pl.col(name).cast(pl.String)).unique()).to_series()
    found = set(column.drop_nulls().to_list())
    if column.null_count() and not isinstance(spec.missing, str) and name in spec.missing:
        found.add(text_of(spec.missing[name]))
    return tuple(sorted(found))


def _feature_names(spec: SnapshotSpec, levels: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    names = [*spec.features, *(f"{name}={level}" for name in levels for level in levels[name])]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise InvalidInput.of("features", "must have names that no category's level has too", doubled[0])
    return tuple(names)


def _zones(frame: pl.LazyFrame, spec: SnapshotSpec) -> tuple[str, ...]:
    column = spec.time_zone_column
    zones = _distinct(frame, column, spec) if column is not None else (spec.time_zone or "UTC",)
    for zone in zones:
        if not is_zone(zone):
            where = f"in column {column!r}" if column is not None else ""
            raise InvalidInput.of("time_zone", "must be an IANA time zone", zone, where)
    return zones
