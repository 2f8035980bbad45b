"""Members as Arrow bytes: what is taken, and what no bytes can do."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from decider.decision.result import ResultChunk
from decider.errors import InvalidInput
from decider.service.columns import pieces, read_members, write_members

from .test_bad_input import mutated


def stream(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def file(table: Any, codec: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    return buffer.getvalue()


@pytest.mark.parametrize("ids", [[3, -1, 2**63 - 1, -(2**63)], ["a", "\N{SNOWMAN}", "b" * 50]])
def test_ids_come_back_as_they_were_written(ids: list[Any]) -> None:
    assert list(read_members(write_members(pl.Series("anything", ids)))) == ids


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_layout_of_strings_is_taken(kind: Any) -> None:
    assert read_members(stream(member_id=pa.array(["a", "b"], kind))) == ["a", "b"]


def test_files_in_several_batches_are_taken() -> None:
    table = pa.concat_tables([pa.table({"member_id": [1, 2]}), pa.table({"member_id": [3]})])
    ids = read_members(file(table))
    assert list(ids) == [1, 2, 3]
    assert isinstance(ids, np.ndarray)
    assert ids.dtype == np.int64


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_bytes_that_would_unfold_are_refused(codec: str) -> None:
    bomb = file(pa.table({"member_id": np.zeros(10_000_000, np.int64)}), codec)
    assert len(bomb) < 1_000_000
    with pytest.raises(InvalidInput, match="must not be compressed"):
        read_members(bomb)


BAD = [
    ("no bytes", b"", "0 bytes"),
    ("other bytes", b"x" * 100, "100 bytes"),
    ("cut off", stream(member_id=[1, 2, 3])[:100], "bytes that are none"),
    ("another name", stream(id=[1]), r"\['id'\]"),
    ("two columns", stream(member_id=[1], other=[2]), "one column, member_id"),
    ("floats", stream(member_id=[1.0]), "'double'"),
    ("small integers", stream(member_id=pa.array([1], pa.int32())), "'int32'"),
    ("unsigned integers", stream(member_id=pa.array([1], pa.uint64())), "'uint64'"),
    ("a dictionary", stream(member_id=pa.array(["a"]).dictionary_encode()), "dictionary"),
    ("a null", stream(member_id=[1, None]), "no nulls, got None at row 1"),
    ("no members", stream(member_id=pa.array([], pa.int64())), "got 0"),
]


@pytest.mark.parametrize(("data", "text"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_anything_else_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        read_members(data)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("valid", [stream(member_id=[1, 2, 3]), stream(member_id=["a", "bc", "def"])])
def test_changed_bytes_are_read_or_refused(seed: int, valid: bytes) -> None:
    n_refused = 0
    for data in mutated(seed, valid, 500):
        try:
            read_members(data)
        except InvalidInput:
            n_refused += 1
    assert n_refused > 100


def test_pieces_put_together_are_the_chunk() -> None:
    n = 10
    numbers = np.arange(n)
    places = np.arange(2 * n, dtype=np.float32).reshape(2, n)
    chunk = ResultChunk(
        first_ordinal=5, rows=numbers, member_ids=numbers, stratum=numbers.astype(np.uint8),
        sets=places.astype(np.int16), mean=places, sd=places, gains=places, propensity=numbers / n,
        propensity_hits=numbers.astype(np.int32), expected=numbers.astype(np.float32),
        history_sequence=numbers, resume_token="t",
    )  # fmt: skip
    parts = list(pieces(chunk, 4))
    assert [part.n_members for part in parts] == [4, 4, 2]
    assert [part.first_ordinal for part in parts] == [5, 9, 13]
    assert [part.resume_token for part in parts] == ["", "", "t"]
    for name in ("rows", "stratum", "sets", "mean", "propensity", "expected", "history_sequence"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=-1)
        np.testing.assert_array_equal(joined, getattr(chunk, name))
