"""Publication of a directory in one step: whoever looks sees all of it or nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from decider.errors import Conflict

_PARTIAL: Final = "partial-"
_REPLACED: Final = "replaced-"


@contextlib.contextmanager
def publishing(target: Path, *, replace: bool) -> Iterator[Path]:
    """Give a fresh directory to fill; when the block ends well, sync it and rename it to `target`.

    The directory stands beside the target, so that the rename is atomic, under a name that begins with a dot.
    If the block fails it is removed. If the process dies it stays, and the next publication to the same
    target removes it: a builder at work holds a lock on its directory, a dead one does not.

    Raises
    ------
    Conflict
        The target exists and `replace` is false, or it appeared while the block ran.
    """
    if os.path.lexists(target) and not replace:
        raise Conflict("out", str(target), "exists already: choose another place, or ask to replace it")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(target)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.{_PARTIAL}", dir=target.parent))
    lock = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield partial
        for path in sorted(partial.rglob("*")):
            _sync(path)
        _sync(partial)
        partial.chmod(0o755)
        _move(partial, target, replace=replace)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _move(partial: Path, target: Path, *, replace: bool) -> None:
    """Rename; an old target steps aside first and is removed after."""
    old = None
    if replace and os.path.lexists(target):
        old = target.with_name(f".{target.name}.{_REPLACED}{partial.name.rsplit('-', 1)[1]}")
        target.rename(old)
    try:
        partial.rename(target)
    except OSError as error:
        if old is not None:
            old.rename(target)
        raise Conflict("out", str(target), f"cannot be published: {error.strerror}") from None
    _sync(target.parent)
    if old is not None:
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()


def _remove_dead(target: Path) -> None:
    """Remove what builders that died left beside the target."""
    for path in target.parent.glob(f".{target.name}.{_PARTIAL}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
