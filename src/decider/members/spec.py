"""How a table of members becomes a snapshot, as it is written in TOML."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from decider.errors import InvalidInput, NotFound, Violation

Column = Annotated[str, Meta(min_length=1)]
Fill = bool | int | float | str

MAX_CHANNELS: Final = 32
"""Consent is one bit a channel in a uint32."""


class SendsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the past sends are, and what its columns are called."""

    path: str
    """Parquet, CSV or Arrow file; a relative path is taken from the working directory."""
    member: Column = "member_id"
    message: Column = "message"
    type: Column = "type"
    topic: Column = "topic"
    channel: Column = "channel"
    time: Column = "time"
    """Timestamps or RFC 3339 text (without a zone: UTC), or whole microseconds since the Unix epoch."""
    unknown_members: Literal["refuse", "drop"] = "refuse"
    """What to do with sends to nobody in the members table; dropped ones are counted in the manifest."""


class SnapshotSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which columns of the members table mean what."""

    id: Column
    """Column of the member id: integers or strings, never null, never twice."""
    id_type: Literal["auto", "int64", "string"] = "auto"
    """`string` keeps the leading zeros of ids in CSV; `auto` takes the column's own type."""
    features: tuple[Column, ...] = ()
    """Numeric or boolean columns, float32 in the snapshot, in this order."""
    categories: tuple[Column, ...] = ()
    """Columns of few levels; each level becomes the 0/1 feature ``column=level``, after `features`."""
    max_levels: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Most levels of one category."""
    attributes: tuple[Column, ...] | None = None
    """Columns kept for audience rules as they are, nulls included; None keeps all. The id is always kept."""
    consent: dict[Column, Column | bool] = {}
    """By channel: a boolean column, or true or false for everybody."""
    time_zone: str | None = None
    """One IANA zone for everybody; neither this nor a column is UTC."""
    time_zone_column: Column | None = None
    """Column of IANA zone names."""
    missing: Literal["refuse"] | dict[Column, Fill] = "refuse"
    """Refuse nulls and NaN, or fill those of single columns; the manifest counts the filled."""
    sends: SendsSpec | None = None
    """Past sends, for caps and suppression."""


_AT: Final = re.compile(r"^(?P<rule>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


def load_spec(path: str | Path) -> SnapshotSpec:
    """Read a spec from a TOML file.

    Raises
    ------
    NotFound
        There is no such file.
    InvalidInput
        Not TOML, or a field is unknown, missing or of a wrong type: names its path.
    """
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound("spec", "file", str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation(str(path), f"must be valid TOML: {error}")]) from None
    try:
        return msgspec.convert(raw, SnapshotSpec, strict=True)
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        assert match is not None  # the pattern matches any text
        raise InvalidInput([Violation(match["path"] or "spec", match["rule"])]) from None
