"""Feedback: a randomised log as learners and judges read it, sealed in a directory of its own.

::

    <directory>/manifest.json      schema, arms, rewards, features, facts, SHA-256 of every part and of itself
    <directory>/part-000000.parquet ...

Columns: ``member_id``, ``arm``, ``propensity`` (of the arm taken), ``p:<arm>`` for every arm (null where the
log does not tell it), ``y:<reward>`` float64, ``x:<feature>`` float32.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec
import polars as pl

from decider import errors
from decider.logbook.durable import check_file, sync_directory, write_sealed

SCHEMA_VERSION = 1
FORMAT = "decider.feedback"
PART_ROWS = 1_000_000
GROUP_ROWS = 1 << 18
"""Rows of a row group: what is read at a time by who goes through a log in chunks."""
CHUNK_ROWS = 1 << 15
MANIFEST_NAME = "manifest.json"

Fact = str | int | float | bool | list[str] | dict[str, int | float] | None


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet file."""

    file: str
    n_rows: int
    n_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a feedback directory holds."""

    format: str = FORMAT
    schema_version: int = SCHEMA_VERSION
    checksum: str = ""
    """SHA-256 of this document with this field empty."""
    arms: list[str]
    control: str
    rewards: list[str]
    feature_names: list[str]
    n_rows: int
    parts: list[Part]
    facts: dict[str, Fact]


class Feedback:
    """A sealed feedback log; :meth:`open` one, or make one with ``import_trial`` or ``assemble_feedback``."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self._manifest = manifest

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a directory after checking all of it.

        Raises
        ------
        errors.NotFound
            There is no such directory.
        errors.CorruptArtifact
            Names the file that is missing, truncated, changed, or of another schema.
        """
        path = Path(path)
        if not path.is_dir():
            raise errors.NotFound("feedback", "directory", str(path))
        manifest = _read_manifest(path / MANIFEST_NAME)
        for part in manifest.parts:
            check_file(path / part.file, part.n_bytes, part.sha256)
        return cls(path, manifest)

    @property
    def version(self) -> str:
        """Content address: ``sha256:`` and 16 hex digits."""
        return f"sha256:{self._manifest.checksum[:16]}"

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, the control first."""
        return tuple(self._manifest.arms)

    @property
    def control(self) -> str:
        """The arm that sends nothing."""
        return self._manifest.control

    @property
    def rewards(self) -> tuple[str, ...]:
        """Names of the rewards."""
        return tuple(self._manifest.rewards)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(self._manifest.feature_names)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._manifest.n_rows

    @property
    def facts(self) -> dict[str, Fact]:
        """Where it comes from, what was left out and how much of it, warnings."""
        return dict(self._manifest.facts)

    def read(self, columns: list[str] | None = None) -> pl.DataFrame:
        """Read all rows, in the order imported.

        Raises
        ------
        errors.UnknownName
            There is no such column.
        """
        self._check_columns(columns or [])
        files = [self.path / part.file for part in self._manifest.parts]
        return pl.read_parquet(files, columns=columns)

    def chunks(self, columns: list[str], chunk_rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
        """Go through all rows in the order imported, never more than a row group in memory.

        Parameters
        ----------
        columns
            Which.
        chunk_rows
            At most so many rows at a time.

        Raises
        ------
        errors.UnknownName
            There is no such column.
        """
        self._check_columns(columns)
        for part in self._manifest.parts:
            table = pl.scan_parquet(self.path / part.file).select(columns)
            for first in range(0, part.n_rows, GROUP_ROWS):
                yield from table.slice(first, GROUP_ROWS).collect().iter_slices(chunk_rows)

    def _check_columns(self, columns: list[str]) -> None:
        known = self.columns
        for name in columns:
            if name not in known:
                raise errors.UnknownName.of("columns", f"must be among {known}", name)

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in order."""
        return [
            "member_id",
            "arm",
            "propensity",
            *(f"p:{name}" for name in self.arms),
            *(f"y:{name}" for name in self.rewards),
            *(f"x:{name}" for name in self.feature_names),
        ]


def seal_feedback(
    frame: pl.DataFrame,
    out: Path | str,
    *,
    arms: list[str],
    control: str,
    rewards: list[str],
    feature_names: list[str],
    facts: dict[str, Fact],
) -> Feedback:
    """Write a checked frame as a feedback directory, all or nothing; see :func:`seal_parts`."""
    return seal_parts(
        frame.iter_slices(PART_ROWS),
        out,
        arms=arms,
        control=control,
        rewards=rewards,
        feature_names=feature_names,
        facts=facts,
    )


def seal_parts(
    frames: Iterable[pl.DataFrame],
    out: Path | str,
    *,
    arms: list[str],
    control: str,
    rewards: list[str],
    feature_names: list[str],
    facts: dict[str, Fact],
) -> Feedback:
    """Write checked frames, each a part, as a feedback directory, all or nothing.

    Raises
    ------
    errors.Conflict
        `out` exists.
    errors.Unavailable
        The disk refused.
    """
    out = Path(out)
    if out.exists():
        raise errors.Conflict("out", str(out), "exists already")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        parts = [
            _write_part(frame, temporary / f"part-{place:06d}.parquet") for place, frame in enumerate(frames)
        ]
        manifest = _sealed(
            Manifest(
                arms=arms,
                control=control,
                rewards=rewards,
                feature_names=feature_names,
                n_rows=sum(part.n_rows for part in parts),
                parts=parts,
                facts=facts,
            )
        )
        write_sealed(temporary / MANIFEST_NAME, msgspec.json.format(msgspec.json.encode(manifest)))
        temporary.rename(out)
        sync_directory(out.parent)
    except OSError as cause:
        raise errors.Unavailable(f"feedback {out} cannot be written: {cause}") from cause
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Feedback(out, manifest)


def _write_part(frame: pl.DataFrame, path: Path) -> Part:
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd", compression_level=1, row_group_size=GROUP_ROWS)
    with content.getbuffer() as view:
        write_sealed(path, view)
        return Part(path.name, frame.height, view.nbytes, hashlib.sha256(view).hexdigest())


def _sealed(manifest: Manifest) -> Manifest:
    blank = msgspec.structs.replace(manifest, checksum="")
    digest = hashlib.sha256(msgspec.json.encode(blank)).hexdigest()
    return msgspec.structs.replace(manifest, checksum=digest)


def _read_manifest(path: Path) -> Manifest:
    try:
        document = path.read_bytes()
    except FileNotFoundError:
        raise errors.CorruptArtifact(path, "the file is missing") from None
    try:
        head = msgspec.json.decode(document, type=dict[str, object])
        found = head.get("format"), head.get("schema_version")
        if found != (FORMAT, SCHEMA_VERSION):
            rule = f"its format and schema version must be {FORMAT!r}, {SCHEMA_VERSION}"
            raise errors.CorruptArtifact(path, f"{rule}, got {found[0]!r}, {found[1]}")
        manifest = msgspec.json.decode(document, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise errors.CorruptArtifact(path, str(cause)) from cause
    if _sealed(manifest).checksum != manifest.checksum:
        raise errors.CorruptArtifact(path, "its checksum does not fit its content")
    return manifest
