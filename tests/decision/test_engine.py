from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from decider.decision.request import MemberRequest
from decider.errors import Conflict, InvalidInput, NotFound
from decider.logbook.schema import EventRecord, EventType
from tests.decision.world import CATALOG, TIME, World, build_world

DAY = 86_400_000_000


def ask(member_id: int | str = 100, request_id: str = "r", **options: object) -> MemberRequest:
    return MemberRequest(
        member_id=member_id, request_id=request_id, **{"decision_time_micros": TIME, **options}
    )


def test_a_decision_is_in_the_log_before_it_is_answered(world: World) -> None:
    with world.engine("durable") as (engine, log):
        decision = engine.decide(ask(request_id="durable"))
        assert log.get_decision(decision.record.decision_id) == decision.record
        assert decision.record.snapshot_version == world.parts.snapshot.version
        assert decision.record.catalog_version == world.parts.catalog.version


def test_a_retry_gets_the_same_decision_and_another_body_is_refused(world: World) -> None:
    with world.engine("retry") as (engine, _):
        first = engine.decide(ask(request_id="retry"))
        again = engine.decide(ask(request_id="retry"))
        assert again.repeated
        assert not first.repeated
        assert again.record == first.record
        assert again.messages == first.messages
        for other in (
            ask(107, "retry"),
            ask(request_id="retry", policy="greedy"),
            ask(request_id="retry", epoch=3),
        ):
            with pytest.raises(Conflict, match="request_id"):
                engine.decide(other)


def test_a_retry_survives_a_restart(world: World) -> None:
    with world.engine("restart") as (engine, _):
        first = engine.decide(ask(request_id="restart"))
    with world.engine("restart") as (engine, _):
        assert engine.decide(ask(request_id="restart")).record == first.record


def test_a_dry_run_leaves_no_trace(world: World) -> None:
    with world.engine("dry") as (engine, log):
        engine.decide(ask(request_id="dry", dry_run=True))
        assert log.last_sequence == 0
        assert not engine.decide(ask(request_id="dry")).repeated


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (ask(5), NotFound, "member_id names no known member, got 5"),
        (ask("100"), InvalidInput, "member_id must be an integer"),
        (ask(request_id=""), InvalidInput, "request_id must have 1 to 200 characters"),
        (ask(decision_time_micros=0), InvalidInput, "decision_time must lie from 2000 up to 2100"),
        (ask(policy="nobody"), InvalidInput, "policy must be one of"),
        (ask(channels=("fax",)), InvalidInput, r"channels\[0\] must be one of email, push, got 'fax'"),
        (ask(channels=()), InvalidInput, "channels must name at least one"),
        (ask(context={"plays": float("nan")}), InvalidInput, "context.plays must be a finite number"),
        (ask(context={"plays": 1e300}), InvalidInput, "context.plays must be a finite number"),
        (ask(context={"colour": 1.0}), InvalidInput, "context.colour must name a feature or an attribute"),
        (ask(context={"watched_1": "yes"}), InvalidInput, "context.watched_1 must be of type Boolean"),
        (ask(pair_features={"picks@email": {"a": 1.0}}), InvalidInput, "must be a pair feature of the model"),
        (ask(pair_features={"nothing": {"a": 1.0}}), InvalidInput, "must name a candidate"),
        (ask(epoch=2**70), InvalidInput, "epoch must fit 64 bits"),
    ],
)
def test_bad_requests_are_refused_by_field_and_leave_nothing(
    world: World, request_: MemberRequest, error: type[Exception], text: str
) -> None:
    with world.engine("bad") as (engine, log):
        with pytest.raises(error, match=text):
            engine.decide(request_)
        assert log.last_sequence == 0


def test_context_reaches_both_rules_and_features(world: World) -> None:
    with world.engine("context") as (engine, _):

        def trace(**context: object) -> dict[str, object]:
            request = ask(request_id="context", policy="greedy", dry_run=True, trace=True, context=context)
            decided = engine.decide(request).trace
            assert decided is not None
            return {entry.candidate: entry for entry in decided}

        out = trace(watched_1=False)["season@push"]
        assert out.reason == "audience"
        into = trace(watched_1=True, watched_2=False)["season@push"]
        assert into.reason in ("eligible", "quiet_hours")
        assert trace(plays=0.0)["picks@push"].mean != trace(plays=9.0)["picks@push"].mean


def test_every_exclusion_has_its_reason(world: World) -> None:
    with world.engine("reasons") as (engine, _):
        seen: set[str] = set()
        for place in range(250):
            decision = engine.decide(
                ask(100 + 7 * place, f"reasons-{place}", trace=True, channels=("email",))
            )
            assert decision.trace is not None
            by_id = {entry.candidate: entry.reason for entry in decision.trace}
            assert by_id["gone@email"] == "not_live"
            assert by_id["mystery@push"] in ("no_posterior", "channel_filter")
            assert by_id["picks@push"] == "channel_filter"
            seen |= set(by_id.values())
        assert {"audience", "consent", "eligible", "holdout"} <= seen


def sent(decision: object) -> int:
    return len(decision.messages)  # type: ignore[attr-defined]


def test_caps_hold_over_calls_and_restarts(world: World) -> None:
    n_email = n_all = 0
    for turn in range(12):
        with world.engine("caps") as (engine, _):
            decision = engine.decide(
                ask(100, f"caps-{turn}", policy="heuristic", decision_time_micros=TIME + turn)
            )
            n_email += sum(message.channel == "email" for message in decision.messages)
            n_all += sent(decision)
    assert 0 < n_email <= 2
    assert 0 < n_all <= 4


def test_caps_hold_under_eight_clients_at_once(world: World) -> None:
    ids = [100 + 7 * place for place in range(40)]
    barrier = threading.Barrier(8)
    with world.engine("race") as (engine, log):

        def client(number: int) -> list[tuple[int, list[str]]]:
            barrier.wait()
            return [
                (
                    i,
                    [
                        m.channel
                        for m in engine.decide(ask(i, f"race-{number}-{i}", policy="heuristic")).messages
                    ],
                )
                for i in ids
            ]

        with ThreadPoolExecutor(8) as pool:
            answers = [pair for part in pool.map(client, range(8)) for pair in part]
        for member_id in ids:
            channels = [channel for i, chosen in answers if i == member_id for channel in chosen]
            assert len(channels) <= 4
            assert channels.count("email") <= 2
        assert sum(len(chosen) for _, chosen in answers) > 40
        for frame in log.decision_frames():
            for decision_id in frame["decision_id"].to_list():
                assert engine.explain(decision_id).reproduced


def test_the_same_request_from_eight_clients_is_one_decision(world: World) -> None:
    with world.engine("same") as (engine, log):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: engine.decide(ask(100, "same")).record, range(64)))
        assert all(answer == answers[0] for answer in answers)
        assert sum(frame.height for frame in log.decision_frames()) == 1


def test_an_opt_out_silences_its_channel_for_later_decisions(world: World) -> None:
    mailable = [100 + 7 * row for row in np.flatnonzero(world.parts.consent & np.uint32(1))[:200].tolist()]
    with world.engine("opt-out") as (engine, _):
        member = next(
            i for i in mailable
            if any(m.channel == "email" for m in engine.decide(ask(i, f"o{i}", policy="heuristic")).messages)
        )  # fmt: skip
        logged = engine.decide(ask(member, f"o{member}", policy="heuristic"))
        mail = next(m for m in logged.messages if m.channel == "email")
        event = EventRecord(
            event_id="e1",
            type=EventType.UNSUBSCRIBED,
            event_time_micros=TIME + 5,
            decision_id=logged.record.decision_id,
            candidate=mail.candidate,
        )
        assert engine.record_events([event])[:2] == (1, 0)
        assert engine.record_events([event])[:2] == (0, 1)
        later = engine.decide(
            ask(member, "later", decision_time_micros=TIME + 30 * DAY, trace=True, policy="heuristic")
        )
        assert later.trace is not None
        by_id = {entry.candidate: entry.reason for entry in later.trace}
        assert by_id["picks@email"] == "consent"
        assert engine.explain(logged.record.decision_id).reproduced
    with world.engine("opt-out") as (engine, _):
        again = engine.decide(
            ask(member, "again", decision_time_micros=TIME + 31 * DAY, trace=True, policy="heuristic")
        )
        assert {e.candidate: e.reason for e in again.trace or ()}["picks@email"] == "consent"


def test_events_of_unknown_decisions_are_refused(world: World) -> None:
    with world.engine("events") as (engine, log):
        event = EventRecord(
            event_id="x", type=EventType.OPENED, event_time_micros=TIME, decision_id="0" * 24 + "-0"
        )
        with pytest.raises(InvalidInput, match=r"events\[0\].decision_id must be a logged decision"):
            engine.record_events([event])
        assert log.last_sequence == 0


def test_a_send_from_outside_counts_towards_the_caps(world: World) -> None:
    with world.engine("outside") as (engine, _):
        events = [
            EventRecord(
                event_id=f"s{i}", type=EventType.SENT, event_time_micros=TIME - i,
                member_id=100, candidate="arrival@push",
            )
            for i in range(4)
        ]  # fmt: skip
        engine.record_events(events)
        engine.record_events(events)
        trace = engine.decide(ask(100, "outside", trace=True)).trace or ()
        assert {entry.reason for entry in trace} <= {"member_cap", "audience", "consent", "not_live",
                                                     "quiet_hours", "suppressed", "no_posterior"}  # fmt: skip
        assert any(entry.reason == "member_cap" for entry in trace)


def test_text_ids_work_everywhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = build_world(tmp_path_factory.mktemp("texts"), 50, text_ids=True)
    with texts.engine() as (engine, _):
        decision = engine.decide(ask("member-107", "text"))
        assert decision.record.member_id == "member-107"
        assert engine.explain(decision.record.decision_id).reproduced
        with pytest.raises(InvalidInput, match="member_id must be text"):
            engine.decide(ask(107, "number"))
        with pytest.raises(NotFound):
            engine.decide(ask("member-108", "unknown"))


def test_a_policy_that_cannot_keep_its_floor_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    policies = """
    [[policy]]
    name = "p"
    kind = "random"
    explore_counts = [0.5, 0.4999999, 0.0000001]
    propensity_floor = 1e-3
    """
    with pytest.raises(InvalidInput, match="propensity_floor must not exceed"):
        build_world(tmp_path_factory.mktemp("floor"), 5, policies=policies)


def test_a_wrong_rule_names_message_expression_and_column(tmp_path_factory: pytest.TempPathFactory) -> None:
    catalog = CATALOG.replace("watched_1 AND NOT watched_2", "watched_one")
    with pytest.raises(InvalidInput, match=r"(?s)season.*watched_one"):
        build_world(tmp_path_factory.mktemp("rule"), 5, catalog=catalog)
