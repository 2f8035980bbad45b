"""Messages of the protocol as plain values."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from decider.cli.plain import model_of, plain
from decider.v1 import decision_pb2, member_pb2, model_pb2, run_pb2


def test_a_decision() -> None:
    decision = decision_pb2.Decision(
        decision_id="d-0",
        member_id=member_pb2.MemberId(text="007"),
        messages=[decision_pb2.ChosenMessage(candidate="a@email", marginal_gain=0.5)],
        stratum=decision_pb2.STRATUM_EXPLORE,
        propensity_kind=decision_pb2.PROPENSITY_KIND_DEFERRED,
        decision_time=Timestamp(seconds=1_767_603_600, nanos=250_000_000),
        trace=[
            decision_pb2.TraceEntry(
                candidate="a@email", eligibility=decision_pb2.ELIGIBILITY_ELIGIBLE, place=0
            ),
            decision_pb2.TraceEntry(candidate="b@sms", eligibility=decision_pb2.ELIGIBILITY_QUIET_HOURS),
        ],
    )
    found = plain(decision)
    assert found["member_id"] == "007"
    assert (found["stratum"], found["propensity_kind"]) == ("explore", "deferred")
    assert found["propensity"] is None
    assert found["decision_time"] == "2026-01-05T09:00:00.250000Z"
    assert found["messages"][0]["propensity"] is None
    assert found["messages"][0]["marginal_gain"] == 0.5
    first, second = found["trace"]
    # Place 0 is the first of the set; no place is None, not 0.
    assert (first["place"], first["eligibility"]) == (0, "eligible")
    assert (second["place"], second["eligibility"], second["value"]) == (None, "quiet_hours", None)


def test_absent_messages_are_none() -> None:
    found = plain(decision_pb2.Explanation(binding_cap=decision_pb2.BINDING_CAP_MEMBER_CAP))
    assert found["runner_up"] is None
    assert found["decision"] is None
    assert found["distance_to_price"] is None
    assert found["binding_cap"] == "member_cap"
    assert plain(decision_pb2.Decision())["member_id"] is None
    assert plain(decision_pb2.Decision(member_id=member_pb2.MemberId(number=-3)))["member_id"] == -3


def test_counts_are_a_mapping() -> None:
    counts = [run_pb2.NamedCount(name="email", count=3), run_pb2.NamedCount(name="sms", count=0)]
    found = plain(run_pb2.RunSummary(per_channel=counts, per_set_size=[5, 3]))
    assert found["per_channel"] == {"email": 3, "sms": 0}
    assert found["per_set_size"] == [5, 3]


def test_a_model() -> None:
    found = model_of(model_pb2.Model(name="m", posteriors=["a", "b"], training_json='{"seed": 3}'))
    assert found["trained"] == {"seed": 3}
    assert found["posteriors"] == ["a", "b"]
    assert model_of(model_pb2.Model())["trained"] == {}
