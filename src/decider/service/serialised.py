"""Answers in bytes: of Decide, most of which many have in common and are serialised once; of a batch, in columns.

Protobuf's fields may stand in any order, and a message is the concatenation of its parts: so the bytes of what many
decisions share (versions, names, the price) are kept, and what is a decision's own is put behind them.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from decider.decision.result import Decision, ResultChunk
from decider.logbook.schema import DecisionRecord, SetEntry
from decider.service.answers import (
    KIND_VALUES,
    STRATUM_VALUES,
    chosen_message,
    decision_message,
)
from decider.v1 import decision_pb2, decision_service_pb2, member_pb2, run_pb2

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
    """What is a decision's own, put down field by field: a third of the time that a message takes."""
    member = record.member_id
    if isinstance(member, int):
        member_id = _NUMBER + _varint(member & _ALL_BITS)
    else:
        text = member.encode()
        member_id = _TEXT + _varint(len(text)) + text
    seconds, rest = divmod(record.decision_time_micros, 1_000_000)
    time = _SECONDS + _varint(seconds) + _NANOS + _varint(rest * 1000)
    own = [_MEMBER_ID, _varint(len(member_id)), member_id, _TIME, _varint(len(time)), time]
    own += _HITS, _varint(record.propensity_hits), _SEQUENCE, _varint(record.history_sequence)
    if not dry_run:
        name = record.decision_id.encode()
        own += _DECISION_ID, _varint(len(name)), name
    if record.propensity is not None:
        own += _PROPENSITY, _DOUBLE.pack(record.propensity)
    if repeated:
        own += _REPEATED, b"\1"
    return b"".join(own)


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
_VARINT, _FIXED_64, _LENGTH = 0, 1, 2  # wire types: seven bits a byte; 8 bytes; a length and so many bytes
_ALL_BITS = (1 << 64) - 1
_DECISION = _varint(_tag(decision_service_pb2.DecideResponse, "decision", _LENGTH))
_COLUMNS = _varint(_tag(decision_service_pb2.BatchDecideResponse, "columns", _LENGTH))
_ARROW_IPC = _varint(_tag(run_pb2.ResultColumns, "arrow_ipc", _LENGTH))
_MESSAGES, _DECISION_ID, _MEMBER_ID, _TIME = (
    _varint(_tag(decision_pb2.Decision, field, _LENGTH))
    for field in ("messages", "decision_id", "member_id", "decision_time")
)
_HITS, _REPEATED, _SEQUENCE = (
    _varint(_tag(decision_pb2.Decision, field, _VARINT))
    for field in ("propensity_hits", "already_decided", "history_sequence")
)
_PROPENSITY = _varint(_tag(decision_pb2.Decision, "propensity", _FIXED_64))
_NUMBER, _TEXT = (
    _varint(_tag(member_pb2.MemberId, field, wire))
    for field, wire in (("number", _VARINT), ("text", _LENGTH))
)
_SECONDS, _NANOS = (_varint(_tag(Timestamp, field, _VARINT)) for field in ("seconds", "nanos"))
_MEAN, _SD, _GAIN, _CHANCE = (
    _tag(decision_pb2.ChosenMessage, field, _FIXED_64)
    for field in ("expected_incrementality", "standard_deviation", "marginal_gain", "propensity")
)
# A tag below 128 is one byte, then comes a double, the lowest byte first.
_THREE, _FOUR, _DOUBLE = Struct("<BdBdBd"), Struct("<BdBdBdBd"), Struct("<d")
_NUMBER_SIZE = 9
