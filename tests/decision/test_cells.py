"""Experiments in decisions: each member's cell decides, on every path, and replay makes the same decision again."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from decider.decision.cells import bind_experiments, with_holdouts
from decider.decision.engine import Engine
from decider.decision.parts import Parts, rebind
from decider.decision.policy import Policy, policy_set
from decider.decision.request import Budget, MemberRequest, RunRequest
from decider.decision.run import Run
from decider.errors import InvalidInput
from decider.experiments import Experiment
from decider.experiments.spec import Cell
from tests.decision.world import TIME, World, build_world, model

N = 1_500
NOW = datetime.datetime.fromtimestamp(TIME / 1e6, datetime.UTC)

FEWER = Experiment(
    name="fewer",
    salt="one",
    start=NOW - datetime.timedelta(days=1),
    end=NOW + datetime.timedelta(days=30),
    control="today",
    holdout=0.1,
    cell=[
        Cell(name="today", policy="thompson", share=0.4),
        Cell(name="one", policy="single", share=0.3),
        Cell(name="rules", policy="heuristic", share=0.3),
    ],
)


def with_experiment(world: World, experiment: Experiment) -> World:
    policies = with_holdouts(world.parts.policies, [experiment])
    parts = rebind(world.parts, policies, {"uplift": model()})
    return replace(world, parts=bind_experiments(parts, [experiment]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return with_experiment(build_world(tmp_path_factory.mktemp("cells"), N), FEWER)


def request(member: int, name: str = "fewer", **more: object) -> MemberRequest:
    fields: dict[str, object] = {"request_id": f"{name}-{member}", "decision_time_micros": TIME}
    return MemberRequest(member_id=member, policy=name, **(fields | more))  # type: ignore[arg-type]


def run_of(engine: Engine, name: str = "fewer", request_id: str = "bulk", **more: Any) -> Run:
    run = engine.start_run(
        RunRequest(request_id=request_id, decision_time_micros=TIME, policy=name, **more), whole_snapshot=True
    )
    for _ in run.finish():
        pass
    return run


def test_each_member_gets_what_the_policy_of_the_cell_gives(world: World) -> None:
    ids = world.parts.snapshot.ids(np.arange(200)).to_list()
    codes = FEWER.assign(world.parts.snapshot.keys[:200])
    with world.engine("each") as (engine, _):
        for member, code in zip(ids, codes.tolist(), strict=True):
            found = engine.decide(request(member, dry_run=True)).record
            cell = FEWER.cell_names[code]
            assert (found.experiment, found.experiment_version) == ("fewer", FEWER.version)
            assert (found.cell, found.evaluation) == (cell, True)
            policy = FEWER.cell_policies[code] or "fewer/holdout"
            alone = engine.decide(request(member, policy, request_id=found.request_id, dry_run=True)).record
            assert alone.cell == ""
            blank = {"experiment": "", "experiment_version": "", "cell": "", "evaluation": False,
                     "request_digest": alone.request_digest}  # fmt: skip
            # As bytes, since rules give no mean and NaN differs from itself.
            same = msgspec.msgpack.encode(msgspec.structs.replace(found, **blank))
            assert same == msgspec.msgpack.encode(alone)
            if code == 0:
                assert (found.messages, found.stratum, found.propensity) == ([], 0, 1.0)


def test_a_run_and_single_decisions_and_replay_agree(world: World) -> None:
    ids = world.parts.snapshot.ids(np.arange(N)).to_list()
    with world.engine("run") as (engine, log):
        run = run_of(engine)
        (frame,) = log.decision_frames()
        assert frame.height == N
        names = pl.Series(FEWER.cell_names).gather(FEWER.assign(world.parts.snapshot.keys).astype(np.uint32))
        assert frame["cell"].to_list() == names.to_list()
        assert frame["evaluation"].all()
        by_cell = dict(frame.group_by("cell").agg(pl.col("policy").unique()).iter_rows())
        assert by_cell == {
            "holdout": ["fewer/holdout"],
            "today": ["thompson"],
            "one": ["single"],
            "rules": ["heuristic"],
        }
        assert frame.filter(cell="holdout")["candidates"].list.len().sum() == 0
        assert frame.filter(cell="one")["candidates"].list.len().max() == 1
        assert run.summary.n_members == N
        assert (
            sum(engine.unsent(run.run_id).values())
            == frame.filter(pl.col("candidates").list.len() == 0).height
        )
        assert [(each.name, each.holdout) for each in engine.policies_of(run.run_id)][:2] == [
            ("fewer/holdout", 1.0),
            ("thompson", world.parts.policies.get("thompson").holdout),
        ]
        replayed = list(engine.replay())
        assert sum(each.n_decisions for each in replayed) == N
        assert [name for each in replayed for name in each.different] == []
        logged = [log.get_decision(name) for name in frame["decision_id"][:60]]
        for record in logged:
            assert engine.explain(record.decision_id).reproduced
    with world.engine("single") as (engine, _):
        for member, there in zip(ids[:60], logged, strict=True):
            here = engine.decide(request(member)).record
            same = (
                "cell",
                "policy",
                "policy_version",
                "stratum",
                "theta",
                "propensity",
                "experiment_version",
            )
            assert [getattr(here, name) for name in same] == [getattr(there, name) for name in same]
            assert [e.candidate for e in here.messages] == [e.candidate for e in there.messages]
            numbers = [[(e.mean, e.sd, e.gain) for e in each.messages] for each in (here, there)]
            np.testing.assert_array_equal(*numbers)
        assert [name for each in engine.replay() for name in each.different] == []


def test_it_is_the_same_in_any_batch(world: World) -> None:
    ids = world.parts.snapshot.ids(np.arange(N)).to_numpy()
    frames = []
    for name, cuts in (("whole", [ids]), ("parts", np.split(ids, [1, 8, 700]))):
        with world.engine(name, threads=1) as (engine, log):
            run = engine.start_run(
                RunRequest(request_id=name, decision_time_micros=TIME, policy="fewer"), whole_snapshot=False
            )
            for part in cuts:
                run.add(part)
            for _ in run.finish():
                pass
            frames.append(pl.concat(log.decision_frames()).drop("decision_id", "sequence"))
    assert frames[0].equals(frames[1])


def test_a_broken_run_goes_on_only_under_the_same_policies(world: World) -> None:
    with world.engine("again") as (engine, log):
        run_of(engine)
        run_of(engine)
        assert sum(info.n_rows for info in log.segments()) == N
    changed = [
        msgspec.structs.replace(each, seed=each.seed + 1) if each.name == "single" else each
        for each in world.parts.policies.policies.values()
        if "/" not in each.name
    ]
    policies = replace_policies(world, changed)
    refused = pytest.raises(InvalidInput, match="began under other policies of its cells")
    with replace(world, parts=policies).engine("again") as (engine, _), refused:
        run_of(engine)


def replace_policies(world: World, policies: list[Policy]) -> Parts:
    bound = rebind(world.parts, with_holdouts(policy_set(policies), [FEWER]), {"uplift": model()})
    return bind_experiments(bound, [FEWER])


def test_a_price_holds_for_all_cells(world: World) -> None:
    with world.engine("price") as (engine, log):
        run_of(engine, price=0.03)
        (frame,) = log.decision_frames()
        assert set(frame["theta"].to_list()) == {float(np.float32(0.03))}


def test_budgets_are_refused(world: World) -> None:
    said = "budgets must come with a policy, and not an experiment, whose cells would share them, got 'fewer'"
    with world.engine("budgets") as (engine, log):
        with pytest.raises(InvalidInput, match=said):
            run_of(engine, budgets=(Budget(channel="push", messages=900),))
        assert log.runs() == []


def test_each_cell_has_its_part_of_a_volume(world: World) -> None:
    volume = 900
    with world.engine("volume") as (engine, log):
        run = run_of(engine, volume=volume)
        (frame,) = log.decision_frames()
        sent = frame.group_by("cell").agg(pl.col("candidates").list.len().sum(), pl.len().alias("n"))
        n_messaged = frame.filter(pl.col("cell") != "holdout").height
        for cell, n_sent, n in sent.iter_rows():
            assert n_sent == (0 if cell == "holdout" else volume * n // n_messaged)
        assert frame.filter(pl.col("cell") != "holdout")["theta"].n_unique() == 3
        assert run.summary.volume == int(sent["candidates"].sum())
        assert [name for each in engine.replay() for name in each.different] == []
        again = run_of(engine, volume=volume)
        assert again.record.cells == run.record.cells
        assert again.summary.per_message == run.summary.per_message
    with world.engine("volume-one-thread", threads=1) as (engine, log):
        ids = world.parts.snapshot.ids(np.arange(N)).to_numpy()
        asked = RunRequest(request_id="bulk", decision_time_micros=TIME, policy="fewer", volume=volume)
        parts = engine.start_run(asked, whole_snapshot=False)
        for part in np.split(ids, [7, 800]):
            parts.add(part)
        for _ in parts.finish():
            pass
        assert pl.concat(log.decision_frames()).equals(frame)


def test_outside_its_time_it_is_refused_or_left_to_another_policy(world: World) -> None:
    early = TIME - 2 * 86_400_000_000
    member = int(world.parts.snapshot.ids(np.arange(1))[0])
    refused = pytest.raises(InvalidInput, match="must name an experiment that runs at the decision time")
    with world.engine("early") as (engine, _), refused:
        engine.decide(request(member, decision_time_micros=early))
    left = with_experiment(build_world_of(world), msgspec.structs.replace(FEWER, otherwise="heuristic"))
    with left.engine("otherwise") as (engine, _):
        found = engine.decide(request(member, decision_time_micros=early)).record
        assert (found.policy, found.experiment, found.cell) == ("heuristic", "", "")


def build_world_of(world: World) -> World:
    plain = [each for each in world.parts.policies.policies.values() if "/" not in each.name]
    return replace(world, parts=rebind(world.parts, policy_set(plain), {"uplift": model()}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "greedy"}, "experiment.name must not be a policy's name, got 'greedy'"),
        ({"otherwise": "nothing"}, r"experiment\['fewer'\].otherwise must be one of"),
        ({"cell": [Cell(name="today", policy="none", share=1.0)]}, r"cell\['today'\].policy must be one of"),
    ],
)
def test_what_does_not_fit_the_policies_is_named(world: World, change: dict, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        with_experiment(build_world_of(world), msgspec.structs.replace(FEWER, **change))
