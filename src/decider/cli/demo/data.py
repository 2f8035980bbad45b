"""Where the demo's trial comes from: a local copy, its canonical address, or a generator of its shape."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.request
from pathlib import Path
from typing import Final, NamedTuple

from decider.errors import CorruptArtifact
from decider.simulation.trial import generate_trial

NAME: Final = "hillstrom.csv"
SHA256: Final = "0e5893329d8b93cefecc571777672028290ab69865718020c78c7284f291aece"
ADDRESS: Final = "http://www.minethatdata.com/Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv"
TIMEOUT_SECONDS: Final = 20.0
MAX_BYTES: Final = 16 * 1024 * 1024


class Trial(NamedTuple):
    """A table of the trial, and where it came from."""

    path: Path
    source: str
    """`local copy`, `download` or `generated`."""
    note: str
    """What a reader must know of it; empty for the real data."""


def find_trial(out: Path, *, allow_download: bool = True) -> Trial:
    """Put the trial's table, as CSV, into the folder `out`.

    Looked for in this order: the folder that ``DECIDER_DATA_DIR`` names, ``~/.cache/decider``, the canonical
    address. Without any of them a generated trial of the same shape takes its place, and `note` says so.

    Raises
    ------
    CorruptArtifact
        When a local copy is not the file it claims to be.
    """
    target = out / NAME
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decider"
    for folder in (os.environ.get("DECIDER_DATA_DIR"), cache):
        if folder and (content := _local(Path(folder))) is not None:
            target.write_bytes(content)
            return Trial(target, "local copy", "")
    if allow_download and (content := _download()) is not None:
        cache.mkdir(parents=True, exist_ok=True)
        (cache / NAME).write_bytes(content)
        target.write_bytes(content)
        return Trial(target, "download", "")
    generate_trial().write_csv(target)
    note = (
        "generated trial: neither a local copy nor the canonical address of Hillstrom's data could be reached"
    )
    return Trial(target, "generated", note)


def _local(folder: Path) -> bytes | None:
    for path in (folder / NAME, folder / f"{NAME}.gz"):
        if not path.is_file():
            continue
        try:
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except (OSError, EOFError) as error:
            raise CorruptArtifact(path, f"it cannot be read: {error}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256:
            raise CorruptArtifact(path, f"its sha256 must be {SHA256}, got {found}")
        return content
    return None


def _download() -> bytes | None:
    """The file from its canonical address, when it is reached and is the right one."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(MAX_BYTES)
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == SHA256 else None
