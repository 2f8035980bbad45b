"""Parts that change while the engine works: what was sent stays known, and the past stays explainable."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from decider.catalog import parse_catalog
from decider.clock import ManualClock
from decider.decision.engine import Engine
from decider.decision.parts import Parts, bind_parts
from decider.decision.request import MemberRequest, RunRequest
from decider.errors import NotReady
from decider.logbook import Logbook
from tests.decision.world import CATALOG, TIME, World, build_world

DAY = 86_400_000_000
RENAMED = CATALOG.replace('id = "arrival"', 'id = "arrival-again"')


def ask(member_id: int, request_id: str, time_micros: int = TIME, *, trace: bool = False) -> MemberRequest:
    return MemberRequest(
        member_id=member_id,
        request_id=request_id,
        decision_time_micros=time_micros,
        policy="heuristic",
        trace=trace,
    )


def other_catalog(world: World, text: str) -> Parts:
    parts = world.parts
    return bind_parts(parse_catalog(text), parts.snapshot, parts.policies, parts.models)


def test_a_topic_is_remembered_when_its_message_is_gone(world: World) -> None:
    renamed = other_catalog(world, RENAMED)
    by_version = {parts.catalog.version: parts for parts in (world.parts, renamed)}
    with Logbook.open(world.directory / "renamed") as log:
        for restarted in (False, True):
            first = renamed if restarted else world.parts
            engine = Engine(
                first,
                log,
                ManualClock(TIME),
                1,
                lambda made, _: by_version[made.catalog_version],
                lambda: renamed,
            )
            if not restarted:
                told = engine.decide(ask(100, "told", trace=True))
                assert any(message.topic == "title:south" for message in told.messages)
                engine.reload()
            later = engine.decide(ask(100, f"later-{restarted}", TIME + DAY, trace=True))
            reasons = {entry.candidate: entry.reason for entry in later.trace or ()}
            assert reasons["arrival-again@push"] == "suppressed"
            for decision in (told, later):
                assert engine.explain(decision.record.decision_id).reproduced
            engine.close()


def test_what_is_older_than_every_window_can_still_be_explained(world: World) -> None:
    with Logbook.open(world.directory / "old") as log:
        engine = Engine(world.parts, log, ManualClock(TIME), 1, lambda _, parts: parts, lambda: world.parts)
        decisions = [
            engine.decide(ask(100 + 7 * (turn % 5), f"old-{turn}", TIME + turn)) for turn in range(40)
        ]
        engine.close()
        assert any(not decision.messages for decision in decisions)
        later = ManualClock(TIME + 400 * DAY)
        engine = Engine(world.parts, log, later, 1, lambda _, parts: parts, lambda: world.parts)
        assert all(engine.explain(decision.record.decision_id).reproduced for decision in decisions)
        engine.decide(ask(100, "new", TIME + 400 * DAY))
        replayed = list(engine.replay())
        assert sum(batch.n_decisions for batch in replayed) == 41
        assert [i for batch in replayed for i in batch.different] == []
        engine.close()


def test_another_snapshot_waits_for_the_run_that_is_under_way(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    smaller = build_world(tmp_path_factory.mktemp("smaller"), 500)
    with Logbook.open(world.directory / "waits") as log:
        engine = Engine(world.parts, log, ManualClock(TIME), 1, lambda _, parts: parts, lambda: smaller.parts)
        run = engine.start_run(RunRequest(request_id="run", decision_time_micros=TIME), whole_snapshot=True)
        with pytest.raises(NotReady, match="a run is under way"):
            engine.reload()
        assert engine.parts is world.parts
        assert sum(chunk.n_members for chunk in run.finish()) == 3_000
        assert engine.reload() is smaller.parts
        abandoned = engine.start_run(
            RunRequest(request_id="b", decision_time_micros=TIME), whole_snapshot=True
        )
        abandoned.close()
        engine.reload()
        # Sends of the run count for members of the new snapshot, whose rows are others.
        sent = engine.decide(replace(ask(100, "after"), policy="thompson"))
        assert sent.record.snapshot_version == smaller.parts.snapshot.version
        engine.close()


def test_the_same_snapshot_may_be_reloaded_during_a_run(world: World) -> None:
    with Logbook.open(world.directory / "during") as log:
        engine = Engine(world.parts, log, ManualClock(TIME), 2, lambda _, parts: parts, lambda: world.parts)
        request = RunRequest(request_id="run", decision_time_micros=TIME, policy="heuristic")
        run = engine.start_run(request, whole_snapshot=True)
        engine.reload()
        chunk = next(iter(run.finish()))
        assert chunk.n_members == 3_000
        row = int(np.argmax((chunk.sets >= 0).sum(axis=0)))
        n_sent = int((chunk.sets[:, row] >= 0).sum())
        more = engine.decide(ask(int(chunk.member_ids[row]), "more", TIME + 1))
        assert n_sent + len(more.messages) <= 4
        engine.close()
