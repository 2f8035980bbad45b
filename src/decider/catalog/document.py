"""The catalog as it is written: TOML decoded into strict structs, every slip named by its path."""

from __future__ import annotations

import datetime
import re
import tomllib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from decider.errors import InvalidInput, Violation

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
"""An id of a message or a channel: no ``@`` (it joins the two) and no ``:``."""

Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=128)]
"""A type or topic; may hold ``:``, as in ``title:70143836``."""

Instant = Annotated[datetime.datetime, Meta(tz=True)]

_AT: Final = re.compile(r"^(?P<rule>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all structs of a catalog share: frozen, and an unknown field is an error."""


class CapDocument(_Strict, frozen=True):
    """At most `count` messages in any `days` days."""

    count: Annotated[int, Meta(ge=1, le=2**15 - 1)]
    days: Annotated[float, Meta(ge=0.0001, le=3650)]


class MemberCapDocument(_Strict, frozen=True):
    """The caps of one member over all channels and topics."""

    per_decision: Annotated[int, Meta(ge=1, le=8)] = 3
    count: Annotated[int, Meta(ge=1, le=2**15 - 1)] | None = None
    days: Annotated[float, Meta(ge=0.0001, le=3650)] | None = None


class CapsDocument(_Strict, frozen=True):
    """``[caps]``: per member, per topic by default, and for single topics."""

    member: MemberCapDocument = MemberCapDocument()
    topic: CapDocument | None = None
    topics: dict[Label, CapDocument] = {}


class ChannelDocument(_Strict, frozen=True):
    """One ``[[channels]]`` entry."""

    name: Name
    cost: Annotated[float, Meta(ge=0)] = 1.0
    cap: CapDocument | None = None
    quiet_hours: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] | None = (
        None
    )


class SuppressDocument(_Strict, frozen=True):
    """Nothing similar in the past `days` days, similar meaning the same topic, type, or either."""

    days: Annotated[float, Meta(ge=0.0001, le=3650)]
    scope: Literal["topic", "type", "either"] = "topic"


class MessageDocument(_Strict, frozen=True):
    """One ``[[messages]]`` entry."""

    id: Name
    type: Label
    channels: Annotated[tuple[Name, ...], Meta(min_length=1)]
    topic: Label | None = None
    title: str = ""
    cost: Annotated[float, Meta(ge=0)] | dict[Name, Annotated[float, Meta(ge=0)]] | None = None
    priority: float | str = 1.0
    weight: Annotated[float, Meta(gt=0)] = 1.0
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    audience: str | None = None
    suppress: SuppressDocument | None = None


class CatalogDocument(_Strict, frozen=True):
    """A whole catalog file."""

    name: Name
    channels: Annotated[tuple[ChannelDocument, ...], Meta(min_length=1)]
    messages: Annotated[tuple[MessageDocument, ...], Meta(min_length=1)]
    caps: CapsDocument = CapsDocument()


def decode_document(text: str, source: str) -> CatalogDocument:
    """Decode TOML into the strict structs.

    Parameters
    ----------
    text
        The TOML text.
    source
        Where it came from, for the message of a syntax error.

    Raises
    ------
    InvalidInput
        Not TOML; or a field is unknown, missing, or of a wrong type or range: names its path.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput([Violation(source, f"must be valid TOML: {error}")]) from None
    try:
        return msgspec.convert(raw, CatalogDocument, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInput([_violation(str(error), raw)]) from None


def _violation(text: str, raw: dict[str, Any]) -> Violation:
    """Turn msgspec's ``<rule> - at `$.<path>``` into field, rule and the value found there."""
    match = _AT.match(text)
    assert match is not None  # the pattern matches any text
    rule, path = match["rule"], match["path"] or ""
    rule = rule[0].lower() + rule[1:]
    if rule.startswith(
        "object "
    ):  # unknown or missing field: the rule names it, a value would only add noise
        return Violation(path or "catalog", rule.removeprefix("object "))
    return Violation(path or "catalog", f"{rule}{_found(raw, path)}")


def _found(raw: Any, path: str) -> str:
    """``, got <value>`` at a path of the raw document, or nothing where the path leads nowhere."""
    value = raw
    for index, key in _STEP.findall(path):
        try:
            value = value[int(index)] if index else value[key]
        except (LookupError, TypeError):
            return ""
    return f", got {value!r}"
