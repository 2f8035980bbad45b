"""What every request must be, before anything is looked up for it; and the digest that a retry must equal."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.request import Budget, MemberRequest, RunRequest, Scalar
from decider.errors import InvalidInput, NotFound, UnknownName, Violation
from decider.members import Snapshot

MIN_TIME_MICROS = 946_684_800_000_000
"""2000-01-01."""
MAX_TIME_MICROS = 4_102_444_800_000_000
"""2100-01-01."""
MAX_ID_LENGTH = 200


def check_request(request: MemberRequest | RunRequest) -> None:
    """Refuse what no parts could make right.

    Raises
    ------
    InvalidInput
        Naming every field that breaks a rule.
    """
    found = []
    if not 0 < len(request.request_id) <= MAX_ID_LENGTH:
        rule = f"must have 1 to {MAX_ID_LENGTH} characters"
        found.append(Violation("request_id", f"{rule}, got {len(request.request_id)}"))
    if not MIN_TIME_MICROS <= request.decision_time_micros < MAX_TIME_MICROS:
        got = f"{request.decision_time_micros} microseconds since 1970"
        found.append(Violation("decision_time", f"must lie from 2000 up to 2100, got {got}"))
    if request.epoch is not None and not -(2**63) <= request.epoch < 2**63:
        found.append(Violation("epoch", f"must fit 64 bits, got {request.epoch}"))
    if request.channels is not None and not request.channels:
        found.append(Violation("channels", "must name at least one channel when given, got none"))
    if isinstance(request, MemberRequest):
        if isinstance(request.member_id, int) and not -(2**63) <= request.member_id < 2**63:
            found.append(Violation("member_id", f"must fit 64 bits, got {request.member_id}"))
    else:
        found += _run_violations(request)
    if found:
        raise InvalidInput(found)


def _run_violations(request: RunRequest) -> list[Violation]:
    found = []
    if request.volume is not None and request.price is not None:
        found.append(Violation("price", f"must not be given together with volume, got {request.price}"))
    if request.volume is not None and not 0 <= request.volume < 2**53:
        found.append(Violation("volume", f"must be in [0, 2^53), got {request.volume}"))
    if request.price is not None and not 0.0 <= request.price < float("inf"):
        found.append(Violation("price", f"must be finite and >= 0, got {request.price}"))
    return found + list(_budget_violations(request))


def _budget_violations(request: RunRequest) -> Iterator[Violation]:
    budgets = request.budgets
    for name in ("volume", "price"):
        if budgets and getattr(request, name) is not None:
            yield Violation("budgets", f"must not be given together with {name}, got {len(budgets)}")
    for place, budget in enumerate(budgets):
        field = f"budgets[{place}]"
        if (budget.messages is None) == (budget.cost is None):
            yield Violation(field, f"must give either messages or cost, got {_given(budget)}")
        if budget.messages is not None and not 0 <= budget.messages < 2**53:
            yield Violation(f"{field}.messages", f"must be in [0, 2^53), got {budget.messages}")
        if budget.cost is not None and not (math.isfinite(budget.cost) and budget.cost >= 0.0):
            yield Violation(f"{field}.cost", f"must be finite and >= 0, got {budget.cost}")
        if not budget.channel and budget.messages is not None:
            rule = "must name a channel: messages on all channels together are a volume"
            yield Violation(f"{field}.channel", f"{rule}, got {budget.channel!r}")
        if not budget.channel and len(budgets) > 1:
            rule = "must name a channel where there are other budgets: a message is paid for by one of them"
            yield Violation(f"{field}.channel", f"{rule}, got {budget.channel!r}")
        if budget.channel and any(budget.channel == other.channel for other in budgets[:place]):
            yield Violation(f"{field}.channel", f"must be named once, got {budget.channel!r} again")


def _given(budget: Budget) -> str:
    return "neither" if budget.messages is None else "both"


class _MemberBody(msgspec.Struct):
    """What a decision for one member depends on, its fields in the order of their names."""

    channels: tuple[str, ...] | None
    context: Mapping[str, Scalar]
    decision_time_micros: int
    dry_run: bool
    epoch: int | None
    member_id: int | str
    pair_features: Mapping[str, Mapping[str, float]]
    policy: str
    request_id: str
    whole_snapshot: bool = False
    """Of runs, whose digests have it."""

    @classmethod
    def of(cls, request: MemberRequest) -> _MemberBody:
        return cls(
            request.channels, request.context, request.decision_time_micros, request.dry_run, request.epoch,
            request.member_id, request.pair_features, request.policy, request.request_id,
        )  # fmt: skip


_encode = msgspec.json.Encoder(order="deterministic").encode


def digest_of(request: MemberRequest | RunRequest, *, whole_snapshot: bool = False) -> str:
    """SHA-256 of the request's body: all that a decision depends on."""
    if isinstance(request, MemberRequest):
        return hashlib.sha256(_encode(_MemberBody.of(request))).hexdigest()
    body = msgspec.to_builtins(request) | {"whole_snapshot": whole_snapshot}
    for name in ("trace", "resume_token"):
        body.pop(name, None)
    # Requests from before there were budgets keep their digest, and budgets say the same in any order.
    budgets = body.pop("budgets", ())
    if budgets:
        body["budgets"] = sorted(budgets, key=lambda budget: budget["channel"])
    return hashlib.sha256(_encode(body)).hexdigest()


def channel_mask(catalog: Catalog, channels: tuple[str, ...] | None) -> NDArray[np.uint8]:
    """One for each channel of the catalog that the caller allows, uint8 [n_channels].

    Raises
    ------
    UnknownName
        For a channel that the catalog does not have.
    """
    if channels is None:
        return _all_channels(len(catalog.channel_names))
    rule = f"must be one of {', '.join(catalog.channel_names)}"
    unknown = [
        Violation(f"channels[{place}]", f"{rule}, got {name!r}")
        for place, name in enumerate(channels)
        if name not in catalog.channel_names
    ]
    if unknown:
        raise UnknownName(unknown)
    return np.array([name in channels for name in catalog.channel_names], np.uint8)


@lru_cache
def _all_channels(n_channels: int) -> NDArray[np.uint8]:
    every = np.ones(n_channels, np.uint8)
    every.flags.writeable = False
    return every


def row_of(snapshot: Snapshot, member_id: int | str, field: str = "member_id") -> int:
    """The member's row.

    Raises
    ------
    InvalidInput
        When the id is a number and the snapshot has text, or the other way round.
    NotFound
        For an unknown member.
    """
    is_number = snapshot.id_type == "int64"
    if isinstance(member_id, bool) or isinstance(member_id, int) != is_number:
        raise InvalidInput.of(field, f"must be {'an integer' if is_number else 'text'}", member_id)
    ids = np.array([member_id], np.int64) if isinstance(member_id, int) else [member_id]
    row = int(snapshot.rows_of(ids)[0])
    if row < 0:
        raise NotFound(field, "member", member_id)
    return row


def rows_of(snapshot: Snapshot, member_ids: Sequence[int | str]) -> list[int]:
    """The members' rows, looked up all at once; -1 where :func:`row_of` says what is wrong with an id."""
    rows = [-1] * len(member_ids)
    if snapshot.id_type == "int64":
        numbers = {i: one for i, one in enumerate(member_ids) if type(one) is int and -(2**63) <= one < 2**63}
        places, ids = list(numbers), np.array(list(numbers.values()), np.int64)
        found = snapshot.rows_of(ids)
    else:
        texts = {i: one for i, one in enumerate(member_ids) if isinstance(one, str)}
        places = list(texts)
        found = snapshot.rows_of(list(texts.values()))
    for place, row in zip(places, found.tolist(), strict=True):
        rows[place] = row
    return rows
