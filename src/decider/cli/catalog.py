"""`decider catalog`: does a catalog hold together, and does it fit the members."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from decider.catalog import Cap, Catalog, audience_mask, check_catalog, load_catalog, priorities
from decider.cli.failures import BAD_INPUT
from decider.cli.options import examples, rfc3339
from decider.cli.output import Machine, emit, facts, table
from decider.errors import InvalidInput
from decider.members import Snapshot

app = typer.Typer(no_args_is_help=True, help="Check what can be said.")

_DAY_SECONDS = 86_400


@app.callback()
def group() -> None:
    """Check what can be said."""


@app.command(
    epilog=examples(
        "decider catalog check examples/catalog.toml",
        "decider catalog check examples/catalog.toml --snapshot snapshot --json",
    )
)
def check(
    path: Annotated[Path, typer.Argument(metavar="CATALOG", help="The TOML file.")],
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Also try every rule on these members.")
    ] = None,
    machine: Machine = False,
) -> None:
    """Print a catalog's messages, candidates and caps, and what is wrong; exit 2 when anything is."""
    catalog = load_catalog(path)
    members = None if snapshot is None else Snapshot.open(snapshot)
    problems = [
        {"field": each.field, "message": each.message, "expression": each.expression, "what": each.what}
        for each in check_catalog(catalog, None if members is None else members.attribute_schema)
    ]
    audience: dict[str, int] | None = None
    if members is not None:
        problems += _consent_problems(catalog, members)
        if not problems:
            audience, found = _tried(catalog, members)
            problems += found
    payload = {
        "catalog": str(path),
        "name": catalog.name,
        "version": catalog.version,
        "n_candidates": catalog.n_candidates,
        "max_messages": catalog.max_messages,
        "caps": _caps(catalog),
        "channels": [_channel(catalog, place) for place in range(len(catalog.channels))],
        "messages": [_message(catalog, place, audience) for place in range(len(catalog.messages))],
        "candidates": [candidate.id for candidate in catalog.candidates],
        "members": None if members is None else members.n_members,
        "problems": problems,
    }
    wrong = [(each["field"], each["message"], each["what"], each["expression"]) for each in problems]
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    verdict = table(count, ("field", "message", "what is wrong", "expression"), wrong)
    emit(payload, machine, *_drawn(payload), verdict if problems else "No problems.")
    if problems:
        raise typer.Exit(BAD_INPUT)


def _tried(catalog: Catalog, members: Snapshot) -> tuple[dict[str, int] | None, list[dict[str, str]]]:
    """How many members each message may go to; or what fails on their values."""
    frame = members.attributes(None)
    try:
        mask = audience_mask(catalog, frame)
        priorities(catalog, frame)
    except InvalidInput as error:
        return None, [_problem(each.field, "", each.description) for each in error.violations]
    sizes = {}
    for candidate in catalog.candidates:
        word, bit = divmod(candidate.index, 64)
        admitted = (mask[word] >> np.uint64(bit)) & np.uint64(1)
        sizes[candidate.message] = int(admitted.sum())
    return sizes, []


def _consent_problems(catalog: Catalog, members: Snapshot) -> list[dict[str, str]]:
    try:
        members.consent_by(catalog.channel_names)
    except InvalidInput as error:
        return [_problem(each.field, "", each.description) for each in error.violations]
    return []


def _problem(field: str, message: str, what: str) -> dict[str, str]:
    return {"field": field, "message": message, "expression": "", "what": what}


def _caps(catalog: Catalog) -> dict[str, Any]:
    topics = zip(catalog.topic_names, catalog.topic_caps, strict=True)
    return {
        "member": _cap(catalog.member_cap),
        "topics": {topic: _cap(cap) for topic, cap in topics if cap is not None},
    }


def _cap(cap: Cap | None) -> dict[str, float] | None:
    return None if cap is None else {"count": cap.count, "days": cap.window_seconds / _DAY_SECONDS}


def _channel(catalog: Catalog, place: int) -> dict[str, Any]:
    channel = catalog.channels[place]
    hours = channel.quiet_hours
    return {
        "name": channel.name,
        "cap": _cap(channel.cap),
        "quiet_hours": None if hours is None else f"{_clock(hours.start)}-{_clock(hours.end)}",
        "n_candidates": int((catalog.channel == place).sum()),
    }


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _message(catalog: Catalog, place: int, audience: dict[str, int] | None) -> dict[str, Any]:
    message = catalog.messages[place]
    ends = np.iinfo(np.int64)
    return {
        "id": message.id,
        "type": message.type,
        "topic": message.topic,
        "channels": message.channels,
        "costs": message.costs,
        "priority": message.priority,
        "weight": message.weight,
        "valid_from": None if message.valid_from_micros == ends.min else rfc3339(message.valid_from_micros),
        "valid_until": None
        if message.valid_until_micros == ends.max
        else rfc3339(message.valid_until_micros),
        "audience": message.audience,
        "suppress_days": message.suppress_seconds / _DAY_SECONDS or None,
        "suppress_scope": message.suppress_scope,
        "audience_size": None if audience is None else audience[message.id],
    }


def _short(time: str | None) -> str:
    return "" if time is None else time.removesuffix("T00:00:00Z")


def _drawn(payload: dict[str, Any]) -> list[Any]:
    def cap(found: dict[str, float] | None) -> str:
        return f"{found['count']} in {found['days']:g} days" if found else "none"

    about = {name: payload[name] for name in ("name", "version", "n_candidates", "max_messages")}
    about |= {"member cap": cap(payload["caps"]["member"])}
    about |= {f"cap of topic {topic}": cap(found) for topic, found in payload["caps"]["topics"].items()}
    channels = [
        (each["name"], each["n_candidates"], cap(each["cap"]), each["quiet_hours"])
        for each in payload["channels"]
    ]
    messages = [
        (
            each["id"],
            each["type"],
            each["topic"],
            ", ".join(f"{name} {cost:g}" for name, cost in zip(each["channels"], each["costs"], strict=True)),
            " to ".join(_short(each[end]) for end in ("valid_from", "valid_until")).strip(),
            each["audience_size"] if each["audience_size"] is not None else each["audience"] or "everybody",
        )
        for each in payload["messages"]
    ]
    header = ("message", "type", "topic", "channel and cost", "valid", "audience")
    return [
        facts("Catalog", about),
        table("Channels", ("channel", "candidates", "cap", "quiet hours"), channels),
        table("Messages", header, messages),
    ]
