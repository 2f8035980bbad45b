"""A volume by deciding ahead of the price and cutting: the bits of deciding again, and of going on after a kill."""

from __future__ import annotations

import numpy as np
import pytest

from decider.decision import finding, sizes
from decider.decision.request import RunRequest
from decider.decision.run import Run
from decider.logbook import Logbook
from decider.logbook.schema import EventRecord, EventType
from tests.decision.world import TIME, World

POLICIES = ["thompson", "greedy", "heuristic"]
ARRAYS = ("stratum", "sets", "mean", "sd", "gains", "propensity", "propensity_hits", "expected")


def asked(request_id: str = "ahead", **options: object) -> RunRequest:
    return RunRequest(
        request_id=request_id, decision_time_micros=TIME, volume=1200, defer_propensities=True, **options
    )


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "CHUNK", 128)
    monkeypatch.setattr(sizes, "SEGMENT", 500)


def files(log: Logbook, run: Run) -> list[tuple[str, str]]:
    return [(info.file, info.xxh3_128) for info in log.segments(run.run_id)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_cut_set_is_the_one_that_is_decided_at_the_price(
    world: World, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for by_cut in (True, False):
        with monkeypatch.context() as patch, world.engine(f"cut-{policy}-{by_cut}") as (engine, log):
            if not by_cut:
                patch.setattr(finding, "can_be_cut", lambda _: False)
            run = engine.start_run(asked(policy=policy), whole_snapshot=True)
            chunks = list(run.finish())
            found.append((chunks, run.summary, files(log, run)))
    (ahead, summary, sealed), (again, summary_again, sealed_again) = found
    assert repr(summary) == repr(summary_again)  # not a number equals itself there
    assert summary.volume == 1200
    for one, two in zip(ahead, again, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert sealed == sealed_again


def test_a_run_that_goes_on_leaves_the_same_files(world: World) -> None:
    with world.engine("whole-ahead") as (engine, log):
        run = engine.start_run(asked(), whole_snapshot=True)
        list(run.finish())
        expected = files(log, run)
    with world.engine("broken-ahead") as (engine, _):
        broken = engine.start_run(asked(), whole_snapshot=True)
        chunks = broken.finish()
        next(chunks)
        chunks.close()
        broken.close()
    with world.engine("broken-ahead") as (engine, log):
        list(engine.start_run(asked(), whole_snapshot=True).finish())
        assert files(log, broken) == expected
    left = [path.name for path in (world.directory / "broken-ahead").iterdir()]
    assert sorted(name for name in left if not name.startswith("log.sqlite")) == ["lock", "segments"]


def test_a_run_that_is_dropped_frees_what_it_had_sealed(world: World) -> None:
    with world.engine("dropped") as (engine, log):
        dropped = engine.start_run(asked(), whole_snapshot=True)
        chunks = dropped.finish()
        next(chunks)
        chunks.close()
        dropped.close()
        on_disk = list((world.directory / "dropped" / "segments").glob("*.parquet"))
        # The one that was answered, and the one that was entered meanwhile.
        assert len(on_disk) == len(files(log, dropped)) == 2
        list(engine.start_run(asked(), whole_snapshot=True).finish())
        assert sum(info.n_rows for info in log.segments(dropped.run_id)) == world.parts.snapshot.n_members


def test_who_was_sent_something_since_the_run_began_is_decided_again(world: World) -> None:
    with world.engine("meanwhile") as (engine, log):
        run = engine.start_run(asked(policy="greedy"), whole_snapshot=True)
        member_id = int(world.parts.snapshot.ids(np.array([7])).item())
        gone = [
            EventRecord(
                event_id=f"gone-{candidate.id}",
                type=EventType.UNSUBSCRIBED,
                event_time_micros=TIME - 1,
                member_id=member_id,
                candidate=candidate.id,
            )
            for candidate in world.parts.catalog.candidates
        ]
        engine.record_events(gone)
        chunks = list(run.finish())
        assert chunks[0].rows[7] == 7
        assert (chunks[0].sets[:, 7] < 0).all()
        seen = np.concatenate([chunk.history_sequence for chunk in chunks])
        assert seen[7] > seen[6] == seen[8] == seen[-1]
        assert log.run(run.run_id).history_sequence == seen[6]
