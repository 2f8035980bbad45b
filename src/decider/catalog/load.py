"""From TOML text to a checked catalog: every broken rule is named, none is repaired."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from decider.catalog.catalog import (
    ALWAYS_FROM,
    ALWAYS_UNTIL,
    Cap,
    Catalog,
    Channel,
    Message,
    QuietHours,
)
from decider.catalog.document import (
    CapDocument,
    CatalogDocument,
    ChannelDocument,
    MessageDocument,
    decode_document,
)
from decider.catalog.rules import syntax_violations
from decider.errors import InvalidInput, NotFound, Violation

_DAY_SECONDS: Final = 86_400
_MAX_CANDIDATES: Final = 2**15 - 1
"""Message sets hold candidate indices as int16."""
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def load_catalog(path: str | Path) -> Catalog:
    """Read a catalog file.

    Raises
    ------
    NotFound
        There is no such file.
    InvalidInput
        As :func:`parse_catalog`.
    """
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound("catalog", "file", str(path)) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput([Violation(str(path), f"must be UTF-8 text: {error}")]) from None
    return parse_catalog(text, str(path))


def parse_catalog(text: str, source: str = "catalog") -> Catalog:
    """Read a catalog from TOML text.

    Parameters
    ----------
    text
        The TOML text.
    source
        Where it came from; only used in the message of a syntax error.

    Raises
    ------
    InvalidInput
        One violation for each broken rule, by its path, such as ``messages[3].audience``.
    """
    document = decode_document(text, source)
    violations = [*_document_violations(document), *syntax_violations(document.messages)]
    if violations:
        raise InvalidInput(violations)
    costs = {channel.name: channel.cost for channel in document.channels}
    messages = tuple(_message(message, costs) for message in document.messages)
    caps = document.caps
    topics = dict.fromkeys(message.topic for message in messages)
    return Catalog(
        name=document.name,
        version=_version(document),
        text=text,
        channels=tuple(_channel(channel) for channel in document.channels),
        messages=messages,
        max_messages=caps.member.per_decision,
        member_cap=(
            Cap(caps.member.count, _seconds(caps.member.days))
            if caps.member.count is not None and caps.member.days is not None
            else None
        ),
        topic_caps=tuple(_cap(caps.topics.get(topic, caps.topic)) for topic in topics),
    )


def _version(document: CatalogDocument) -> str:
    """Hash the decoded content in one canonical form, so that layout and comments do not count."""
    canonical = msgspec.json.encode(document, order="sorted")
    return f"sha256:{hashlib.sha256(canonical).hexdigest()[:16]}"


def _document_violations(document: CatalogDocument) -> Iterator[Violation]:
    """The rules that hold between fields; those of single fields are in the structs."""
    channels = [channel.name for channel in document.channels]
    yield from _duplicates([(f"channels[{i}].name", name) for i, name in enumerate(channels)])
    yield from _duplicates([(f"messages[{i}].id", m.id) for i, m in enumerate(document.messages)])
    for i, channel in enumerate(document.channels):
        yield from _finite(f"channels[{i}].cost", channel.cost)
        if channel.quiet_hours is not None and len(set(channel.quiet_hours.split("-"))) == 1:
            rule = f"must start and end at different times, got {channel.quiet_hours!r}"
            yield Violation(f"channels[{i}].quiet_hours", rule)
    member = document.caps.member
    if (member.count is None) != (member.days is None):
        found = f"count {member.count!r} and days {member.days!r}"
        yield Violation("caps.member", f"must give both count and days or neither, got {found}")
    topics = {message.topic or message.id for message in document.messages}
    for topic in document.caps.topics:
        if topic not in topics:
            yield Violation(
                f"caps.topics.{topic}", f"must be a topic of a message, got {topic!r}{_near(topic, topics)}"
            )
    for i, message in enumerate(document.messages):
        yield from _message_violations(f"messages[{i}]", message, channels)
    n_candidates = sum(len(message.channels) for message in document.messages)
    if n_candidates > _MAX_CANDIDATES:
        yield Violation("messages", f"must make at most {_MAX_CANDIDATES} candidates, got {n_candidates}")


def _message_violations(path: str, message: MessageDocument, channels: list[str]) -> Iterator[Violation]:
    yield from _duplicates([(f"{path}.channels[{i}]", name) for i, name in enumerate(message.channels)])
    for i, name in enumerate(message.channels):
        if name not in channels:
            yield Violation(
                f"{path}.channels[{i}]", f"must be a channel, got {name!r}{_near(name, channels)}"
            )
    yield from _finite(f"{path}.weight", message.weight)
    if not isinstance(message.priority, str):
        yield from _finite(f"{path}.priority", message.priority)
    if isinstance(message.cost, dict):
        for name, cost in message.cost.items():
            yield from _finite(f"{path}.cost.{name}", cost)
            if name not in message.channels:
                yield Violation(f"{path}.cost.{name}", f"must be a channel of the message, got {name!r}")
    elif message.cost is not None:
        yield from _finite(f"{path}.cost", message.cost)
    start, end = message.valid_from, message.valid_until
    if start is not None and end is not None and start >= end:
        yield Violation(
            f"{path}.valid_until", f"must be after valid_from {start.isoformat()}, got {end.isoformat()}"
        )


def _duplicates(named: list[tuple[str, str]]) -> Iterator[Violation]:
    first: dict[str, str] = {}
    for path, name in named:
        if name in first:
            yield Violation(path, f"must be unique, got {name!r} as in {first[name]}")
        first.setdefault(name, path)


def _finite(path: str, value: float) -> Iterator[Violation]:
    if not math.isfinite(value):
        yield Violation(path, f"must be finite, got {value!r}")


def _near(name: str, known: list[str] | set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _channel(channel: ChannelDocument) -> Channel:
    hours = None
    if channel.quiet_hours is not None:
        start, end = channel.quiet_hours.split("-")
        hours = QuietHours(_minutes(start), _minutes(end))
    return Channel(channel.name, _cap(channel.cap), hours)


def _message(message: MessageDocument, channel_costs: dict[str, float]) -> Message:
    """Resolve what is left open: topic by the id, cost by the channel, times to the ends of time."""
    own = message.cost if isinstance(message.cost, dict) else {}
    flat = None if isinstance(message.cost, dict) else message.cost
    suppress = message.suppress
    return Message(
        id=message.id,
        type=message.type,
        topic=message.topic or message.id,
        title=message.title or message.id,
        channels=message.channels,
        costs=tuple(
            own.get(name, channel_costs[name] if flat is None else flat) for name in message.channels
        ),
        priority=message.priority,
        weight=message.weight,
        valid_from_micros=ALWAYS_FROM if message.valid_from is None else _micros(message.valid_from),
        valid_until_micros=ALWAYS_UNTIL if message.valid_until is None else _micros(message.valid_until),
        audience=message.audience,
        suppress_scope=suppress.scope if suppress else "none",
        suppress_seconds=_seconds(suppress.days) if suppress else 0,
    )


def _cap(cap: CapDocument | None) -> Cap | None:
    return None if cap is None else Cap(cap.count, _seconds(cap.days))


def _seconds(days: float) -> int:
    return round(days * _DAY_SECONDS)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _micros(instant: datetime.datetime) -> int:
    """Exact: integer microseconds, never through a float."""
    return (instant - _EPOCH) // datetime.timedelta(microseconds=1)
