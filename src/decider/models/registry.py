"""Which version of a model serves: published versions, a pointer to one of them, and the way back."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from decider.clock import Clock, SystemClock
from decider.errors import CorruptArtifact, InvalidInput, NotFound, NotReady
from decider.models.artifact import load_model, save_model, sync_directory, write_durably
from decider.models.uplift import UpliftModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VERSION = re.compile(r"sha256:[0-9a-f]{16}")
_POINTER, _HISTORY = "current.json", "history.jsonl"


class Publication(NamedTuple):
    """One change of the version that serves.

    Parameters
    ----------
    sequence
        1 for the first change of a model's name, then one more for each.
    action
        ``publish`` or ``roll_back``.
    version
        The version that serves from then on.
    time_micros
        When, in microseconds since the Unix epoch.
    who
        Who asked for it, "" if not told.
    """

    sequence: int
    action: str
    version: str
    time_micros: int
    who: str


class _Pointer(NamedTuple):
    """What serves, and what served before it, the latest last."""

    sequence: int
    version: str
    earlier: tuple[str, ...]


class Registry:
    """Models by name and version under one directory; safe for several processes at once.

    ::

        <root>/<name>/sha256-<16 hex>/    one artifact for each version
        <root>/<name>/current.json        the version that serves and those before it; replaced atomically
        <root>/<name>/history.jsonl       who changed it when

    A history line is written before the pointer moves, under the same sequence number; a line beyond the
    pointer's number is a change that a crash undid, and the next change overwrites it.

    Parameters
    ----------
    root
        The directory; made when something is first published.
    clock
        What tells the time of a publication.
    """

    def __init__(self, root: Path | str, clock: Clock | None = None) -> None:
        self._root = Path(root)
        self._clock = clock or SystemClock()

    def publish(self, model: UpliftModel, who: str = "") -> str:
        """Store a model and make it the one that serves under its name.

        Publishing the version that already serves changes nothing.

        Returns
        -------
        str
            The version.
        """
        folder = self._folder(model.name)
        folder.mkdir(parents=True, exist_ok=True)
        version = save_model(model, folder / _directory_name(model.version))
        with _locked(folder):
            pointer = _read_pointer(folder)
            if pointer is None:
                self._change(folder, "publish", _Pointer(1, version, ()), who)
            elif pointer.version != version:
                earlier = (*pointer.earlier, pointer.version)
                self._change(folder, "publish", _Pointer(pointer.sequence + 1, version, earlier), who)
        return version

    def roll_back(self, name: str, who: str = "") -> str:
        """Return to the version that served before the present one.

        Returns
        -------
        str
            The version that serves now.

        Raises
        ------
        NotFound
            If nothing was ever published under the name.
        NotReady
            If no version served before the present one.
        CorruptArtifact
            If the earlier version is no longer whole: then the present one stays.
        """
        folder = self._existing(name)
        with _locked(folder):
            pointer = _read_pointer(folder)
            if pointer is None or not pointer.earlier:
                raise NotReady(f"model {name!r} has no earlier version to roll back to")
            *earlier, version = pointer.earlier
            self.load(name, version)
            self._change(folder, "roll_back", _Pointer(pointer.sequence + 1, version, tuple(earlier)), who)
        return version

    def names(self) -> list[str]:
        """Every name under which something serves, sorted."""
        return sorted(path.parent.name for path in self._root.glob(f"*/{_POINTER}"))

    def versions(self, name: str) -> list[str]:
        """The versions that are stored under a name, in the order of their first publication."""
        seen = dict.fromkeys(entry.version for entry in self.history(name))
        return [version for version in seen if (self._folder(name) / _directory_name(version)).is_dir()]

    def current(self, name: str) -> str:
        """The version that serves.

        Raises
        ------
        NotFound
            If nothing was ever published under the name.
        """
        pointer = _read_pointer(self._existing(name))
        if pointer is None:
            raise NotFound("model", "model", name)
        return pointer.version

    def load(self, name: str, version: str | None = None) -> UpliftModel:
        """Read a version, the one that serves unless told otherwise.

        Raises
        ------
        NotFound
            If the name or the version is not known.
        CorruptArtifact
            If a file is not as it was written.
        """
        folder = self._existing(name)
        wanted = self.current(name) if version is None else version
        if not _VERSION.fullmatch(wanted):
            raise InvalidInput.of("version", "must be 'sha256:' and 16 hex digits", wanted)
        directory = folder / _directory_name(wanted)
        if not directory.is_dir():
            raise NotFound("version", "model version", wanted, f"model {name!r}")
        model = load_model(directory)
        if model.version != wanted or model.name != name:
            raise CorruptArtifact(directory, f"it holds model {model.name!r} version {model.version}")
        return model

    def history(self, name: str) -> list[Publication]:
        """Every change of what serves under a name, the first one first."""
        folder = self._existing(name)
        pointer = _read_pointer(folder)
        if pointer is None:
            raise NotFound("model", "model", name)
        return [entry for entry in _read_history(folder) if entry.sequence <= pointer.sequence]

    def _change(self, folder: Path, action: str, pointer: _Pointer, who: str) -> None:
        entry = Publication(pointer.sequence, action, pointer.version, self._clock.now_micros(), who)
        kept = [old for old in _read_history(folder) if old.sequence < entry.sequence]
        _replace(folder / _HISTORY, b"".join(_line(old._asdict()) for old in (*kept, entry)))
        _replace(folder / _POINTER, _line(pointer._asdict()))

    def _folder(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            rule = "must be 1 to 100 of the letters, digits, '_', '.', '-', and begin with a letter or digit"
            raise InvalidInput.of("model", rule, name)
        return self._root / name

    def _existing(self, name: str) -> Path:
        folder = self._folder(name)
        if not folder.is_dir():
            raise NotFound("model", "model", name)
        return folder


def _directory_name(version: str) -> str:
    return version.replace(":", "-")


def _read_pointer(folder: Path) -> _Pointer | None:
    path = folder / _POINTER
    try:
        value = json.loads(path.read_bytes())
        pointer = _Pointer(value["sequence"], value["version"], tuple(value["earlier"]))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptArtifact(path, "it is no pointer to a version") from error
    if not all(_VERSION.fullmatch(version) for version in (pointer.version, *pointer.earlier)):
        raise CorruptArtifact(path, "it points to what is no version")
    return pointer


def _read_history(folder: Path) -> list[Publication]:
    path = folder / _HISTORY
    try:
        return [Publication(**json.loads(line)) for line in path.read_bytes().splitlines()]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise CorruptArtifact(path, "it is no history of publications") from error


def _replace(path: Path, data: bytes) -> None:
    """Replace a file atomically; only the holder of the folder's lock does this."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    write_durably(scratch, data)
    scratch.replace(path)
    sync_directory(path.parent)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # flock belongs to the open file, so it also holds between threads of one process.
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
