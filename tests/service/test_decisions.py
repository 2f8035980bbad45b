"""Decide and ExplainDecision over a real socket."""

from __future__ import annotations

from datetime import timedelta

import pytest

from decider.errors import Conflict, NotFound
from decider.service.client import DeciderClient
from decider.v1 import decision_pb2

from .conftest import NOON
from .fake import Engine


def test_a_decision_carries_all_that_the_log_has(client: DeciderClient, engine: Engine) -> None:
    at = NOON + timedelta(microseconds=123_456)
    decision = client.decide(102, request_id="r1", decision_time=at, policy="bold", epoch=7, trace=True)
    record = engine.records["r1"]
    assert decision.decision_id == record.decision_id
    assert decision.member_id.number == 102
    assert decision.epoch == 7
    assert decision.policy == "bold"
    assert decision.policy_version == record.policy_version
    assert decision.snapshot_version == record.snapshot_version
    assert decision.catalog_version == record.catalog_version
    assert decision.decision_time.ToMicroseconds() == record.decision_time_micros
    assert decision.decision_time.nanos == 123_456_000
    assert decision.stratum == decision_pb2.STRATUM_EXPLOIT
    assert decision.propensity == 1.0
    assert decision.propensity_kind == decision_pb2.PROPENSITY_KIND_EXACT
    assert not decision.already_decided
    (message,) = decision.messages
    assert (message.candidate, message.type, message.channel) == ("mens@email", "top_picks", "email")
    assert (message.expected_incrementality, message.standard_deviation) == (0.5, 0.25)
    assert (message.propensity, message.marginal_gain) == (1.0, 0.5)
    kept, excluded = decision.trace
    assert (kept.eligibility, kept.place) == (decision_pb2.ELIGIBILITY_ELIGIBLE, 0)
    assert excluded.eligibility == decision_pb2.ELIGIBILITY_CONSENT
    assert not excluded.HasField("place")
    assert not excluded.HasField("value")


def test_a_retry_returns_the_same_decision_and_says_so(client: DeciderClient) -> None:
    first = client.decide(102, request_id="r1", decision_time=NOON)
    again = client.decide(102, request_id="r1", decision_time=NOON)
    assert again.already_decided
    again.already_decided = False
    assert again == first


def test_the_same_request_id_with_another_body_is_refused(client: DeciderClient) -> None:
    client.decide(102, request_id="r1", decision_time=NOON)
    with pytest.raises(Conflict, match="request_id 'r1'"):
        client.decide(104, request_id="r1", decision_time=NOON)


def test_a_dry_run_has_no_id_and_no_place_in_the_log(client: DeciderClient, engine: Engine) -> None:
    decision = client.decide(102, request_id="r1", decision_time=NOON, dry_run=True)
    assert decision.decision_id == ""
    assert len(decision.messages) == 1
    assert engine.records == {}


def test_a_channel_filter_reaches_the_engine(client: DeciderClient) -> None:
    assert not client.decide(102, request_id="r1", decision_time=NOON, channels=["push"]).messages


def test_an_explanation_says_what_bound(client: DeciderClient) -> None:
    decision = client.decide(102, request_id="r1", decision_time=NOON)
    explanation = client.explain(decision.decision_id)
    assert explanation.decision == decision
    assert explanation.reproduced
    assert explanation.binding_cap == decision_pb2.BINDING_CAP_MEMBER_CAP
    assert explanation.runner_up.candidate == "mens@push"
    assert explanation.distance_to_price == -0.5
    assert [entry.candidate for entry in explanation.trace] == ["mens@email", "mens@push"]


def test_an_unknown_decision_is_not_found(client: DeciderClient) -> None:
    with pytest.raises(NotFound, match="decision_id names no known decision, got 'nothing-0'"):
        client.explain("nothing-0")
