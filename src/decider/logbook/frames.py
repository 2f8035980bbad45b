"""The log as Polars frames, for attribution, reports and learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
import polars as pl

from decider.logbook.bulk import BulkRuns
from decider.logbook.database import MAX_SEQUENCE, Readers, checked_body, paged_rows
from decider.logbook.schema import DecisionRecord, EventRecord, RunRecord, SegmentInfo
from decider.logbook.segments import n_places

FRAME_ROWS = 10_000

_DECISION_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "sequence": pl.Int64,
    "decision_id": pl.String,
    "decision_time_micros": pl.Int64,
    "epoch": pl.Int64,
    "policy": pl.String,
    "policy_version": pl.String,
    "model_version": pl.String,
    "snapshot_version": pl.String,
    "catalog_version": pl.String,
    "stratum": pl.UInt8,
    "theta": pl.Float64,
    "propensity": pl.Float64,
    "propensity_kind": pl.String,
    "experiment": pl.String,
    "experiment_version": pl.String,
    "cell": pl.String,
    "evaluation": pl.Boolean,
}
_LISTS = {"candidates": pl.List(pl.String), "gains": pl.List(pl.Float64)}
_EVENT_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "sequence": pl.Int64,
    "event_id": pl.String,
    "type": pl.String,
    "event_time_micros": pl.Int64,
    "decision_id": pl.String,
    "candidate": pl.String,
    "value": pl.Float64,
}
_RUN_FIELDS = (
    "decision_time_micros",
    "epoch",
    "policy",
    "policy_version",
    "model_version",
    "snapshot_version",
    "catalog_version",
    "theta",
    "experiment",
    "experiment_version",
    "evaluation",
)
_CELL_FIELDS = ("policy", "policy_version", "model_version", "theta")


def decision_frames(
    readers: Readers, database: Path, bulk: BulkRuns, since_micros: int
) -> Iterator[pl.DataFrame]:
    """Yield single decisions, then bulk ones a segment at a time.

    Columns: sequence, decision_id, member_id (Int64 or String, never both in one frame),
    decision_time_micros, epoch, policy, the versions, stratum, theta, propensity (null while deferred),
    propensity_kind, experiment, experiment_version and cell (empty where there is none), evaluation, candidates
    (list, in the order assembled), gains (list, likewise).
    """
    for records in single_decisions(readers, database, since_micros):
        for _, group in groupby(records, key=lambda pair: type(pair[1].member_id)):
            yield _singles_frame(list(group))
    runs: dict[str, RunRecord] = {}
    for info in bulk.segments():
        run = runs.setdefault(info.run_id, bulk.get(info.run_id))
        if run.decision_time_micros >= since_micros:
            yield _segment_frame(run, info, bulk.files.read(info))


def single_decisions(
    readers: Readers, database: Path, since_micros: int
) -> Iterator[list[tuple[int, DecisionRecord]]]:
    """Yield single decisions with their sequence numbers, in that order, a page at a time."""
    statement = "SELECT sequence, run_id, crc, body FROM decisions WHERE time_micros >= ?"
    for page in paged_rows(readers, statement, since_micros, FRAME_ROWS):
        yield [(sequence, _decision(database, run_id, crc, body)) for sequence, run_id, crc, body in page]


def event_frames(
    readers: Readers,
    database: Path,
    since_micros: int,
    after_sequence: int = 0,
    until_sequence: int = MAX_SEQUENCE,
) -> Iterator[pl.DataFrame]:
    """Yield events in the order of their sequence numbers: what happened since a time, of a stretch of the log.

    Columns: sequence, event_id, type, event_time_micros, decision_id, candidate, value, member_id (Int64,
    String, or Null where no event of the frame has one).
    """
    statement = "SELECT sequence, event_id, crc, body FROM events WHERE time_micros >= ?"
    pages = paged_rows(readers, statement, since_micros, FRAME_ROWS, after_sequence, until_sequence)
    for page in pages:
        records = [
            (sequence, _event(database, event_id, crc, body)) for sequence, event_id, crc, body in page
        ]
        for _, group in groupby(records, key=lambda pair: type(pair[1].member_id)):
            yield _events_frame(list(group))


def _decision(database: Path, run_id: str, crc: int, body: bytes) -> DecisionRecord:
    return msgspec.msgpack.decode(
        checked_body(database, f"decision {run_id}-0", crc, body), type=DecisionRecord
    )


def _event(database: Path, event_id: str, crc: int, body: bytes) -> EventRecord:
    return msgspec.msgpack.decode(checked_body(database, f"event {event_id}", crc, body), type=EventRecord)


def _singles_frame(records: Sequence[tuple[int, DecisionRecord]]) -> pl.DataFrame:
    columns: dict[str, list[object]] = {"sequence": [sequence for sequence, _ in records]}
    columns["decision_id"] = [record.decision_id for _, record in records]
    columns["member_id"] = [record.member_id for _, record in records]
    for name in list(_DECISION_COLUMNS)[2:]:
        columns[name] = [getattr(record, name) for _, record in records]
    columns["candidates"] = [[entry.candidate for entry in record.messages] for _, record in records]
    columns["gains"] = [[entry.gain for entry in record.messages] for _, record in records]
    id_type = pl.String if isinstance(records[0][1].member_id, str) else pl.Int64
    return pl.DataFrame(columns, schema_overrides=_DECISION_COLUMNS | _LISTS | {"member_id": id_type}).select(
        _ordered()
    )


def _segment_frame(run: RunRecord, info: SegmentInfo, segment: pl.DataFrame) -> pl.DataFrame:
    places = range(n_places(segment.columns))
    names = pl.Series(run.candidates, dtype=pl.String)
    filled = pl.col("n_messages")
    codes = [f"c{place}" for place in places]
    # A code of -1 has no name; the empty places lie behind the filled ones and are cut off.
    named = segment.with_columns(
        pl.col(code).replace_strict(range(len(names)), names, default=None, return_dtype=pl.String)
        for code in codes
    )
    return named.select(
        pl.lit(info.sequence, pl.Int64).alias("sequence"),
        pl.format("{}-{}", pl.lit(run.run_id), pl.col("ordinal")).alias("decision_id"),
        "member_id",
        *(_of_run(run, name).alias(name) for name in _RUN_FIELDS),
        _of_cells(run, "name", pl.String).alias("cell") if run.cells else pl.lit("").alias("cell"),
        "stratum",
        "propensity",
        pl.when(pl.col("propensity").is_null())
        .then(pl.lit("deferred"))
        .when(pl.col("propensity_hits") < 0)
        .then(pl.lit("exact"))
        .otherwise(pl.lit("replayed"))
        .alias("propensity_kind"),
        pl.concat_list(codes).list.head(filled).alias("candidates"),
        pl.concat_list(pl.col(f"gain{place}").cast(pl.Float64) for place in places)
        .list.head(filled)
        .alias("gains"),
    ).select(_ordered())


def _of_run(run: RunRecord, name: str) -> pl.Expr:
    if run.cells and name in _CELL_FIELDS:
        return _of_cells(run, name, _DECISION_COLUMNS[name])
    return pl.lit(getattr(run, name), _DECISION_COLUMNS[name])


def _of_cells(run: RunRecord, name: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    values = [getattr(cell, name) for cell in run.cells]
    return pl.col("cell").replace_strict(range(len(values)), values, return_dtype=dtype)


def _events_frame(records: Sequence[tuple[int, EventRecord]]) -> pl.DataFrame:
    columns: dict[str, list[object]] = {"sequence": [sequence for sequence, _ in records]}
    for name in [*list(_EVENT_COLUMNS)[1:], "member_id"]:
        columns[name] = [getattr(record, name) for _, record in records]
    columns["type"] = [record.type.value for _, record in records]
    id_types = {int: pl.Int64, str: pl.String, type(None): pl.Null}
    id_type = id_types[type(records[0][1].member_id)]
    return pl.DataFrame(columns, schema_overrides=_EVENT_COLUMNS | {"member_id": id_type})


def _ordered() -> list[str]:
    head, *tail = [name for name in _DECISION_COLUMNS if name != "decision_id"]
    return [head, "decision_id", "member_id", *tail, *_LISTS]
