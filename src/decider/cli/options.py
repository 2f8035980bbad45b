"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from decider.config import Config, load_config
from decider.errors import InvalidInput

DEFAULT_CONFIG = Path("decider.toml")

ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file.  [default: decider.toml if it is there, else defaults]"
    ),
]
ServerAddress = Annotated[
    str | None, typer.Option("--server", metavar="HOST:PORT", help="Ask a running server instead.")
]
ModelsPath = Annotated[
    Path | None, typer.Option("--models", help="Registry of models.  [default: as the configuration says]")
]
Seed = Annotated[int, typer.Option("--seed", help="Of the halves and of the folds.")]
TrainShare = Annotated[
    float, typer.Option("--share", help="Share of the members in the training half, in (0, 1).")
]


def configuration(path: Path | None) -> Config:
    """Read the configuration named, else the one of the current folder, else take all defaults."""
    return load_config(path or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None))


def examples(*commands: str) -> str:
    """The last part of a command's help."""
    # A lone line break would be folded away.
    return "\n\n".join(("Examples:", *commands))


def pairs(field: str, texts: Sequence[str]) -> dict[str, str]:
    """Split ``name=value`` at the first ``=``.

    Raises
    ------
    InvalidInput
        For text without ``=`` or with nothing on a side of it, and for a name given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise InvalidInput.of(field, "must be name=value", text)
        if name in found:
            raise InvalidInput.of(field, f"must name {name!r} only once", text)
        found[name] = value
    return found


def share_of(field: str, text: str) -> float:
    """Read ``30%`` or ``0.3`` as 0.3; must be in [0, 1]."""
    try:
        share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        share = float("nan")
    if not 0.0 <= share <= 1.0:
        raise InvalidInput.of(field, "must be a share such as 30% or 0.3, at most all", text)
    return share


def moment(field: str, text: str | None) -> datetime.datetime:
    """Read an RFC 3339 time; the present time for none.

    Raises
    ------
    InvalidInput
        For anything else, and for a time without a zone.
    """
    if text is None:
        return datetime.datetime.now(datetime.UTC)
    rule = "must be an RFC 3339 time with a zone, such as 2026-01-05T09:00:00Z"
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput.of(field, rule, text) from None
    if time.tzinfo is None:
        raise InvalidInput.of(field, rule, text)
    return time


def micros_of(time: datetime.datetime) -> int:
    """Microseconds since the Unix epoch."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (time - epoch) // datetime.timedelta(microseconds=1)


def rfc3339(micros: int) -> str:
    """A time given in microseconds since the Unix epoch, in UTC."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (epoch + datetime.timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
