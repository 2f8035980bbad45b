"""Past sends of a table, grouped by member: offsets, times and codes as flat files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from decider.errors import InvalidInput, Violation
from decider.members.source import batches, collect, require_columns, scan, schema_of
from decider.members.spec import SendsSpec

Array = npt.NDArray[Any]

OFFSETS: Final = "send_offset.i64"
TIMES: Final = "send_time.i64"
CODES: Final = "send_code.i32"

_NAMES: Final = ("message", "type", "topic", "channel")
_STEP: Final = 1 << 20
"""Sends in memory at once while they are put in order."""
_STAGED: Final = np.dtype([("row", np.int32), ("code", np.int32), ("time", np.int64)])


@dataclass(frozen=True)
class Sends:
    """What was written."""

    vocabulary: tuple[tuple[str, str, str, str], ...]
    n_sends: int
    n_dropped: int


def write_sends(
    directory: Path,
    spec: SendsSpec | None,
    n_members: int,
    id_type: str,
    rows_of: Callable[[pl.Series], Array],
    report: Callable[[int], None],
) -> Sends:
    """Write the past sends of all members.

    The order of the source does not matter: each member's sends stand by time, then code.

    Parameters
    ----------
    directory
        Where to.
    spec
        The table of sends; None writes no sends.
    n_members
        Number of members N.
    id_type
        ``int64`` or ``string``.
    rows_of
        Rows of ids, -1 for an unknown one.
    report
        Is told how many sends were read.

    Raises
    ------
    InvalidInput
        An unknown column, a wrong type, a null, or a send to an unknown member that the spec does not drop.
    """
    if spec is None:
        np.zeros(n_members + 1, np.int64).tofile(directory / OFFSETS)
        for name in (TIMES, CODES):
            (directory / name).touch()
        return Sends((), 0, 0)
    text_columns = [spec.member] if id_type == "string" else []
    frame = _select(scan([spec.path], text_columns), spec, id_type)
    vocabulary = collect(frame.select(_NAMES).unique()).drop_nulls().sort(_NAMES)
    staged = directory / "staged"
    counts = np.zeros(n_members, np.int64)
    n_dropped = _stage(staged, frame, vocabulary, spec, rows_of, counts, report)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    offsets.tofile(directory / OFFSETS)
    n_sends = int(offsets[-1])
    if n_sends:
        times = np.memmap(directory / TIMES, np.int64, "w+", shape=n_sends)
        codes = np.memmap(directory / CODES, np.int32, "w+", shape=n_sends)
        _group(staged, offsets, times, codes)
        _order(offsets, times, codes)
        times.flush()
        codes.flush()
    else:
        for name in (TIMES, CODES):
            (directory / name).touch()
    staged.unlink()
    return Sends(tuple(vocabulary.iter_rows()), n_sends, n_dropped)


def _select(table: pl.LazyFrame, spec: SendsSpec, id_type: str) -> pl.LazyFrame:
    """The six columns under our names and types."""
    schema = schema_of(table)
    columns = {name: getattr(spec, name) for name in ("member", *_NAMES, "time")}
    require_columns(schema, [(f"sends.{name}", column) for name, column in columns.items()])
    member, time = schema[spec.member], schema[spec.time]
    violations = []
    if not (member.is_integer() or (id_type == "string" and member == pl.String)):
        wanted = "integers" if id_type == "int64" else "strings"
        violations.append(
            Violation("sends.member", f"must be {wanted}, got {member} in column {spec.member!r}")
        )
    for name in _NAMES:
        dtype = schema[columns[name]]
        if dtype not in (pl.String, pl.Categorical, pl.Enum):
            violations.append(
                Violation(f"sends.{name}", f"must be text, got {dtype} in column {columns[name]!r}")
            )
    if not (isinstance(time, pl.Datetime) or time.is_integer() or time == pl.String):
        rule = "must be timestamps, RFC 3339 text or whole microseconds"
        violations.append(Violation("sends.time", f"{rule}, got {time} in column {spec.time!r}"))
    if violations:
        raise InvalidInput(violations)
    ids = pl.col(spec.member).cast(pl.String if id_type == "string" else pl.Int64)
    names = [pl.col(columns[name]).cast(pl.String).alias(name) for name in _NAMES]
    return table.select(ids.alias("member"), *names, _micros(spec.time, time).alias("time"))


def _micros(column: str, dtype: pl.DataType) -> pl.Expr:
    """Microseconds since the Unix epoch; a time without a zone is UTC, a text that is no time is null."""
    if isinstance(dtype, pl.Datetime):
        return pl.col(column).dt.epoch("us")
    if dtype != pl.String:
        return pl.col(column).cast(pl.Int64)
    text = pl.col(column).str.replace(" ", "T", literal=True)
    zoned = text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    plain = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return pl.coalesce(zoned, plain.dt.replace_time_zone("UTC")).dt.epoch("us")


def _stage(
    path: Path,
    frame: pl.LazyFrame,
    vocabulary: pl.DataFrame,
    spec: SendsSpec,
    rows_of: Callable[[pl.Series], Array],
    counts: Array,
    report: Callable[[int], None],
) -> int:
    """Write (row, code, time) of every send in the order of the source, and count them by member."""
    coded = vocabulary.with_row_index("code")
    n_dropped = n_read = 0
    with path.open("wb") as file:
        for batch in batches(frame):
            for name in batch.columns:
                if batch[name].null_count():
                    row = n_read + int(batch[name].is_null().arg_max() or 0)
                    rule = "must be a time" if name == "time" else "must not be null"
                    raise InvalidInput.of(f"sends.{name}", rule, None, f"at row {row}")
            rows = rows_of(batch["member"])
            known = rows >= 0
            if not known.all():
                place = int((~known).argmax())
                if spec.unknown_members == "refuse":
                    raise InvalidInput.of(
                        "sends.member", "must be a member", batch["member"][place], f"at row {n_read + place}"
                    )
                n_dropped += int((~known).sum())
            codes = batch.join(coded, on=_NAMES, how="left", maintain_order="left")["code"]
            if codes.null_count():
                raise InvalidInput([Violation("sends", "must not change while it is read")])
            out = np.empty(int(known.sum()), _STAGED)
            out["row"], out["code"] = rows[known], codes.to_numpy()[known]
            out["time"] = batch["time"].to_numpy()[known]
            file.write(out.tobytes())
            members, times = np.unique(out["row"], return_counts=True)
            counts[members] += times
            n_read += len(batch)
            report(n_read)
    return n_dropped


def _group(staged: Path, offsets: Array, times: Array, codes: Array) -> None:
    """Put the sends of each member side by side."""
    cursor = offsets[:-1].copy()
    with staged.open("rb") as file:
        while len(part := np.fromfile(file, _STAGED, _STEP)):
            part = part[np.argsort(part["row"], kind="stable")]
            rows, first, count = np.unique(part["row"], return_index=True, return_counts=True)
            rank = np.arange(len(part)) - np.repeat(first, count)
            places = cursor[part["row"]] + rank
            times[places], codes[places] = part["time"], part["code"]
            cursor[rows] += count


def _order(offsets: Array, times: Array, codes: Array) -> None:
    """Order the sends of each member by time, then code."""
    for first, last in _member_ranges(offsets):
        part = slice(int(offsets[first]), int(offsets[last]))
        rows = np.repeat(np.arange(first, last), np.diff(offsets[first : last + 1]))
        order = np.lexsort((codes[part], times[part], rows))
        times[part], codes[part] = times[part][order], codes[part][order]


def _member_ranges(offsets: Array) -> Iterator[tuple[int, int]]:
    """Ranges of whole members with about `_STEP` sends each."""
    first, n_members = 0, len(offsets) - 1
    while first < n_members:
        last = int(np.searchsorted(offsets, offsets[first] + _STEP, side="right")) - 1
        last = min(max(last, first + 1), n_members)
        yield first, last
        first = last
