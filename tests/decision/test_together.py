"""Requests decided together: each gets what it gets alone, and caps hold among them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from msgspec import structs

from decider.decision.request import MemberRequest
from decider.decision.together import Outcome
from decider.errors import Conflict, InvalidInput, NotFound
from decider.logbook.schema import DecisionRecord
from tests.decision.world import TIME, World

MINUTE = 60_000_000


def ask(member_id: int | str, request_id: str, **options: object) -> MemberRequest:
    return MemberRequest(
        member_id=member_id, request_id=request_id, **{"decision_time_micros": TIME, **options}
    )


EDGE = 1_767_225_600_000_000
"""2026-01-01: a message of the catalog ends here."""
TIMES = (TIME, TIME + 1, TIME + MINUTE // 2, EDGE - 1)


def mixed_requests(n: int) -> list[MemberRequest]:
    """Requests of every kind, no member twice."""
    policies = ("", "single", "greedy", "epsilon", "heuristic", "random")
    return [
        ask(
            100 + 7 * place,
            f"r{place}",
            policy=policies[place % 6],
            # Some at the edge of a minute, of quiet hours and of the validity of a message.
            decision_time_micros=TIMES[place // 6 % 4] + place % 3,
            channels=(None, None, ("push",), ("email", "push"))[place // 3 % 4],
            context={"plays": float(place % 9)} if place % 11 == 0 else {},
            trace=place % 5 == 0,
            epoch=3 if place % 7 == 0 else None,
        )
        for place in range(n)
    ]  # fmt: skip


def bits(record: DecisionRecord) -> bytes:
    """All of a record but how far the log had got."""
    return msgspec.msgpack.encode(structs.replace(record, history_sequence=0))


def test_each_gets_what_it_gets_alone(world: World) -> None:
    requests = mixed_requests(240)
    with world.engine("alone") as (engine, _):
        alone = [engine.decide(request) for request in requests]
    assert {len(decision.messages) for decision in alone} >= {0, 1, 2}
    assert any(m.propensity not in (None, 1.0) for decision in alone for m in decision.messages)
    for size in (2, 31, 240):
        with world.engine(f"together-{size}") as (engine, log):
            for start in range(0, len(requests), size):
                some = engine.decide_together(requests[start : start + size])
                for outcome, expected in zip(some, alone[start : start + size], strict=True):
                    decision = outcome.wait()
                    assert bits(decision.record) == bits(expected.record)
                    assert decision.trace == expected.trace
                    assert log.get_decision(decision.record.decision_id) == decision.record
            assert all(again.different == [] for again in engine.replay())


def test_a_fault_stays_with_its_request(world: World) -> None:
    good = [ask(100 + 7 * place, f"r{place}") for place in range(6)]
    bad = [
        (ask(5, "unknown"), NotFound, "member_id"),
        (ask("100", "text"), InvalidInput, "member_id must be an integer"),
        (ask(2**70, "large"), InvalidInput, "member_id must fit 64 bits"),
        (ask(107, "policy", policy="nobody"), InvalidInput, "policy must be one of"),
        (ask(107, "channel", channels=("fax",)), InvalidInput, "channels"),
        (ask(107, ""), InvalidInput, "request_id"),
        (ask(107, "context", context={"colour": 1.0}), InvalidInput, "context.colour"),
    ]
    mixed = [request for pair in zip((b for b, *_ in bad), [*good, good[0]], strict=True) for request in pair]
    with world.engine("faults") as (engine, log):
        outcomes = engine.decide_together(mixed)
        for outcome, (_, kind, text) in zip(outcomes[::2], bad, strict=True):
            assert outcome.decision is None
            with pytest.raises(kind, match=text):
                outcome.wait()
        decided = [outcome.wait() for outcome in outcomes[1::2]]
        assert [d.record.request_id for d in decided] == [r.request_id for r in [*good, good[0]]]
        assert decided[-1].repeated
        assert decided[-1].record == decided[0].record
        assert log.last_sequence == len(good)


def test_the_second_request_of_a_member_sees_what_the_first_one_sends(world: World) -> None:
    requests = [ask(100 + 7 * (turn % 5), f"r{turn}", policy="heuristic") for turn in range(60)]
    with world.engine("twice") as (engine, _):
        decided = [outcome.wait() for outcome in engine.decide_together(requests)]
        for member in range(5):
            channels = [m.channel for d in decided[member::5] for m in d.messages]
            assert 0 < len(channels) <= 4
            assert channels.count("email") <= 2
        assert all(again.different == [] for again in engine.replay())


def test_the_same_request_twice_is_one_decision(world: World) -> None:
    with world.engine("same-id") as (engine, log):
        first, again, other = engine.decide_together([ask(100, "r"), ask(100, "r"), ask(107, "r")])
        assert not first.wait().repeated
        assert again.wait().repeated
        assert again.wait().record == first.wait().record
        with pytest.raises(Conflict, match="request_id"):
            other.wait()
        assert log.last_sequence == 1


def test_caps_hold_when_several_threads_decide_many_at_once(world: World) -> None:
    members = [100 + 7 * place for place in range(30)]
    barrier = threading.Barrier(6)
    with world.engine("many-at-once") as (engine, _):

        def caller(number: int) -> list[Outcome]:
            barrier.wait()
            requests = [
                ask(member, f"{number}-{turn}-{member}", policy="heuristic")
                for turn in range(3)
                for member in members
            ]
            return engine.decide_together(requests)

        with ThreadPoolExecutor(6) as pool:
            outcomes = [outcome for part in pool.map(caller, range(6)) for outcome in part]
        decided = [outcome.wait() for outcome in outcomes]
        for member in members:
            channels = [m.channel for d in decided if d.record.member_id == member for m in d.messages]
            assert len(channels) <= 4
            assert channels.count("email") <= 2
        assert sum(len(d.messages) for d in decided) > 30
        assert all(again.different == [] for again in engine.replay())


def test_a_dry_run_among_others_leaves_no_trace(world: World) -> None:
    request = ask(100, "dry", policy="heuristic", dry_run=True)
    with world.engine("dry-among") as (engine, log):
        outcomes = engine.decide_together(
            [request, structs.replace(request, request_id="real", dry_run=False), request]
        )
        sets = [[m.candidate for m in outcome.wait().messages] for outcome in outcomes]
        assert sets[0]
        assert sets == [sets[0]] * 3
        assert log.last_sequence == 1
        assert engine.decide(structs.replace(request, dry_run=False)).repeated is False
