from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from decider.decision import sizes
from decider.decision.engine import Engine
from decider.decision.replay import replay_segment
from decider.decision.request import MemberRequest, RunRequest
from decider.decision.result import ResultChunk
from decider.decision.segments import Segments
from decider.errors import Conflict, InvalidInput
from tests.decision.world import CATALOG, TIME, World, build_world


def asked(request_id: str = "run", **options: object) -> RunRequest:
    return RunRequest(request_id=request_id, decision_time_micros=TIME, **options)


def whole(engine: Engine, request: RunRequest) -> tuple[list[ResultChunk], object]:
    run = engine.start_run(request, whole_snapshot=True)
    return list(run.finish()), run


def all_sets(chunks: list[ResultChunk]) -> np.ndarray:
    return np.concatenate([chunk.sets for chunk in chunks], axis=1)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "CHUNK", 256)
    monkeypatch.setattr(sizes, "SEGMENT", 1000)


@pytest.mark.parametrize("policy", ["thompson", "single", "greedy", "heuristic", "epsilon"])
@pytest.mark.parametrize("share", [0.35, 0.6])
def test_the_volume_is_met_to_the_send(world: World, policy: str, share: float) -> None:
    volume = int(share * world.parts.snapshot.n_members)
    with world.engine(f"volume-{policy}-{share}") as (engine, _):
        free_run = engine.start_run(asked("free", policy=policy, dry_run=True), whole_snapshot=True)
        free = list(free_run.finish())
        chunks, run = whole(engine, asked(policy=policy, volume=volume))
        summary = run.summary
        assert summary.volume == min(volume, free_run.summary.volume)
        assert summary.volume == (all_sets(chunks) >= 0).sum()
        gains = np.concatenate([c.gains for c in free], axis=1)
        priced = np.concatenate([(c.stratum == 2) for c in free])
        if policy != "epsilon" and summary.volume < free_run.summary.volume:
            budget = volume - summary.volume_explore
            rates = np.sort(gains[:, priced][np.isfinite(gains[:, priced])])[::-1]
            assert np.float32(summary.price) == rates[budget]


def test_the_price_of_unequal_costs_keeps_the_volume(tmp_path_factory: pytest.TempPathFactory) -> None:
    catalog = CATALOG.replace('name = "push"\ncost = 1.0', 'name = "push"\ncost = 0.4')
    world = build_world(tmp_path_factory.mktemp("costs"), 1500, catalog=catalog)
    with world.engine() as (engine, _):
        _, run = whole(engine, asked(policy="thompson", volume=500))
        assert 480 <= run.summary.volume <= 500


def test_a_volume_smaller_than_the_explored_sends_is_refused(world: World) -> None:
    with world.engine("small") as (engine, _):
        run = engine.start_run(asked(volume=3), whole_snapshot=True)
        with pytest.raises(InvalidInput, match=r"volume must leave room for the .* sends that are drawn"):
            list(run.finish())


def test_members_are_checked_before_any_is_decided(world: World) -> None:
    with world.engine("members") as (engine, log):
        run = engine.start_run(asked(), whole_snapshot=False)
        for ids, text in (
            (np.array([], np.int64), "member_ids must not be empty"),
            (np.array([100, 3, 107, 4]), r"member_ids\[1\] must name a member of the snapshot, got 3;"),
            (np.array([100, 107, 100]), r"member_ids\[2\] must come only once"),
            (["100"], "id"),
        ):
            with pytest.raises(InvalidInput, match=text):
                run.add(ids)
        run.add(np.array([100, 107]))
        with pytest.raises(InvalidInput, match=r"member_ids\[0\] must come only once"):
            run.add(np.array([107]))
        assert sum(chunk.n_members for chunk in run.finish()) == 2
        assert log.run(run.run_id).finished
        empty = engine.start_run(asked("empty"), whole_snapshot=False)
        with pytest.raises(InvalidInput, match="members must not be empty"):
            list(empty.finish())


def test_a_broken_run_goes_on_where_its_log_ends(world: World) -> None:
    with world.engine("undisturbed") as (engine, _):
        expected, run = whole(engine, asked(volume=1200))
        summary = run.summary
    with world.engine("broken") as (engine, _):
        run = engine.start_run(asked(volume=1200), whole_snapshot=True)
        chunks = run.finish()
        first = next(chunks)
        chunks.close()
        run.close()
    with world.engine("broken") as (engine, log):
        again = engine.start_run(asked(volume=1200, resume_token=first.resume_token), whole_snapshot=True)
        rest = list(again.finish())
        assert rest[0].first_ordinal == first.n_members
        got = all_sets([first, *rest])
        assert got.tobytes() == all_sets(expected).tobytes()
        assert again.summary == summary
        repeated = engine.start_run(asked(volume=1200), whole_snapshot=True)
        assert all_sets(list(repeated.finish())).tobytes() == got.tobytes()
        assert sum(info.n_rows for info in log.segments(run.run_id)) == world.parts.snapshot.n_members
        with pytest.raises(Conflict):
            engine.start_run(asked(volume=1201), whole_snapshot=True)
        forged = f"{run.run_id}:{10**9}"
        for request in (
            asked("other", resume_token=first.resume_token),
            asked(volume=1200, resume_token=forged),
            asked(volume=1200, resume_token=f"{run.run_id}:999"),
        ):
            with pytest.raises(InvalidInput, match="resume_token must be one that this request_id received"):
                engine.start_run(request, whole_snapshot=True)


def test_a_run_goes_on_only_with_the_members_it_had(world: World) -> None:
    ids = world.parts.snapshot.ids(np.arange(1500)).to_numpy()
    with world.engine("others") as (engine, _):
        run = engine.start_run(asked("others"), whole_snapshot=False)
        assert len(run.add(ids)) == 1
        run.close()
        again = engine.start_run(asked("others"), whole_snapshot=False)
        with pytest.raises(InvalidInput, match="must come in the order in which run"):
            again.add(ids[::-1].copy())


def test_what_a_run_sent_counts_for_the_next_decision(world: World) -> None:
    with world.engine("counts") as (engine, _):
        chunks, _ = whole(engine, asked("counts", policy="heuristic"))
        counts = (all_sets(chunks) >= 0).sum(axis=0)
        row = int(np.argmax(counts))
        member = (
            int(chunks[0].member_ids[row])
            if row < 1000
            else int(world.parts.snapshot.ids(np.array([row]))[0])
        )
        before = counts[row]
        sent = 0
        for turn in range(4):
            request = MemberRequest(
                member_id=member,
                request_id=f"counts-{turn}",
                decision_time_micros=TIME + 1,
                policy="heuristic",
            )
            sent += len(engine.decide(request).messages)
        assert before + sent <= 4
    with world.engine("counts") as (engine, _):
        request = MemberRequest(
            member_id=member, request_id="after", decision_time_micros=TIME + 2, policy="heuristic"
        )
        assert before + sent + len(engine.decide(request).messages) <= 4


def test_a_decision_made_during_the_run_makes_it_decide_again(world: World) -> None:
    with world.engine("meanwhile") as (engine, _):
        run = engine.start_run(asked("meanwhile", policy="heuristic"), whole_snapshot=True)
        segments = Segments(run._desk, run._asking, run.record, run._price, {})
        segment = segments.begin(np.arange(1000), 0)
        for turn in range(3):
            request = MemberRequest(
                member_id=100, request_id=f"first-{turn}", decision_time_micros=TIME, policy="heuristic"
            )
            engine.decide(request)
        chunk, ticket = segments.enter(segment)
        ticket.wait()
        assert chunk.history_sequence[0] == 3
        assert (chunk.history_sequence[1:] == 0).all()
        (again,) = (d for d in [engine.explain(f"{run.run_id}-0")])
        assert again.reproduced


def test_logged_decisions_of_a_run_are_found_and_reproduced(world: World) -> None:
    with world.engine("explain") as (engine, log):
        chunks, run = whole(engine, asked("explain", volume=1500))
        for ordinal in range(0, 3000, 97):
            explanation = engine.explain(f"{run.run_id}-{ordinal}")
            assert explanation.reproduced
            record = explanation.decision.record
            chunk = chunks[ordinal // 1000]
            chosen = [k for k in chunk.sets[:, ordinal % 1000] if k >= 0]
            assert [m.candidate for m in record.messages] == [
                log.run(run.run_id).candidates[k] for k in chosen
            ]
            assert record.theta == run.summary.price


def test_all_of_a_log_is_made_again_bit_for_bit(world: World) -> None:
    with world.engine("replay") as (engine, log):
        for turn in range(50):
            member = 100 + 7 * turn
            engine.decide(MemberRequest(member_id=member, request_id=f"a-{turn}", decision_time_micros=TIME))
        whole(engine, asked("first", volume=1500))
        whole(engine, asked("second", policy="single"))
        for turn in range(50):
            member = 100 + 7 * turn
            engine.decide(
                MemberRequest(member_id=member, request_id=f"b-{turn}", decision_time_micros=TIME + 1)
            )
        replayed = list(engine.replay())
        assert sum(batch.n_decisions for batch in replayed) == 6100
        assert [i for batch in replayed for i in batch.different] == []
        # A log that says otherwise is noticed.
        run = log.run(request_id="second")
        frame = log.read_segment(log.segments(run.run_id)[0])
        changed = frame.with_columns(gain0=pl.when(pl.col("ordinal") == 5).then(0.5).otherwise("gain0"))
        changed = changed.cast({"gain0": pl.Float32})
        sends = engine._state.exposure.sends(world.parts.catalog)
        (batch,) = replay_segment(world.parts, run, changed, sends)
        assert batch.different == [f"{run.run_id}-5"]


def test_deferred_propensities_are_null_and_can_be_made_up_for(world: World) -> None:
    with world.engine("deferred") as (engine, _):
        chunks, run = whole(engine, asked("deferred", policy="thompson", defer_propensities=True))
        exploit = chunks[0].stratum == 2
        assert np.isnan(chunks[0].propensity[exploit]).all()
        assert np.isfinite(chunks[0].propensity[~exploit]).all()
        assert engine.explain(f"{run.run_id}-{int(np.flatnonzero(exploit)[0])}").reproduced
