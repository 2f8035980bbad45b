"""One decision for one member, in process or by a server."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, NamedTuple

from decider.cli.options import configuration, micros_of
from decider.cli.plain import plain
from decider.decision.request import MemberRequest
from decider.errors import InvalidInput
from decider.service.answers import decision_message
from decider.service.client import DeciderClient
from decider.service.compose import compose


class OneAsked(NamedTuple):
    """What was asked on the command line."""

    member: str
    id_type: str
    request_id: str
    time: datetime.datetime
    policy: str
    epoch: int | None
    channels: tuple[str, ...] | None
    dry_run: bool
    trace: bool


def decide_one_here(config: Path | None, asked: OneAsked) -> dict[str, Any]:
    """Decide in process; the logbook must not be in use by a server."""
    with compose(configuration(config)) as composition:
        request = MemberRequest(
            member_id=typed_id(asked.member, composition.engine.parts.snapshot.id_type),
            request_id=asked.request_id,
            decision_time_micros=micros_of(asked.time),
            policy=asked.policy,
            epoch=asked.epoch,
            channels=asked.channels,
            dry_run=asked.dry_run,
            trace=asked.trace,
        )
        return plain(decision_message(composition.engine.decide(request), asked.dry_run))


def decide_one_there(server: str, asked: OneAsked) -> dict[str, Any]:
    """Ask a server."""
    with DeciderClient(server) as client:
        answer = client.decide(
            typed_id(asked.member, asked.id_type),
            request_id=asked.request_id,
            decision_time=asked.time,
            policy=asked.policy,
            epoch=asked.epoch,
            channels=asked.channels,
            dry_run=asked.dry_run,
            trace=asked.trace,
        )
        return plain(answer)


def typed_id(text: str, id_type: str) -> int | str:
    """Read a member's id as a number or as text.

    Parameters
    ----------
    text
        As it was written.
    id_type
        ``int64``, ``string``, or ``auto``: a number where it is written as one writes it, so not ``007``.
    """
    if id_type not in ("auto", "int64", "string"):
        raise InvalidInput.of("id_type", "must be auto, int64 or string", id_type)
    if id_type == "string":
        return text
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is not None and str(number) == text and -(2**63) <= number < 2**63:
        return number
    if id_type == "int64":
        raise InvalidInput.of("member", "must be an integer of 64 bits, as the snapshot has them", text)
    return text
