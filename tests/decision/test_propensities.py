"""Propensities of Thompson's sets: by formula where nothing binds messages to each other, else by replays."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from decider.decision import few
from decider.decision import propensities as room
from decider.decision.check import channel_mask
from decider.decision.request import MemberRequest, RunRequest
from decider.decision.stages import Decided, Question
from decider.decision.steps import decide
from decider_core.explore import EXPLOIT
from tests.decision.world import TIME, World

MEMBERS = [100 + 7 * row for row in range(300)]


def question(world: World, n_draws: int = 40, **changes: object) -> Question:
    """Three hundred members under Thompson, with what binds messages made so that no formula tells, or not."""
    bound = world.parts.policy("thompson")
    bound = replace(bound, policy=msgspec.structs.replace(bound.policy, propensity_draws=n_draws))
    with world.engine("propensities") as (engine, _):
        rows = np.arange(300)
        seen = engine._state.exposure.observe(rows, world.parts.catalog)
    asked = Question(
        parts=world.parts, bound=bound, rows=rows, time_micros=TIME, epoch=1,
        channel_allowed=channel_mask(world.parts.catalog, None), theta=np.float32(0.02), tie_cut=np.uint64(0),
        sends=seen.sends, until_sequence=seen.until_sequence,
    )  # fmt: skip
    return replace(asked, **changes)


def by_formula(decided: Decided) -> np.ndarray:
    return (decided.explored.stratum == EXPLOIT) & (decided.hits < 0) & ~np.isnan(decided.propensity)


def test_some_have_a_formula_and_the_others_are_replayed(world: World) -> None:
    exploit = (found := decide(question(world))).explored.stratum == EXPLOIT
    told = by_formula(found)
    assert told.sum() > 20
    replayed = exploit & ~told
    assert (found.hits[replayed] >= 0).all()
    assert not np.isnan(found.propensity).any()
    without = decide(question(world, n_draws=0))
    np.testing.assert_array_equal(without.propensity[told], found.propensity[told])
    assert np.isnan(without.propensity[replayed]).all()


def test_formula_and_replays_agree(world: World) -> None:
    """Within 5 standard errors for every member who has both; fixed seed: false alarm 2e-4."""
    n_draws = 4_000
    exact, replayed = decide(question(world, n_draws)), decide(question(world, n_draws, by_formula=False))
    told = by_formula(exact)
    np.testing.assert_array_equal(exact.sets, replayed.sets)
    p, hits = exact.propensity[told], replayed.hits[told]
    assert (hits >= 0).all()
    assert (np.abs(hits / n_draws - p) <= 5 * np.sqrt(p * (1 - p) / n_draws) + 1 / n_draws).all()


def test_what_replays_gave_is_replayed_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log from before there was a formula: its decisions come out with the propensities that it holds."""
    with world.engine("before") as (engine, log):
        with monkeypatch.context() as patch:
            patch.setattr(room, "set_choice", lambda sets, *_: np.full(sets.shape[1], np.nan))
            patch.setattr(few, "MOST", 0)  # single decisions step by step, so that they go this way too
            request = RunRequest(request_id="old", decision_time_micros=TIME, policy="thompson")
            run = engine.start_run(request, whole_snapshot=False)
            run.add(MEMBERS)
            chunks = list(run.finish())
            for place in range(30):
                one = MemberRequest(
                    member_id=MEMBERS[-1] + 7 * (place + 1), request_id=f"one-{place}", decision_time_micros=TIME,
                    policy="thompson",
                )  # fmt: skip
                decision = engine.decide(one)
                assert engine.explain(decision.record.decision_id).reproduced
        logged = pl.concat([log.read_segment(info) for info in log.segments(run.run_id)])
        exploit = logged.filter(pl.col("stratum") == EXPLOIT)
        assert (exploit["propensity_hits"] >= 0).all()
        assert sum(chunk.n_members for chunk in chunks) == len(MEMBERS)
        replayed = list(engine.replay())
        assert sum(batch.n_decisions for batch in replayed) == len(MEMBERS) + 30
        assert [i for batch in replayed for i in batch.different] == []
    # Now some of them would have a formula.
    told = by_formula(decide(question(world)))
    assert told.any()
