"""Sealed Parquet segments: the decisions of a bulk run, a hundred thousand rows at a time.

Columns (``M`` places, ``M`` read from the frame; integer codes index the run's ``candidates``)::

    ordinal i64 · member_id i64 or str · stratum u8 · n_messages u8
    c0..c{M-1} i16 (-1 = empty place) · mean0.. f32 · sd0.. f32 · gain0.. f32
    propensity f64 (null = deferred) · propensity_hits i32 (-1 = not replayed) · expected f32
    history_sequence i64 · cell u8 (only where the run has cells)
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import parquet
from xxhash import xxh3_128_hexdigest

from decider import errors
from decider.logbook.durable import TEMPORARY_SUFFIX, check_file, page_buffer, write_sealed
from decider.logbook.schema import (
    DecisionRecord,
    PropensityKind,
    RunCell,
    RunRecord,
    SealedSegment,
    SegmentInfo,
    SetEntry,
)

ROW_GROUP_ROWS = 65_536
# Mostly random numbers: they are copied as they are. zstd makes them 2.5 times smaller for twice the time of all the
# rest. How to write what is not, in the least time:
_ENCODINGS = {"ordinal": "BYTE_STREAM_SPLIT", "n_messages": "DELTA_BINARY_PACKED"}
_BY_DICTIONARY = ("propensity", "cell")
_COMPRESSED = ("ordinal", "stratum", "propensity_hits", "history_sequence")
_PAGE_BYTES = 1 << 24
_ROOM = 1 << 20
"""For what a file holds besides its columns."""
_KEPT_PAGES = 8
"""So many pieces of memory wait for their next segment at most."""


class SegmentFiles:
    """The ``segments`` directory of a logbook.

    Parameters
    ----------
    directory
        It must exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._verified: dict[str, tuple[int, int]] = {}
        self._pages: list[mmap.mmap] = []
        self._lock = threading.Lock()
        # Only they wait for the disk: those who encode go on with what is next. Two, so that one file is on its way
        # while another one is forced.
        self._disk = ThreadPoolExecutor(2, thread_name_prefix="segments")

    def close(self) -> None:
        """Wait for what is being written; a second call does nothing."""
        self._disk.shutdown()

    def seal(
        self, run: RunRecord, first_ordinal: int, frame: pl.DataFrame, on_refusal: Callable[[], None]
    ) -> SealedSegment:
        """Write a checked frame as a file; its row in the database, and its sequence, are the caller's.

        Parameters
        ----------
        on_refusal
            Called where the disk refuses, before `written` ends.

        Returns
        -------
        SealedSegment
            Its `written` ends when the file is on disk; with errors.Unavailable where the disk refused, and then
            nothing is left behind.
        """
        name = f"{run.run_id}-{first_ordinal:018d}.parquet"
        pages = self._take(2 * int(frame.estimated_size()) + _ROOM)
        view = memoryview(pages)[: _encode(frame, memoryview(pages))]
        written = self._disk.submit(self._write, name, view, on_refusal)
        info = SegmentInfo(
            run_id=run.run_id,
            first_ordinal=first_ordinal,
            n_rows=frame.height,
            sequence=0,
            file=name,
            n_bytes=view.nbytes,
            xxh3_128=xxh3_128_hexdigest(view),
        )
        written.add_done_callback(lambda _: self._give_back(pages))
        return SealedSegment(info, written)

    def _write(self, name: str, content: memoryview, on_refusal: Callable[[], None]) -> None:
        try:
            write_sealed(self._directory / name, content)
        except OSError as cause:
            on_refusal()
            raise errors.Unavailable(f"logbook cannot seal a segment: {cause}") from cause

    def _take(self, n_bytes: int) -> mmap.mmap:
        """Memory that was used before, where some is free and large enough: fresh pages are dear."""
        with self._lock:
            while self._pages:
                pages = self._pages.pop()
                if len(pages) >= n_bytes:
                    return pages
        return page_buffer(n_bytes)

    def _give_back(self, pages: mmap.mmap) -> None:
        with self._lock:
            if len(self._pages) < _KEPT_PAGES:
                self._pages.append(pages)

    def remove(self, info: SegmentInfo) -> None:
        """Remove a sealed file that the database does not know."""
        (self._directory / info.file).unlink()

    def recover(self, known: set[str]) -> list[str]:
        """Remove what a crash left: half-written files, and sealed ones that were never acknowledged.

        Parameters
        ----------
        known
            Names of the files that the database vouches for.

        Returns
        -------
        list of str
            Names of the files removed.
        """
        removed = []
        for path in sorted(self._directory.iterdir()):
            stray = path.suffix == ".parquet" and path.name not in known
            if stray or path.suffix == TEMPORARY_SUFFIX:
                path.unlink()
                removed.append(path.name)
        return removed

    def verify(self, info: SegmentInfo) -> Path:
        """Return a segment's path once its checksum is right; unchanged files are not read again.

        Raises
        ------
        errors.CorruptArtifact
            The file is missing or changed.
        """
        path = self._directory / info.file
        with self._lock:
            try:
                status = path.stat()
            except FileNotFoundError:
                raise errors.CorruptArtifact(path, "the file is missing") from None
            stamp = (status.st_size, status.st_mtime_ns)
            if self._verified.get(info.file) != stamp:
                check_file(path, info.n_bytes, info.xxh3_128, "xxh3_128")
                self._verified[info.file] = stamp
        return path

    def read(self, info: SegmentInfo, columns: list[str] | None = None) -> pl.DataFrame:
        """Read a segment, or some columns of it.

        Raises
        ------
        errors.CorruptArtifact
            The file is missing or changed.
        """
        return pl.read_parquet(self.verify(info), columns=columns)

    def n_places(self, info: SegmentInfo) -> int:
        """Count the places of each member's set."""
        return n_places(list(pl.read_parquet_schema(self.verify(info))))

    def read_row(self, info: SegmentInfo, ordinal: int) -> dict[str, Any]:
        """Read one decision's row; only its row group leaves the disk."""
        path = self.verify(info)
        return pl.scan_parquet(path).slice(ordinal - info.first_ordinal, 1).collect().row(0, named=True)


def _encode(frame: pl.DataFrame, into: memoryview) -> int:
    """Put the frame as a Parquet file into memory; return how many bytes it takes."""
    table = frame.to_arrow()
    fields = [pa.field(f.name, f.type, nullable=f.name == "propensity") for f in table.schema]
    # The C library's own memory, which the process keeps for the next segment: half the time of Arrow's pool, which
    # gives it back page by page.
    pool = pa.system_memory_pool()
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(into))
    parquet.write_table(
        pa.Table.from_arrays(table.columns, schema=pa.schema(fields)),
        sink,
        row_group_size=ROW_GROUP_ROWS,
        compression={name: "lz4" if name in _COMPRESSED else "none" for name in frame.columns},
        use_dictionary=[name for name in _BY_DICTIONARY if name in frame.columns and _repeats(frame[name])],
        column_encoding=_ENCODINGS,
        write_statistics=False,
        store_schema=False,
        data_page_size=_PAGE_BYTES,
        memory_pool=pool,
    )
    return int(sink.tell())


def _repeats(column: pl.Series) -> bool:
    """Whether few values come again and again: where propensities are not deferred, each is another."""
    return column.name != "propensity" or 2 * column.null_count() > column.len()


def n_places(columns: list[str]) -> int:
    """Count the places ``c0, c1, ...`` among a segment's columns."""
    places = 0
    while f"c{places}" in columns:
        places += 1
    return places


def decision_of_row(run: RunRecord, row: Mapping[str, Any]) -> DecisionRecord:
    """Put a segment's row and what its run has in common together again.

    Parameters
    ----------
    run
        A run whose price is set.
    row
        Column name to value.
    """
    if run.theta is None or run.tie_cut is None or not run.is_priced:
        raise errors.NotReady(f"run {run.run_id} has no price yet")
    made = _without_cells(run) if not run.cells else run.cells[row["cell"]]
    return DecisionRecord(
        decision_id=f"{run.run_id}-{row['ordinal']}",
        request_id=run.request_id,
        request_digest=run.request_digest,
        ordinal=row["ordinal"],
        member_id=row["member_id"],
        decision_time_micros=run.decision_time_micros,
        epoch=run.epoch,
        policy=made.policy,
        policy_version=made.policy_version,
        model_version=made.model_version,
        snapshot_version=run.snapshot_version,
        catalog_version=run.catalog_version,
        stratum=row["stratum"],
        theta=run.theta if made.theta is None else made.theta,
        budgets=run.budgets,
        tie_cut=run.tie_cut if made.tie_cut is None else made.tie_cut,
        messages=[
            SetEntry(
                candidate=candidate,
                mean=row[f"mean{place}"],
                sd=row[f"sd{place}"],
                gain=row[f"gain{place}"],
                type=kind,
                topic=topic,
            )
            for place in range(row["n_messages"])
            for candidate, kind, topic in [run.entry(row[f"c{place}"])]
        ],
        propensity=row["propensity"],
        propensity_kind=propensity_kind(row["propensity"], row["propensity_hits"]),
        propensity_draws=made.propensity_draws if row["propensity_hits"] >= 0 else 0,
        propensity_hits=max(row["propensity_hits"], 0),
        history_sequence=row["history_sequence"],
        channels=run.channels,
        experiment=run.experiment,
        experiment_version=run.experiment_version,
        cell=made.name,
        evaluation=run.evaluation,
    )


def _without_cells(run: RunRecord) -> RunCell:
    return RunCell(
        name="",
        policy=run.policy,
        policy_version=run.policy_version,
        model_version=run.model_version,
        propensity_draws=run.propensity_draws,
        theta=run.theta,
        tie_cut=run.tie_cut,
    )


def propensity_kind(propensity: float | None, hits: int) -> PropensityKind:
    """Say how a segment's propensity came about."""
    if propensity is None:
        return "deferred"
    return "exact" if hits < 0 else "replayed"
