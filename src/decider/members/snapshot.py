"""Members as mapped arrays: opened in a moment, shared by all processes of a machine, never changed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from decider.errors import CorruptArtifact, NotReady, UnknownName, Violation
from decider.members import build, sends
from decider.members.ids import Wanted, open_ids
from decider.members.manifest import SnapshotManifest, check_file, read_manifest
from decider.members.mapping import map_array
from decider.members.vocabulary import CodeTables, SendName, Translates
from decider.members.zones import is_zone
from decider_core.rows import stretch_of

Array = npt.NDArray[Any]


class Snapshot:
    """The members of one moment.

    Make one with :meth:`open`. All arrays are read-only maps of files; rows are places in them.
    """

    def __init__(self, path: Path, manifest: SnapshotManifest) -> None:
        n_members, n_features = manifest.n_members, len(manifest.feature_names)
        self.path = path
        self.manifest = manifest
        self.version = manifest.version
        self.n_members = n_members
        self.id_type: Literal["int64", "string"] = manifest.id_type
        self.feature_names = manifest.feature_names
        self.channel_names = manifest.channel_names
        self.zones = manifest.zones
        self.send_vocabulary: tuple[SendName, ...] = manifest.send_vocabulary
        self.features = _shaped(path / build.FEATURES, np.float32, (n_members, n_features))
        """float32[n_members, n_features]"""
        self.consent = _shaped(path / build.CONSENT, np.uint32, (n_members,))
        """uint32[n_members], a bit a channel in the order of `channel_names`"""
        self.zone = _shaped(path / build.ZONE, np.int16, (n_members,))
        """int16[n_members] places in `zones`"""
        self.send_offsets = _shaped(path / sends.OFFSETS, np.int64, (n_members + 1,))
        """int64[n_members + 1]: the sends of row i are from ``[i]`` up to ``[i + 1]``, by time"""
        self.send_time_micros = _shaped(path / sends.TIMES, np.int64, (manifest.n_sends,))
        """int64[n_sends] microseconds since the Unix epoch"""
        self.send_codes = _shaped(path / sends.CODES, np.int32, (manifest.n_sends,))
        """int32[n_sends] places in `send_vocabulary`"""
        self._ids = open_ids(path, manifest.id_type, n_members)
        self.keys = self._ids.keys
        """uint64[n_members] keys of the members' random streams"""
        self._attributes = _read_attributes(path / build.ATTRIBUTES, manifest)

    @classmethod
    def open(cls, path: str | Path, verify: Literal["full", "size"] = "full") -> Snapshot:
        """Open a snapshot.

        Parameters
        ----------
        path
            Its directory.
        verify
            ``full`` reads every file and compares its checksum (about a second for 1.5 GB); ``size`` only
            compares sizes: for processes that start after one that looked at everything.

        Raises
        ------
        CorruptArtifact
            A file is missing, truncated, changed or of another schema: names it.
        NotReady
            This machine does not know a time zone of the snapshot.
        """
        if verify not in ("full", "size"):
            raise ValueError(f"verify must be 'full' or 'size', got {verify!r}")
        directory = Path(path)
        manifest = read_manifest(directory)
        for name, entry in manifest.files.items():
            check_file(directory, name, entry, full=verify == "full")
        unknown = [zone for zone in manifest.zones if not is_zone(zone)]
        if unknown:
            raise NotReady(f"the time zone {unknown[0]!r} of {path} is not known here: update tzdata")
        return cls(directory, manifest)

    def __len__(self) -> int:
        return self.n_members

    def __repr__(self) -> str:
        return f"Snapshot({str(self.path)!r}, {self.n_members} members, {self.version})"

    @cached_property
    def attribute_schema(self) -> pl.Schema:
        """Columns that rules may read, and their types."""
        return self._attributes.schema

    def rows_of(self, ids: Wanted) -> Array:
        """Find members.

        Parameters
        ----------
        ids
            Integers, or strings, as the snapshot has them: an array, a Series or a list.

        Returns
        -------
        int64[n]
            Rows; -1 for an id that is not here.

        Raises
        ------
        InvalidInput
            An id of the other type, or a null: names its place.
        """
        return self._ids.rows_of(ids)

    def ids(self, rows: Array) -> pl.Series:
        """Give the ids of rows, Int64 or String."""
        here = stretch_of(np.asarray(rows, np.int64))
        if isinstance(here, slice) and here.stop <= self.n_members:
            return self._ids.take(here)
        return self._ids.take(_checked(rows, self.n_members))

    def attributes(self, rows: Array | None = None) -> pl.DataFrame:
        """Give the columns that rules may read.

        Parameters
        ----------
        rows
            int64[n] rows in any order; None is all of them, without a copy.
        """
        if rows is None:
            return self._attributes
        rows = _checked(rows, self.n_members)
        first = int(rows[0]) if len(rows) else 0
        # One member, or some that stand side by side, need no copy; a gather costs 50 times as much for one.
        if len(rows) <= 1 or (rows[-1] - first == len(rows) - 1 and bool((np.diff(rows) == 1).all())):
            return self._attributes.slice(first, len(rows))
        return self._attributes[rows]

    def consent_by(self, channel_names: tuple[str, ...]) -> Array:
        """Give the consent bits in the order of a catalog's channels.

        Returns
        -------
        uint32[n_members]
            The mapped array itself where the orders agree.

        Raises
        ------
        UnknownName
            The snapshot does not know who consents to some channel.
        """
        unknown = [name for name in channel_names if name not in self.channel_names]
        if unknown:
            rule = f"must be one that the snapshot has consent for: {', '.join(self.channel_names) or 'none'}"
            raise UnknownName([Violation("channels", f"{rule}, got {name!r}") for name in unknown])
        places = [self.channel_names.index(name) for name in channel_names]
        if places == list(range(len(places))):
            return self.consent
        out = np.zeros(self.n_members, np.uint32)
        for bit, place in enumerate(places):
            out |= ((self.consent >> np.uint32(place)) & np.uint32(1)) << np.uint32(bit)
        out.flags.writeable = False
        return out

    @property
    def sends(self) -> tuple[Array, Array, Array]:
        """Past sends by member: `send_offsets`, `send_time_micros` and `send_codes`."""
        return self.send_offsets, self.send_time_micros, self.send_codes

    def code_tables(self, catalog: Translates) -> CodeTables:
        """Type, topic and channel of each send code as places in a catalog."""
        return catalog.code_tables(self.send_vocabulary)


def _shaped(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
    values = map_array(path, dtype)
    if values.size != int(np.prod(shape)):
        raise CorruptArtifact(path, f"it must hold {int(np.prod(shape))} numbers, got {values.size}")
    return values.reshape(shape)


def _checked(rows: Array, n_members: int) -> Array:
    rows = np.asarray(rows, np.int64)
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= n_members):
        raise IndexError(f"rows must be in [0, {n_members}), got {int(rows.min())} to {int(rows.max())}")
    return rows


def _read_attributes(path: Path, manifest: SnapshotManifest) -> pl.DataFrame:
    """Map the Arrow file: columns are views of it."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        frame = pl.DataFrame(pl.from_arrow(table, rechunk=False))
    except (pa.ArrowException, OSError) as error:
        raise CorruptArtifact(path, f"it is not an Arrow file: {error}") from None
    types = {name: str(dtype) for name, dtype in frame.schema.items()}
    if len(frame) != manifest.n_members or types != manifest.attribute_types:
        raise CorruptArtifact(path, f"it must hold {manifest.n_members} rows of {manifest.attribute_types}")
    return frame
