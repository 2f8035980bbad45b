"""Files that are either there in full or not at all, also after a power cut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from decider import errors

TEMPORARY_SUFFIX = ".tmp"
_BLOCK_BYTES = 1 << 22


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to a temporary neighbour, force it to disk, then give it its name.

    Raises
    ------
    OSError
        The disk refused; nothing bears the name `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Force the names inside a directory to disk: a rename is durable only after this."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_file(path: Path, n_bytes: int, sha256: str) -> None:
    """Compare a file with what was noted when it was sealed.

    Raises
    ------
    errors.CorruptArtifact
        It is missing, of another length, or its content changed.
    """
    try:
        found_bytes = path.stat().st_size
        if found_bytes != n_bytes:
            raise errors.CorruptArtifact(path, f"it must have {n_bytes} bytes, got {found_bytes}")
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for block in _blocks(file.fileno()):
                digest.update(block)
    except FileNotFoundError:
        raise errors.CorruptArtifact(path, "the file is missing") from None
    if digest.hexdigest() != sha256:
        raise errors.CorruptArtifact(path, f"its sha256 must be {sha256}, got {digest.hexdigest()}")


def _blocks(handle: int) -> Iterable[bytes]:
    while block := os.read(handle, _BLOCK_BYTES):
        yield block
