"""Answers put together from parts: the same message as the one that is built field by field."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider.decision.result import Decision, TraceEntry
from decider.logbook.schema import DecisionRecord, RunBudget, SetEntry
from decider.service.answers import decision_message
from decider.service.serialised import columns_response, decide_response
from decider.v1 import decision_service_pb2, run_pb2

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
NUMBER = st.floats(allow_nan=False)
INT64 = st.integers(0, 2**63 - 1)
ENTRY = st.builds(
    SetEntry,
    candidate=st.sampled_from(["m@email", "a@b@push", "x" * 190 + "@sms", "@", "plain"]),
    mean=NUMBER, sd=NUMBER, gain=NUMBER, propensity=st.none() | NUMBER, type=TEXT, topic=TEXT,
)  # fmt: skip
RECORD = st.builds(
    DecisionRecord,
    decision_id=TEXT, request_id=TEXT, request_digest=TEXT, ordinal=st.just(0),
    member_id=st.integers(-(2**63), 2**63 - 1) | TEXT.filter(bool),
    decision_time_micros=st.integers(946_684_800_000_000, 4_102_444_799_999_999),
    epoch=st.integers(-(2**63), 2**63 - 1), policy=TEXT, policy_version=TEXT, model_version=TEXT,
    snapshot_version=TEXT, catalog_version=TEXT, stratum=st.integers(0, 2), theta=NUMBER, tie_cut=st.just(0),
    messages=st.lists(ENTRY, max_size=8), propensity=st.none() | NUMBER,
    propensity_kind=st.sampled_from(["exact", "replayed", "deferred"]),
    propensity_draws=st.integers(0, 2**31 - 1), propensity_hits=st.integers(0, 2**31 - 1), history_sequence=INT64,
)  # fmt: skip
PLAIN = DecisionRecord(
    decision_id="d-0", request_id="d", request_digest="", ordinal=0, member_id=7,
    decision_time_micros=1_700_000_000_000_001, epoch=3, policy="p", policy_version="1", model_version="2",
    snapshot_version="3", catalog_version="4", stratum=2, theta=0.5, tie_cut=0, propensity=0.25,
    messages=[SetEntry(candidate="m@email", mean=1.0, sd=2.0, gain=-0.0, propensity=0.5)], propensity_kind="exact",
)  # fmt: skip


def check(decision: Decision, dry_run: bool = False) -> Any:
    got = decision_service_pb2.DecideResponse.FromString(decide_response(decision, dry_run)).decision
    assert got == decision_message(decision, dry_run)
    return got


@given(RECORD, st.booleans(), st.booleans())
def test_parts_make_the_whole(record: DecisionRecord, repeated: bool, dry_run: bool) -> None:
    check(Decision(record, repeated=repeated), dry_run)


@pytest.mark.parametrize("n_messages", [0, 1, 8])
def test_sets_of_every_size(n_messages: int) -> None:
    record = msgspec.structs.replace(PLAIN, messages=PLAIN.messages * n_messages)
    assert len(check(Decision(record)).messages) == n_messages


def test_answers_that_share_parts_differ_in_the_rest() -> None:
    other = msgspec.structs.replace(PLAIN, decision_id="e-0", theta=math.inf, propensity=None)
    assert check(Decision(PLAIN)).price == 0.5
    assert check(Decision(other)).price == math.inf


def test_traces_and_budgets_are_in_it() -> None:
    entry = TraceEntry("m@email", "m", "", "", "email", "eligible", 0, 1.0, 2.0, 3.0, None)
    assert len(check(Decision(PLAIN, trace=(entry,))).trace) == 1
    budget = RunBudget(channel="email", unit="messages", amount=3.0, price=0.5)
    assert len(check(Decision(msgspec.structs.replace(PLAIN, budgets=[budget]))).budgets) == 1


@given(st.integers(0, 2**31 - 1), INT64, TEXT, st.binary(max_size=300))
def test_a_table_is_the_same_in_an_answer(
    n_members: int, first_ordinal: int, resume_token: str, table: bytes
) -> None:
    chunk: Any = SimpleNamespace(n_members=n_members, first_ordinal=first_ordinal, resume_token=resume_token)
    columns = run_pb2.ResultColumns(
        arrow_ipc=table, member_count=n_members, first_ordinal=first_ordinal, resume_token=resume_token
    )
    for sent in (table, memoryview(table)):
        parsed = decision_service_pb2.BatchDecideResponse.FromString(columns_response(chunk, sent))
        assert parsed == decision_service_pb2.BatchDecideResponse(columns=columns)
