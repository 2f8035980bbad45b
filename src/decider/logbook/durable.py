"""Files that are either there in full or not at all, also after a power cut."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash

from decider import errors

TEMPORARY_SUFFIX = ".tmp"
ChecksumKind = Literal["sha256", "xxh3_128"]
_DIGESTS: dict[ChecksumKind, Callable[[], Any]] = {"sha256": hashlib.sha256, "xxh3_128": xxhash.xxh3_128}
_BLOCK_BYTES = 1 << 22


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to a temporary neighbour, force it to disk, then give it its name.

    Parameters
    ----------
    content
        If it begins at a page of memory (:func:`page_buffer`), its pages go straight to the disk, where the system
        can: a sixth of the processor's time, and no memory of the system is filled with what nobody reads soon.

    Raises
    ------
    OSError
        The disk refused; nothing bears the name `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb", buffering=0) as file:
            _write_all(file.fileno(), content)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def page_buffer(n_bytes: int) -> mmap.mmap:
    """Return memory that begins at a page, for content that is written again and again."""
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _write_all(handle: int, content: bytes | memoryview) -> None:
    left = memoryview(content).cast("B")
    n_whole = left.nbytes - left.nbytes % mmap.PAGESIZE
    if n_whole and _begins_at_page(left) and _set_direct(handle, True):
        try:
            left = _written(handle, left, left.nbytes - n_whole)
        except OSError as error:
            # Some file systems take the flag and refuse the write.
            if error.errno != errno.EINVAL:
                raise
            os.lseek(handle, 0, os.SEEK_SET)
            left = memoryview(content).cast("B")
        _set_direct(handle, False)
    _written(handle, left, 0)


def _written(handle: int, content: memoryview, n_left: int) -> memoryview:
    """Write all but `n_left` bytes; return those."""
    while content.nbytes > n_left:
        content = content[os.write(handle, content[: content.nbytes - n_left]) :]
    return content


def _begins_at_page(content: memoryview) -> bool:
    return np.frombuffer(content, np.uint8).ctypes.data % mmap.PAGESIZE == 0


def _set_direct(handle: int, direct: bool) -> bool:
    """Turn writing past the system's cache on or off; False where that is not possible."""
    flag = getattr(os, "O_DIRECT", 0)
    try:
        flags = fcntl.fcntl(handle, fcntl.F_GETFL)
        fcntl.fcntl(handle, fcntl.F_SETFL, flags | flag if direct else flags & ~flag)
    except OSError:
        return False
    return bool(flag)


def sync_directory(path: Path) -> None:
    """Force the names inside a directory to disk: a rename is durable only after this."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_file(path: Path, n_bytes: int, checksum: str, kind: ChecksumKind = "sha256") -> None:
    """Compare a file with what was noted when it was sealed.

    Parameters
    ----------
    checksum, kind
        In hex. XXH3-128 finds what a disk may do to a file, at thirty times the speed; SHA-256 also what a person may.

    Raises
    ------
    errors.CorruptArtifact
        It is missing, of another length, or its content changed.
    """
    try:
        found_bytes = path.stat().st_size
        if found_bytes != n_bytes:
            raise errors.CorruptArtifact(path, f"it must have {n_bytes} bytes, got {found_bytes}")
        digest = _DIGESTS[kind]()
        with path.open("rb") as file:
            for block in _blocks(file.fileno()):
                digest.update(block)
    except FileNotFoundError:
        raise errors.CorruptArtifact(path, "the file is missing") from None
    if digest.hexdigest() != checksum:
        raise errors.CorruptArtifact(path, f"its {kind} must be {checksum}, got {digest.hexdigest()}")


def _blocks(handle: int) -> Iterable[bytes]:
    while block := os.read(handle, _BLOCK_BYTES):
        yield block
