"""The decisions of a run as a Parquet file that appears when it is complete."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow.parquet as pq

from decider.errors import Conflict, InvalidInput


class ResultFile:
    """Takes tables and writes them one after another; to be used in a ``with`` block.

    Nothing is at `path` before the block ends without an error: then the file is whole and on disk.

    Parameters
    ----------
    path
        Where to, ``*.parquet``; None writes nothing.
    replace
        Replace a file that is there.
    """

    def __init__(self, path: Path | None, *, replace: bool) -> None:
        self._path = path
        if path is None:
            return
        if path.suffix != ".parquet":
            raise InvalidInput.of("out", "must end in .parquet", str(path))
        if path.exists() and not replace:
            raise Conflict("out", str(path), "exists already; --replace takes its place")
        if not path.absolute().parent.is_dir():
            raise InvalidInput.of("out", "must lie in a folder that exists", str(path))
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._writer: pq.ParquetWriter | None = None

    def write(self, frame: pl.DataFrame) -> None:
        """Append the rows of a table; the first one sets the columns."""
        if self._path is None:
            return
        arrow = frame.to_arrow()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._partial, arrow.schema, compression="zstd")
        self._writer.write_table(arrow)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is None or self._writer is None:
            return
        self._writer.close()
        if kind is not None:
            self._partial.unlink()
            return
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self._path)
