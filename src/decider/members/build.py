"""From a table of members to a snapshot: streamed, checked, published in one step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy.typing as npt
import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from decider.errors import InvalidInput, Violation
from decider.members import manifest as manifests
from decider.members.ids import append_ids, open_ids, write_index
from decider.members.manifest import FileEntry, SnapshotManifest
from decider.members.publish import publishing
from decider.members.sends import write_sends
from decider.members.source import batches, collect, scan, schema_of
from decider.members.spec import SnapshotSpec
from decider.members.table import Layout, convert, read_layout

Array = npt.NDArray[Any]

FEATURES: Final = "features.f32"
CONSENT: Final = "consent.u32"
ZONE: Final = "zone.i16"
ATTRIBUTES: Final = "attributes.arrow"

MAX_MEMBERS: Final = 2**31 - 1
"""Rows are int32 in the index and in the live history."""

_ATTRIBUTE_ROWS: Final = 131_072
"""Rows of one Arrow record batch: few enough to write, and few batches to look through."""


class Progress(Protocol):
    """What is told how far a build is."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` rows (None: not known) of a stage: members, attributes, ids, sends, checksums."""


def build_snapshot(
    sources: Sequence[str | Path] | str | Path,
    spec: SnapshotSpec,
    out_dir: str | Path,
    progress: Progress | None = None,
    *,
    replace: bool = False,
) -> SnapshotManifest:
    """Build a snapshot.

    The table is read in the streaming engine: memory holds one batch of rows, plus about 24 bytes a member
    for the index of ids.

    Parameters
    ----------
    sources
        Files of the members table: Parquet, CSV or Arrow IPC.
    spec
        What its columns mean.
    out_dir
        The directory to publish; it appears complete or not at all.
    progress
        Is told how far the build is.
    replace
        Put the new snapshot in the place of one that is there. Processes that have the old one open keep it.

    Returns
    -------
    SnapshotManifest
        Of the published snapshot. The same files and spec give the same version; the same members in another
        format may not, because the layout of text in Arrow follows its source.

    Raises
    ------
    InvalidInput
        The spec and the table do not fit, or a value is missing, doubled or out of range: names the column,
        the value and the row.
    NotFound
        A file does not exist.
    Conflict
        `out_dir` exists and `replace` is false.
    """
    report: Progress = progress if progress is not None else _silent
    paths = [sources] if isinstance(sources, (str, Path)) else list(sources)
    frame = scan(paths, [spec.id] if spec.id_type == "string" else [])
    schema = schema_of(frame)
    layout = read_layout(frame, schema, spec)
    n_members = _count(frame)
    with publishing(Path(out_dir), replace=replace) as directory:
        filled = _write_members(directory, frame, layout, spec, n_members, report)
        types = _write_attributes(directory, frame, schema, layout, n_members, report)
        report("ids", 0, n_members)
        write_index(directory, layout.id_type, spec.id)
        report("ids", n_members, n_members)
        ids = open_ids(directory, layout.id_type, n_members)
        sends = write_sends(
            directory,
            spec.sends,
            n_members,
            layout.id_type,
            ids.rows_of,
            lambda done: report("sends", done, None),
        )
        manifest = SnapshotManifest(
            schema=manifests.SCHEMA,
            n_members=n_members,
            id_type=layout.id_type,
            feature_names=layout.feature_names,
            channel_names=layout.channel_names,
            zones=layout.zones,
            n_sends=sends.n_sends,
            send_vocabulary=sends.vocabulary,
            filled=dict(sorted(filled.items())),
            dropped_sends=sends.n_dropped,
            attribute_types=types,
            files=_entries(directory, report),
        )
        (directory / manifests.NAME).write_bytes(manifests.encode(manifest))
    return manifest


def _silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""


def _count(frame: pl.LazyFrame) -> int:
    n_members = int(collect(frame.select(pl.len())).item())
    if not 1 <= n_members <= MAX_MEMBERS:
        raise InvalidInput.of("source", f"must hold 1 to {MAX_MEMBERS} members", n_members)
    return n_members


def _write_members(
    directory: Path, frame: pl.LazyFrame, layout: Layout, spec: SnapshotSpec, n_members: int, report: Progress
) -> Counter[str]:
    """Write ids, features, consent and zones in one pass, and count what was filled."""
    filled: Counter[str] = Counter()
    needed = {spec.id, *spec.features, *spec.categories, spec.time_zone_column}
    needed |= {given for given in spec.consent.values() if isinstance(given, str)}
    n_written = 0
    with (
        (directory / FEATURES).open("wb") as features,
        (directory / CONSENT).open("wb") as consent,
        (directory / ZONE).open("wb") as zone,
        append_ids(directory, layout.id_type) as write_ids,
    ):
        for table in batches(frame.select(sorted(name for name in needed if name is not None))):
            batch = convert(table, layout, spec, n_written, filled)
            write_ids(batch.ids)
            features.write(batch.features.tobytes())
            consent.write(batch.consent.tobytes())
            zone.write(batch.zone.tobytes())
            n_written += len(table)
            report("members", n_written, n_members)
    _same_count(n_written, n_members)
    return filled


def _write_attributes(
    directory: Path, frame: pl.LazyFrame, schema: pl.Schema, layout: Layout, n_members: int, report: Progress
) -> dict[str, str]:
    """Write the kept columns as Arrow IPC, uncompressed so that it can be mapped."""
    report("attributes", 0, n_members)
    path = directory / ATTRIBUTES
    # Dictionaries may differ from batch to batch, text does not.
    columns = [
        pl.col(name).cast(pl.String) if schema[name] in (pl.Categorical, pl.Enum) else pl.col(name)
        for name in layout.attributes
    ]
    try:
        frame.select(columns).sink_ipc(
            path,
            compression="uncompressed",
            compat_level=pl.CompatLevel.newest(),
            record_batch_size=_ATTRIBUTE_ROWS,
            maintain_order=True,
        )
    except (PolarsError, OSError) as error:
        raise InvalidInput(
            [Violation("attributes", f"must be columns that Arrow can hold: {error}")]
        ) from None
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
        _same_count(len(table), n_members)
        types = pl.DataFrame(pl.from_arrow(table.slice(0, 0))).schema
    report("attributes", n_members, n_members)
    return {name: str(dtype) for name, dtype in types.items()}


def _same_count(n_read: int, n_members: int) -> None:
    if n_read != n_members:
        raise InvalidInput.of("source", f"must not change while it is read: it had {n_members} rows", n_read)


def _entries(directory: Path, report: Progress) -> dict[str, FileEntry]:
    """Sizes and checksums of all files, in order of their names."""
    paths = sorted(path for path in directory.iterdir() if path.is_file())
    entries = {}
    for done, path in enumerate(paths):
        report("checksums", done, len(paths))
        entries[path.name] = FileEntry(path.stat().st_size, manifests.sha256_of(path))
    report("checksums", len(paths), len(paths))
    return entries
