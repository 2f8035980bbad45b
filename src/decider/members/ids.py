"""Member ids on disk, int64 or strings: written once, then looked up by the million."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from decider.errors import CorruptArtifact, InvalidInput, Violation
from decider.members.index import duplicate_rows, lookup, same_text, sorted_index, text_array
from decider.members.mapping import map_array
from decider_core.random import hash_strings

Array = npt.NDArray[Any]

INTEGERS: Final = "id.i64"
TEXT: Final = "id_text.u8"
TEXT_OFFSETS: Final = "id_offset.i64"
HASHES: Final = "id_hash.u64"
INDEX_KEYS: Final = "index_key.u64"
INDEX_ROWS: Final = "index_row.i32"

Wanted = Array | pl.Series | Sequence[int] | Sequence[str]


class Ids(Protocol):
    """The ids of all members."""

    @property
    def keys(self) -> Array:
        """uint64[n_members] keys of the members' random streams."""
        ...

    def rows_of(self, wanted: Wanted) -> Array:
        """int64[n] rows, -1 for an unknown id."""
        ...

    def take(self, rows: Array | slice) -> pl.Series:
        """Ids of rows, or of a stretch of them."""
        ...


class IntegerIds:
    """Ids that are int64."""

    def __init__(self, directory: Path) -> None:
        self._ids = map_array(directory / INTEGERS, np.int64)
        self._sorted = map_array(directory / INDEX_KEYS, np.int64)
        self._rows = map_array(directory / INDEX_ROWS, np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def keys(self) -> Array:
        """The ids themselves, reinterpreted."""
        keys: Array = self._ids.view(np.uint64)
        return keys

    def rows_of(self, wanted: Wanted) -> Array:
        """int64[n] rows, -1 for an unknown id."""
        return lookup(self._sorted, self._rows, integers(wanted))

    def take(self, rows: Array | slice) -> pl.Series:
        """Ids of rows, or of a stretch of them."""
        return pl.Series("member_id", self._ids[rows])


class TextIds:
    """Ids that are strings: found by their hash, then compared byte for byte."""

    def __init__(self, directory: Path) -> None:
        self._text = map_array(directory / TEXT, np.uint8)
        self._offsets = map_array(directory / TEXT_OFFSETS, np.int64)
        self._hashes = map_array(directory / HASHES, np.uint64)
        self._sorted = map_array(directory / INDEX_KEYS, np.uint64)
        self._rows = map_array(directory / INDEX_ROWS, np.int32)
        if len(self._offsets) == 0 or self._offsets[-1] != len(self._text):
            raise CorruptArtifact(
                directory / TEXT_OFFSETS, f"it does not end at the {len(self._text)} bytes of text"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def keys(self) -> Array:
        """Hashes of the ids' UTF-8 bytes."""
        return self._hashes

    @cached_property
    def _array(self) -> Any:
        return text_array(self._text, self._offsets)

    def rows_of(self, wanted: Wanted) -> Array:
        """int64[n] rows, -1 for an unknown id."""
        data, offsets = text_buffers(texts(wanted))
        same = same_text(text_array(data, offsets), self._array)
        return lookup(self._sorted, self._rows, hash_strings(data, offsets), same)

    def take(self, rows: Array | slice) -> pl.Series:
        """Ids of rows, or of a stretch of them."""
        if isinstance(rows, slice):
            rows = np.arange(rows.start, rows.stop)
        return pl.Series("member_id", pl.from_arrow(self._array.take(rows)))


def open_ids(directory: Path, id_type: str, n_members: int) -> Ids:
    """Open the ids of a snapshot.

    Raises
    ------
    CorruptArtifact
        A file is missing or there are not `n_members` ids.
    """
    ids = IntegerIds(directory) if id_type == "int64" else TextIds(directory)
    if len(ids) != n_members:
        raise CorruptArtifact(directory, f"it must hold {n_members} ids, got {len(ids)}")
    return ids


@contextlib.contextmanager
def append_ids(directory: Path, id_type: str) -> Iterator[Callable[[pl.Series], None]]:
    """Give a function that appends ids to the files of a directory."""
    if id_type == "int64":
        with (directory / INTEGERS).open("wb") as file:
            yield lambda ids: _write(file, ids.to_numpy())
        return
    with (
        (directory / TEXT).open("wb") as text,
        (directory / TEXT_OFFSETS).open("wb") as ends,
        (directory / HASHES).open("wb") as hashes,
    ):
        _write(ends, np.zeros(1, np.int64))
        n_bytes = 0

        def write(ids: pl.Series) -> None:
            nonlocal n_bytes
            data, offsets = text_buffers(ids)
            _write(text, data)
            _write(ends, offsets[1:] + n_bytes)
            _write(hashes, hash_strings(data, offsets))
            n_bytes += len(data)

        yield write


def write_index(directory: Path, id_type: str, id_column: str) -> None:
    """Write the index of a directory's ids.

    Raises
    ------
    InvalidInput
        Two members have the same id: names it and both rows.
    """
    if id_type == "int64":
        ids = map_array(directory / INTEGERS, np.int64)
        keys, rows = sorted_index(ids)
        doubled = duplicate_rows(keys, rows)
        value = None if doubled is None else int(ids[doubled[0]])
        _refuse_doubled(id_column, value, doubled)
    else:
        array = text_array(
            map_array(directory / TEXT, np.uint8), map_array(directory / TEXT_OFFSETS, np.int64)
        )
        keys, rows = sorted_index(map_array(directory / HASHES, np.uint64))
        doubled = duplicate_rows(keys, rows, same_text(array, array))
        _refuse_doubled(id_column, None if doubled is None else array[doubled[0]].as_py(), doubled)
    keys.tofile(directory / INDEX_KEYS)
    rows.tofile(directory / INDEX_ROWS)


def integers(wanted: Wanted, field: str = "member_ids") -> Array:
    """Take ids as int64.

    Raises
    ------
    InvalidInput
        Some id is of another type or does not fit: names its place.
    """
    if isinstance(wanted, pl.Series):
        _no_nulls(wanted, field)
        wanted = wanted.to_numpy()
    if isinstance(wanted, np.ndarray) and wanted.dtype != np.object_:
        if wanted.dtype == np.int64:
            return wanted
        if wanted.dtype.kind not in "iu":
            raise InvalidInput.of(field, "must be int64, as in this snapshot", str(wanted.dtype))
        if wanted.dtype == np.uint64 and len(wanted) and wanted.max() > np.iinfo(np.int64).max:
            raise InvalidInput.of(field, "must fit int64", int(wanted.max()), f"at {int(wanted.argmax())}")
        return wanted.astype(np.int64)
    values = list(wanted)
    _same_types(values, (int, np.integer), "int64", field)
    try:
        return np.array(values, np.int64)
    except OverflowError:
        place = next(i for i, value in enumerate(values) if not -(2**63) <= int(value) < 2**63)
        raise InvalidInput.of(f"{field}[{place}]", "must fit int64", values[place]) from None


def texts(wanted: Wanted, field: str = "member_ids") -> pl.Series:
    """Take ids as strings.

    Raises
    ------
    InvalidInput
        Some id is of another type or is not valid Unicode: names its place.
    """
    if isinstance(wanted, pl.Series):
        if wanted.dtype not in (pl.String, pl.Categorical, pl.Enum):
            raise InvalidInput.of(field, "must be strings, as in this snapshot", str(wanted.dtype))
        _no_nulls(wanted, field)
        return wanted.cast(pl.String)
    if isinstance(wanted, np.ndarray) and wanted.dtype.kind not in "OU":
        raise InvalidInput.of(field, "must be strings, as in this snapshot", str(wanted.dtype))
    values = wanted.tolist() if isinstance(wanted, np.ndarray) else list(wanted)
    _same_types(values, (str,), "strings", field)
    try:
        return pl.Series(values, dtype=pl.String)
    except UnicodeEncodeError as error:
        raise InvalidInput([Violation(field, f"must be valid Unicode: {error.reason}")]) from None


def text_buffers(ids: pl.Series) -> tuple[Array, Array]:
    """UTF-8 bytes end to end, uint8, and their int64[n + 1] offsets, which begin at 0."""
    array = ids.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


def _same_types(values: list[Any], types: tuple[type, ...], name: str, field: str) -> None:
    """One pass in C over the types; only a wrong one is looked for by hand."""
    wrong = tuple(t for t in set(map(type, values)) if t is bool or not issubclass(t, types))
    if wrong:
        place = next(i for i, value in enumerate(values) if type(value) in wrong)
        raise InvalidInput.of(f"{field}[{place}]", f"must be {name}, as in this snapshot", values[place])


def _no_nulls(ids: pl.Series, field: str) -> None:
    if ids.null_count():
        raise InvalidInput.of(f"{field}[{ids.is_null().arg_max()}]", "must not be null", None)


def _refuse_doubled(id_column: str, value: object, rows: tuple[int, int] | None) -> None:
    if rows is not None:
        raise InvalidInput.of(id_column, "must be unique", value, f"at rows {rows[0]} and {rows[1]}")


def _write(file: Any, values: Array) -> None:
    file.write(values.tobytes())
