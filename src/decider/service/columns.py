"""Members and results as Arrow IPC bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from struct import error as StructError  # noqa: N812
from struct import unpack_from
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from decider.decision.result import ResultChunk
from decider.decision.result_table import ResultTables
from decider.errors import InvalidInput, Violation
from decider.service.ports import MemberIds
from decider.service.requests import check_member_count

_FIELD = "columns.arrow_ipc"
_FILE_MAGIC = b"ARROW1"
_STREAM_END = 8
"""Bytes that say that no more batches follow."""


def read_members(arrow_ipc: bytes) -> MemberIds:
    """Members from Arrow bytes: int64 [n], or n texts.

    Foreign bytes are read by pyarrow and checked in full (offsets, UTF-8): Polars trusts what it reads.

    Raises
    ------
    InvalidInput
        When the bytes are no Arrow IPC, or are more or other than one column of ids.
    """
    try:
        column = _member_column(arrow_ipc)
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, StructError) as error:
        text = str(error).partition("\n")[0]
        rule = f"must be an Arrow IPC stream or file, got {len(arrow_ipc)} bytes that are none: {text}"
        raise InvalidInput([Violation(_FIELD, rule)]) from error
    if column.null_count:
        place = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInput.of(_FIELD, "must hold no nulls", None, f"at row {place}")
    check_member_count(len(column), _FIELD)
    if pa.types.is_int64(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.int64)
    return list(column.to_pylist())


def write_members(member_ids: pl.Series) -> bytes:
    """The bytes that `read_members` takes; for clients."""
    buffer = io.BytesIO()
    # Uncompressed, as it is to be. The oldest layout of strings is the one that every Arrow implementation reads.
    frame = member_ids.alias("member_id").to_frame()
    frame.write_ipc_stream(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


class ResultStreams:
    """Decisions of a run as Arrow streams, one after the other in the same memory.

    Parameters
    ----------
    candidates
        Candidate ids by index.
    run_id
        Of the run.
    """

    def __init__(self, candidates: Sequence[str], run_id: str) -> None:
        self._tables = ResultTables(candidates, run_id)
        self._memory = bytearray()

    def write(self, chunk: ResultChunk) -> memoryview:
        """The stream of one table, see :meth:`decider.decision.result_table.ResultTables.batch`.

        It stands only until the next one is written.
        """
        batch = self._tables.batch(chunk)
        n_bytes = batch.schema.serialize().size + pa.ipc.get_record_batch_size(batch) + _STREAM_END
        if n_bytes > len(self._memory):
            self._memory = bytearray(n_bytes)
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._memory))
        # Uncompressed: both sides of a local call are faster without.
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return memoryview(self._memory)[: sink.tell()]


def read_results(arrow_ipc: bytes) -> pl.DataFrame:
    """The table that `ResultStreams` wrote; for clients, who trust their server."""
    return pl.read_ipc_stream(io.BytesIO(arrow_ipc))


def pieces(chunk: ResultChunk, max_members: int) -> Iterator[ResultChunk]:
    """The chunk in consecutive pieces of at most `max_members`; only the last one carries its token."""
    n_members = chunk.n_members
    if n_members <= max_members:
        yield chunk
        return
    for start in range(0, n_members, max_members):
        part = slice(start, min(start + max_members, n_members))
        yield replace(
            chunk,
            first_ordinal=chunk.first_ordinal + start,
            rows=chunk.rows[part],
            member_ids=chunk.member_ids[part],
            stratum=chunk.stratum[part],
            sets=chunk.sets[:, part],
            mean=chunk.mean[:, part],
            sd=chunk.sd[:, part],
            gains=chunk.gains[:, part],
            propensity=chunk.propensity[part],
            propensity_hits=chunk.propensity_hits[part],
            expected=chunk.expected[part],
            history_sequence=chunk.history_sequence[part],
            resume_token=chunk.resume_token if part.stop == n_members else "",
        )


def _member_column(arrow_ipc: bytes) -> Any:
    buffer = pa.py_buffer(arrow_ipc)
    if arrow_ipc.startswith(_FILE_MAGIC):
        # A file is a stream behind eight bytes of magic, with an index at its end that is not needed here.
        buffer = buffer.slice(8)
    with pa.ipc.open_stream(buffer) as reader:
        _check_schema(reader.schema)
    _refuse_compressed(buffer)
    with pa.ipc.open_stream(buffer) as reader:
        table = reader.read_all()
    table.validate(full=True)
    column = table.column(0)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _refuse_compressed(buffer: Any) -> None:
    """Refuse compressed bytes: a few of them could unfold to more than the machine's memory."""
    for message in pa.ipc.MessageReader.open_stream(buffer):
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise InvalidInput([Violation(_FIELD, "must not be compressed, got a compressed record batch")])


def _is_compressed(metadata: bytes) -> bool:
    """Whether the record batch of a Message flatbuffer, which pyarrow has verified, names a compression.

    Field 2 of a Message is its header; field 3 of a RecordBatch its compression (Arrow's Message.fbs).
    """
    (message,) = unpack_from("<I", metadata)
    place = _flatbuffer_field(metadata, message, 2)
    (offset,) = unpack_from("<I", metadata, place)
    return _flatbuffer_field(metadata, place + offset, 3) != 0


def _flatbuffer_field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table lies; 0 when it is absent."""
    (back,) = unpack_from("<i", data, table)
    (n_bytes,) = unpack_from("<H", data, table - back)
    at = 4 + 2 * number
    (offset,) = unpack_from("<H", data, table - back + at) if at < n_bytes else (0,)
    return table + offset if offset else 0


def _check_schema(schema: Any) -> None:
    if schema.names != ["member_id"]:
        raise InvalidInput.of(_FIELD, "must have one column, member_id", list(schema.names)[:20])
    kind = schema.field(0).type
    checks = pa.types.is_int64, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    if not any(check(kind) for check in checks):
        raise InvalidInput.of(f"{_FIELD}.member_id", "must be of type int64 or string", str(kind))
