"""Answers in bytes: of Decide, most of which many have in common and are serialised once; of a batch, in columns.

Protobuf's fields may stand in any order, and a message is the concatenation of its parts: so the bytes of what many
decisions share (versions, names, the price) are kept, and what is a decision's own is put behind them.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any

from decider.decision.result import Decision, ResultChunk
from decider.logbook.schema import DecisionRecord, SetEntry
from decider.service.answers import (
    KIND_VALUES,
    STRATUM_VALUES,
    chosen_message,
    decision_message,
    member_id_message,
    time_message,
)
from decider.v1 import decision_pb2, decision_service_pb2, run_pb2

MAX_KEPT = 4_096
"""Parts that are kept, of each kind."""


def decide_response(decision: Decision, dry_run: bool) -> bytes:
    """The answer of Decide; parsed, it is the message with :func:`decider.service.answers.decision_message`."""
    record = decision.record
    if decision.trace or record.budgets:
        body: bytes = decision_message(decision, dry_run).SerializeToString()
        return _DECISION + _varint(len(body)) + body
    common = _common(
        record.stratum, record.theta, record.propensity_kind, record.propensity_draws, record.policy,
        record.policy_version, record.model_version, record.snapshot_version, record.catalog_version,
        record.epoch,
    )  # fmt: skip
    parts = [common, _own(record, decision.repeated, dry_run)]
    for entry in record.messages:
        parts += _chosen(entry)
    body = b"".join(parts)
    return _DECISION + _varint(len(body)) + body


def columns_response(chunk: ResultChunk, arrow_ipc: bytes | memoryview) -> bytes:
    """An answer of BatchDecide in columns; its table is copied once."""
    message = run_pb2.ResultColumns(
        member_count=chunk.n_members, first_ordinal=chunk.first_ordinal, resume_token=chunk.resume_token
    )
    rest: bytes = message.SerializeToString()
    table = _ARROW_IPC + _varint(len(arrow_ipc))
    return b"".join((_COLUMNS, _varint(len(table) + len(arrow_ipc) + len(rest)), rest, table, arrow_ipc))


@lru_cache(MAX_KEPT)
def _common(
    stratum: int,
    theta: float,
    kind: str,
    draws: int,
    policy: str,
    policy_version: str,
    model_version: str,
    snapshot_version: str,
    catalog_version: str,
    epoch: int,
) -> bytes:
    message = decision_pb2.Decision(
        stratum=STRATUM_VALUES[stratum],
        price=theta,
        propensity_kind=KIND_VALUES[kind],
        propensity_draws=draws,
        policy=policy,
        policy_version=policy_version,
        model_version=model_version,
        snapshot_version=snapshot_version,
        catalog_version=catalog_version,
        epoch=epoch,
    )
    serialised: bytes = message.SerializeToString()
    return serialised


def _own(record: DecisionRecord, repeated: bool, dry_run: bool) -> bytes:
    message = decision_pb2.Decision(
        decision_id="" if dry_run else record.decision_id,
        member_id=member_id_message(record.member_id),
        propensity=record.propensity,
        propensity_hits=record.propensity_hits,
        decision_time=time_message(record.decision_time_micros),
        already_decided=repeated,
        history_sequence=record.history_sequence,
    )
    serialised: bytes = message.SerializeToString()
    return serialised


def _chosen(entry: SetEntry) -> tuple[bytes, bytes]:
    """One message of the set: its length and names, and its numbers."""
    chance = entry.propensity
    if chance is None:
        return _named(entry.candidate, entry.type, entry.topic, 3), _THREE.pack(
            _MEAN, entry.mean, _SD, entry.sd, _GAIN, entry.gain
        )
    return _named(entry.candidate, entry.type, entry.topic, 4), _FOUR.pack(
        _MEAN, entry.mean, _SD, entry.sd, _GAIN, entry.gain, _CHANCE, chance
    )


@lru_cache(MAX_KEPT)
def _named(candidate: str, kind: str, topic: str, n_numbers: int) -> bytes:
    """All of a chosen message that stands before so many numbers."""
    entry = SetEntry(candidate=candidate, mean=0.0, sd=0.0, gain=0.0, type=kind, topic=topic)
    names: bytes = chosen_message(entry).SerializeToString()
    return _MESSAGES + _varint(len(names) + n_numbers * _NUMBER_SIZE) + names


def _varint(number: int) -> bytes:
    """Protobuf's encoding of a number that is not negative: seven bits a byte, the lowest first."""
    if number < 128:
        return _BYTES[number]
    digits = bytearray()
    while number >= 128:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _tag(message: Any, field: str, wire_type: int) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return number << 3 | wire_type


_BYTES = [bytes((number,)) for number in range(128)]
_FIXED_64, _LENGTH = 1, 2  # wire types: 8 bytes, or a length and so many bytes
_DECISION = _varint(_tag(decision_service_pb2.DecideResponse, "decision", _LENGTH))
_COLUMNS = _varint(_tag(decision_service_pb2.BatchDecideResponse, "columns", _LENGTH))
_ARROW_IPC = _varint(_tag(run_pb2.ResultColumns, "arrow_ipc", _LENGTH))
_MESSAGES = _varint(_tag(decision_pb2.Decision, "messages", _LENGTH))
_MEAN, _SD, _GAIN, _CHANCE = (
    _tag(decision_pb2.ChosenMessage, field, _FIXED_64)
    for field in ("expected_incrementality", "standard_deviation", "marginal_gain", "propensity")
)
# A tag below 128 is one byte, then comes a double, the lowest byte first.
_THREE, _FOUR = Struct("<BdBdBd"), Struct("<BdBdBdBd")
_NUMBER_SIZE = 9
