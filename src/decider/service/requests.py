"""From the wire to the decision room: what was sent becomes a request, or an error that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decider.decision.request import Budget, MemberRequest, RunRequest, Scalar
from decider.errors import InvalidInput, Violation
from decider.logbook.schema import EventRecord, EventType
from decider.service.ports import MemberIds
from decider.service.settings import MAX_MEMBERS_PER_ANSWER, MEMBERS_PER_ANSWER
from decider.v1 import budget_pb2, decision_service_pb2, event_pb2, member_pb2, run_pb2

MAX_MEMBERS_PER_REQUEST = 1_000_000
MAX_EVENTS_PER_REQUEST = 10_000
MAX_CONTEXT = 1_000
MAX_PAIR_FEATURES = 100_000
MAX_ID_LENGTH = 200
MIN_SECONDS, MAX_SECONDS = 946_684_800, 4_102_444_800
"""2000-01-01 and 2100-01-01, in seconds since the Unix epoch."""

_EVENT_TYPES = {event_pb2.EventType.Value(f"EVENT_TYPE_{kind.name}"): kind for kind in EventType}


@dataclass(frozen=True)
class BatchRequest:
    """A batch's header."""

    run: RunRequest
    whole_snapshot: bool
    result_format: int
    """Value of the enum ResultFormat, never the unspecified one."""
    max_members_per_answer: int


def member_request(request: decision_service_pb2.DecideRequest) -> MemberRequest:
    """The request of Decide.

    Raises
    ------
    InvalidInput
        Naming every field that breaks a rule of the wire; the engine has rules of its own.
    """
    found: list[Violation] = []
    made = MemberRequest(
        member_id=_member_id(request.member_id, "member_id", found),
        request_id=_id(request.request_id, "request_id", found),
        decision_time_micros=_micros(request, "decision_time", "", found),
        policy=request.policy,
        epoch=request.epoch if request.HasField("epoch") else None,
        channels=_channels(request, found),
        context=_context(request.context, found) if request.context else {},
        pair_features=_pair_features(request.pair_features, found) if request.pair_features else {},
        dry_run=request.dry_run,
        trace=request.trace,
    )
    _refuse(found)
    return made


def batch_request(header: decision_service_pb2.BatchHeader) -> BatchRequest:
    """The header of BatchDecide.

    Raises
    ------
    InvalidInput
        Naming every field that breaks a rule of the wire.
    """
    found: list[Violation] = []
    limit = header.WhichOneof("limit")
    if limit == "volume" and header.volume < 0:
        found.append(Violation("header.volume", f"must be >= 0, got {header.volume}"))
    if limit == "price" and not (math.isfinite(header.price) and header.price >= 0.0):
        found.append(Violation("header.price", f"must be finite and >= 0, got {header.price}"))
    budgets = _budgets(header.budgets, found) if limit == "budgets" else ()
    if not 0 <= header.max_members_per_answer <= MAX_MEMBERS_PER_ANSWER:
        rule = f"must be in [0, {MAX_MEMBERS_PER_ANSWER}]"
        found.append(
            Violation("header.max_members_per_answer", f"{rule}, got {header.max_members_per_answer}")
        )
    if header.result_format not in run_pb2.ResultFormat.values():
        found.append(
            Violation("header.result_format", f"must be a value of ResultFormat, got {header.result_format}")
        )
    run = RunRequest(
        request_id=_id(header.request_id, "header.request_id", found),
        decision_time_micros=_micros(header, "decision_time", "header.", found),
        policy=header.policy,
        epoch=header.epoch if header.HasField("epoch") else None,
        channels=_channels(header, found, "header."),
        volume=header.volume if limit == "volume" else None,
        price=header.price if limit == "price" else None,
        budgets=budgets,
        defer_propensities=header.defer_propensities,
        dry_run=header.dry_run,
        resume_token=header.resume_token,
    )
    _refuse(found)
    return BatchRequest(
        run,
        header.whole_snapshot,
        header.result_format or run_pb2.RESULT_FORMAT_ARROW,
        header.max_members_per_answer or MEMBERS_PER_ANSWER,
    )


def member_rows(rows: member_pb2.MemberRows) -> MemberIds:
    """Members of a batch in plain form: int64 [n], or n texts.

    Raises
    ------
    InvalidInput
        When there are none, too many, or of both kinds.
    """
    ids = rows.member_ids
    check_member_count(len(ids), "rows.member_ids")
    kind = ids[0].WhichOneof("id")
    for place, member_id in enumerate(ids):
        given = member_id.WhichOneof("id")
        if given is None or given != kind:
            rule = (
                f"must hold a {kind or 'number or a text'}, as the first one does" if kind else "is required"
            )
            raise InvalidInput([Violation(f"rows.member_ids[{place}]", f"{rule}, got {given or 'nothing'}")])
    if kind == "number":
        return np.fromiter((member_id.number for member_id in ids), np.int64, len(ids))
    return [member_id.text for member_id in ids]


def check_member_count(n_members: int, field: str) -> None:
    """Refuse a request with no members or too many."""
    if not 0 < n_members <= MAX_MEMBERS_PER_REQUEST:
        rule = f"must hold 1 to {MAX_MEMBERS_PER_REQUEST} members"
        raise InvalidInput([Violation(field, f"{rule}, got {n_members}")])


def event_records(events: Sequence[event_pb2.Event]) -> list[EventRecord]:
    """The events of a request.

    Raises
    ------
    InvalidInput
        Naming every field that breaks a rule of the wire.
    """
    if not 0 < len(events) <= MAX_EVENTS_PER_REQUEST:
        rule = f"must hold 1 to {MAX_EVENTS_PER_REQUEST} events"
        raise InvalidInput([Violation("events", f"{rule}, got {len(events)}")])
    found: list[Violation] = []
    records = [_event(event, f"events[{place}].", found) for place, event in enumerate(events)]
    _refuse(found)
    return records


def _event(event: event_pb2.Event, at: str, found: list[Violation]) -> EventRecord:
    kind = _EVENT_TYPES.get(event.type)
    if kind is None:
        names = ", ".join(EventType.__members__)
        found.append(Violation(f"{at}type", f"must be one of {names}, got {event.type}"))
    has_member = event.HasField("member_id")
    if not event.decision_id and not (has_member and event.candidate):
        rule = "is required unless member_id and candidate are given, got neither"
        found.append(Violation(f"{at}decision_id", rule))
    value = event.value if event.HasField("value") else None
    if value is not None and not math.isfinite(value):
        found.append(Violation(f"{at}value", f"must be finite, got {value}"))
    return EventRecord(
        event_id=_id(event.event_id, f"{at}event_id", found),
        type=kind or EventType.SENT,
        event_time_micros=_micros(event, "event_time", at, found),
        decision_id=event.decision_id or None,
        member_id=_member_id(event.member_id, f"{at}member_id", found) if has_member else None,
        candidate=event.candidate or None,
        value=value,
    )


def _member_id(message: member_pb2.MemberId, field: str, found: list[Violation]) -> int | str:
    match message.WhichOneof("id"):
        case "number":
            return message.number
        case "text" if message.text:
            return message.text
        case "text":
            found.append(Violation(field, "must not be empty, got ''"))
        case _:
            found.append(Violation(field, "is required: a number or a text, got nothing"))
    return 0


def _id(value: str, field: str, found: list[Violation]) -> str:
    if not 0 < len(value) <= MAX_ID_LENGTH:
        found.append(Violation(field, f"must have 1 to {MAX_ID_LENGTH} characters, got {len(value)}"))
    return value


def _micros(message: Any, name: str, at: str, found: list[Violation]) -> int:
    """Microseconds since the Unix epoch of the timestamp in field `name`."""
    field = f"{at}{name}"
    if not message.HasField(name):
        found.append(Violation(field, "is required, got nothing"))
        return 0
    time = getattr(message, name)
    if not 0 <= time.nanos < 1_000_000_000:
        found.append(Violation(f"{field}.nanos", f"must be in [0, 999999999], got {time.nanos}"))
    if not MIN_SECONDS <= time.seconds < MAX_SECONDS:
        rule = "must be in [2000-01-01, 2100-01-01) UTC"
        found.append(Violation(field, f"{rule}, got {time.seconds} seconds since 1970-01-01"))
    return int(time.seconds * 1_000_000 + time.nanos // 1000)


def _channels(message: Any, found: list[Violation], at: str = "") -> tuple[str, ...] | None:
    if not message.HasField("channel_filter"):
        return None
    names = tuple(message.channel_filter.channels)
    field = f"{at}channel_filter.channels"
    if not 0 < len(names) <= 32:
        found.append(Violation(field, f"must hold 1 to 32 channels, got {len(names)}"))
    elif len(set(names)) < len(names):
        found.append(Violation(field, f"must name each channel once, got {list(names)}"))
    return names


def _budgets(message: budget_pb2.Budgets, found: list[Violation]) -> tuple[Budget, ...]:
    if not message.budgets:
        found.append(Violation("header.budgets.budgets", "must hold at least one budget, got none"))
    budgets = []
    for place, given in enumerate(message.budgets):
        field, amount = f"header.budgets.budgets[{place}]", given.WhichOneof("amount")
        if amount is None:
            found.append(Violation(field, "must give messages or cost, got neither"))
            continue
        value = getattr(given, amount)
        if not (math.isfinite(value) and value >= 0):
            found.append(Violation(f"{field}.{amount}", f"must be finite and >= 0, got {value}"))
        budgets.append(Budget(channel=given.channel, **{amount: value}))
    return tuple(budgets)


def _context(
    overrides: Sequence[decision_service_pb2.ContextOverride], found: list[Violation]
) -> Mapping[str, Scalar]:
    if len(overrides) > MAX_CONTEXT:
        found.append(Violation("context", f"must hold at most {MAX_CONTEXT} overrides, got {len(overrides)}"))
    values: dict[str, Scalar] = {}
    for place, override in enumerate(overrides):
        field, kind = f"context[{place}]", override.WhichOneof("value")
        if override.column in values:
            found.append(Violation(f"{field}.column", f"must be named once, got {override.column!r} again"))
        if kind is None:
            found.append(Violation(f"{field}.value", f"is required for {override.column!r}, got nothing"))
            continue
        value: Scalar = getattr(override, kind)
        if isinstance(value, float) and not math.isfinite(value):
            found.append(Violation(f"{field}.number", f"must be finite, got {value} for {override.column!r}"))
        values[override.column] = value
    return values


def _pair_features(
    features: Sequence[decision_service_pb2.PairFeature], found: list[Violation]
) -> Mapping[str, Mapping[str, float]]:
    if len(features) > MAX_PAIR_FEATURES:
        rule = f"must hold at most {MAX_PAIR_FEATURES} values"
        found.append(Violation("pair_features", f"{rule}, got {len(features)}"))
    values: dict[str, dict[str, float]] = {}
    for place, feature in enumerate(features):
        of_candidate = values.setdefault(feature.candidate, {})
        field, name = f"pair_features[{place}]", f"{feature.feature!r} of {feature.candidate!r}"
        if feature.feature in of_candidate:
            found.append(Violation(f"{field}.feature", f"must be given once, got {name} again"))
        if not math.isfinite(feature.value):
            found.append(Violation(f"{field}.value", f"must be finite, got {feature.value} for {name}"))
        of_candidate[feature.feature] = feature.value
    return values


def _refuse(found: list[Violation]) -> None:
    if found:
        raise InvalidInput(found)
