"""The members table against its spec: checked once as a whole, then converted batch by batch."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from decider.errors import InvalidInput, Violation
from decider.members.source import collect, require_columns
from decider.members.spec import MAX_CHANNELS, SnapshotSpec

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
        text = rows.present(name).cast(pl.String)
        for level in levels:
            features[:, place] = (text == level).to_numpy()
            place += 1
    consent = np.zeros(len(table), np.uint32)
    for bit, given in enumerate(spec.consent.values()):
        agreed = np.bool_(given) if isinstance(given, bool) else rows.flags(given)
        consent |= np.where(agreed, np.uint32(1 << bit), np.uint32(0))
    zone = np.zeros(len(table), np.int16)
    if spec.time_zone_column is not None:
        names = rows.present(spec.time_zone_column).cast(pl.Enum(layout.zones))
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
        self._table, self._spec, self._first_row, self._filled = table, spec, first_row, filled
        self._met: dict[str, pl.Series] = {}

    def present(self, name: str) -> pl.Series:
        """A column without nulls and NaN: filled where the spec says so, else refused."""
        if name not in self._met:
            self._met[name] = self._fill(self._table[name])
        return self._met[name]

    def numbers(self, name: str) -> Array:
        """A column as float32, finite."""
        column = self.present(name)
        # Two steps, because a Decimal or a large integer rounds once on its way to float32, like a float64.
        values: Array = column.cast(pl.Float64).cast(pl.Float32).to_numpy()
        bad = ~np.isfinite(values)
        if bad.any():
            self._refuse(name, "must be finite as float32", column, int(bad.argmax()))
        return values

    def flags(self, name: str) -> Array:
        """A column as booleans; of integers, 0 and 1 only."""
        column = self.present(name)
        if column.dtype != pl.Boolean:
            bad = ~column.is_in([0, 1]).to_numpy()
            if bad.any():
                self._refuse(name, "must be 0 or 1", column, int(bad.argmax()))
        return column.cast(pl.Boolean).to_numpy()

    def ids(self, id_type: str) -> pl.Series:
        """The ids as Int64 or String."""
        name = self._spec.id
        column = self._table[name]
        if column.null_count():
            self._refuse(name, "must not be null", column, int(column.is_null().arg_max() or 0))
        ids = column.cast(pl.String if id_type == "string" else pl.Int64, strict=False)
        bad = ids.is_null() if id_type == "int64" else ids == ""
        if bad.any():
            rule = "must be an int64" if id_type == "int64" else "must not be empty"
            self._refuse(name, rule, column, int(bad.arg_max() or 0))
        return ids

    def _fill(self, column: pl.Series) -> pl.Series:
        missing = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
        n_missing = int(missing.sum())
        if n_missing == 0:
            return column
        fills = self._spec.missing
        if isinstance(fills, str) or column.name not in fills:
            self._refuse(
                column.name,
                "must not be missing (or name a fill for it)",
                column,
                int(missing.arg_max() or 0),
            )
        self._filled[column.name] += n_missing
        value = fills[column.name]  # type: ignore[index]  # a string was refused above
        return pl.select(
            pl.when(missing).then(pl.lit(value)).otherwise(column).alias(column.name)
        ).to_series()

    def _refuse(self, name: str, rule: str, column: pl.Series, row: int) -> None:
        raise InvalidInput.of(name, rule, column[row], f"at row {self._first_row + row}")


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
        yield from check(f"features[{i}]", name, "numeric or boolean", fits=fits, fill=(float, bool))
    for i, name in enumerate(spec.categories):
        fits = schema[name] in texts or schema[name].is_integer() or schema[name] == pl.Boolean
        yield from check(
            f"categories[{i}]", name, "text, integers or booleans", fits=fits, fill=(str, float, bool)
        )
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
        found.add(str(pl.Series([spec.missing[name]]).cast(pl.String)[0]))
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
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            where = f"in column {column!r}" if column is not None else ""
            raise InvalidInput.of("time_zone", "must be an IANA time zone", zone, where) from None
    return zones
