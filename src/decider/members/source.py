"""Tables on disk as Polars scans, read in batches of bounded size."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.exceptions import PolarsError

from decider.errors import InvalidInput, NotFound, Violation

BATCH_ROWS: Final = 65_536
"""Rows in memory at once: 64 features of 8 bytes make 32 MiB."""

_SCANS: Final[dict[str, Any]] = {
    ".parquet": pl.scan_parquet,
    ".arrow": pl.scan_ipc,
    ".ipc": pl.scan_ipc,
    ".feather": pl.scan_ipc,
    ".csv": pl.scan_csv,
    ".csv.gz": pl.scan_csv,
}


def scan(paths: Sequence[str | Path], text_columns: Sequence[str] = ()) -> pl.LazyFrame:
    """Scan files of one format and schema, in the order given.

    Parameters
    ----------
    paths
        Parquet, CSV (also gzipped) or Arrow IPC files.
    text_columns
        Columns to read as text from CSV, whatever they look like.

    Raises
    ------
    InvalidInput
        No path, formats mixed, or an unknown suffix.
    NotFound
        A file does not exist.
    """
    if not paths:
        raise InvalidInput([Violation("source", "must name at least one file, got none")])
    for path in paths:
        if not Path(path).is_file():
            raise NotFound("source", "file", str(path))
    suffixes = {_suffix(Path(path)) for path in paths}
    if len(suffixes) > 1:
        raise InvalidInput.of("source", "must be files of one format", sorted(suffixes))
    suffix = suffixes.pop()
    files = [Path(path) for path in paths]
    if suffix.startswith(".csv"):
        # Types come from the whole file: a first glance would take a late "0.5" or "n/a" for a broken file.
        # Said once, because a scan that infers does so anew, in memory, each time it runs.
        overrides = dict.fromkeys(text_columns, pl.String)
        inferred = schema_of(pl.scan_csv(files, infer_schema_length=None, schema_overrides=overrides))
        return pl.scan_csv(files, schema=inferred)
    frame: pl.LazyFrame = _SCANS[suffix](files)
    return frame


def schema_of(frame: pl.LazyFrame) -> pl.Schema:
    """Read the schema of a scan; a file that cannot be read is an `InvalidInput`."""
    try:
        return frame.collect_schema()
    except (PolarsError, OSError) as error:
        raise InvalidInput([Violation("source", f"must be readable: {error}")]) from None


def batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Run a scan in the streaming engine and give its rows in order, at most `BATCH_ROWS` at a time."""
    try:
        yield from frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    except (PolarsError, OSError) as error:
        raise InvalidInput([Violation("source", f"must be readable: {error}")]) from None


def collect(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run a small query in the streaming engine."""
    try:
        return frame.collect(engine="streaming")
    except (PolarsError, OSError) as error:
        raise InvalidInput([Violation("source", f"must be readable: {error}")]) from None


def require_columns(schema: Mapping[str, pl.DataType], wanted: Iterable[tuple[str, str]]) -> None:
    """Check that columns exist.

    Parameters
    ----------
    schema
        Columns of the table.
    wanted
        Pairs of the field that names a column and the column.

    Raises
    ------
    InvalidInput
        Names every field whose column is unknown, with near names.
    """
    violations = []
    for field, name in wanted:
        if name not in schema:
            near = difflib.get_close_matches(name, list(schema), n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            violations.append(Violation(field, f"must be a column of the table, got {name!r}{hint}"))
    if violations:
        raise InvalidInput(violations)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in sorted(_SCANS, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    raise InvalidInput.of("source", f"must end in one of {', '.join(_SCANS)}", str(path))
