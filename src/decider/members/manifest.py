"""The manifest of a snapshot: what its files hold, their sizes and checksums, and its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal

import msgspec

from decider.errors import CorruptArtifact

SCHEMA: Final = 1
"""Version of the layout of the directory; another one is refused."""

NAME: Final = "manifest.json"
_READ_BYTES: Final = 1 << 20


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size and checksum of one file."""

    bytes: int
    sha256: str


class SnapshotManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a snapshot holds. Its content depends on the source and the spec only, not on time or place."""

    schema: int
    n_members: int
    id_type: Literal["int64", "string"]
    feature_names: tuple[str, ...]
    channel_names: tuple[str, ...]
    """Channels in the order of their consent bits."""
    zones: tuple[str, ...]
    """IANA names, in the order of the codes in ``zone.i16``."""
    n_sends: int
    send_vocabulary: tuple[tuple[str, str, str, str], ...]
    """(message, type, topic, channel) in the order of the codes in ``send_code.i32``."""
    filled: dict[str, int]
    """How many missing values were filled, by column."""
    dropped_sends: int
    """Sends to unknown members that the spec said to drop."""
    attribute_types: dict[str, str]
    files: dict[str, FileEntry]

    @property
    def version(self) -> str:
        """``sha256:`` and 16 hex digits of the manifest, and so of everything it lists."""
        return f"sha256:{digest(self)[:16]}"


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest with its own checksum: a flipped bit in a feature's name must not pass."""

    sha256: str
    snapshot: SnapshotManifest


def digest(manifest: SnapshotManifest) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(msgspec.json.encode(manifest, order="sorted")).hexdigest()


def encode(manifest: SnapshotManifest) -> bytes:
    """Give the bytes of the manifest file."""
    sealed = msgspec.json.encode(_Sealed(digest(manifest), manifest), order="sorted")
    return msgspec.json.format(sealed, indent=1) + b"\n"


def read_manifest(directory: Path) -> SnapshotManifest:
    """Read and check the manifest of a snapshot.

    Raises
    ------
    CorruptArtifact
        Missing, not JSON, of another schema, or changed in any byte.
    """
    path = directory / NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptArtifact(path, f"it cannot be read: {error.strerror}") from None
    try:
        schema = msgspec.json.decode(data, type=_AnySchema).snapshot.schema
        if schema != SCHEMA:
            raise CorruptArtifact(path, f"its schema must be {SCHEMA}, got {schema}")
        sealed = msgspec.json.decode(data, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptArtifact(path, f"it is not a snapshot's manifest: {error}") from None
    if sealed.sha256 != digest(sealed.snapshot) or data != encode(sealed.snapshot):
        raise CorruptArtifact(path, "its content does not match its checksum")
    return sealed.snapshot


def check_file(directory: Path, name: str, entry: FileEntry, *, full: bool) -> None:
    """Check one file's size, and its content too if `full`.

    Raises
    ------
    CorruptArtifact
        Names the file.
    """
    path = directory / name
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            raise CorruptArtifact(path, f"its size must be {entry.bytes} bytes, got {size}")
        if full and sha256_of(path) != entry.sha256:
            raise CorruptArtifact(path, "its content does not match its checksum")
    except OSError as error:
        raise CorruptArtifact(path, f"it cannot be read: {error.strerror}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256", _bufsize=_READ_BYTES).hexdigest()


class _SchemaOnly(msgspec.Struct):
    schema: int


class _AnySchema(msgspec.Struct):
    snapshot: _SchemaOnly
