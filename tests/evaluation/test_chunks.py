"""A log that goes through in chunks: the same numbers as in memory, and errors that name the row of the log."""

import weakref
from dataclasses import fields
from functools import partial

import numpy as np
import polars as pl
import pytest
from small_logs import StoredLog, level, simulated, stored

from decider.errors import InvalidInput
from decider.evaluation import (
    ESTIMATORS,
    JudgedChunk,
    JudgeSpec,
    Limits,
    MemberCount,
    judge,
    judge_policies,
    judge_policy,
    logged_chunks,
    read_logged,
    volume_and_cost,
)
from decider.evaluation.ahead import SideBySide
from decider.evaluation.effects import EffectSums, arm_effects
from decider.evaluation.policies import best_above, best_at_volume, volume_price
from decider.evaluation.propensities import CheckSums, check_propensities

CUTS = ([], [1], [700, 701, 1500])


class InChunks(StoredLog):
    """A stored log that is read a few rows at a time."""

    def chunks(self, columns):
        return self.frame.select(columns).iter_slices(3)


def chunked(table):
    return InChunks(table.frame, table.arms, table.control, table.rewards, table.feature_names)


def cut(log, cuts):
    return [log.rows(rows) for rows in np.split(np.arange(log.n_rows), cuts)]


def test_chunks_hold_the_rows_of_the_log():
    whole = simulated(0, n=20)
    chunks = [log for (log,) in logged_chunks(chunked(stored(whole)), ["visit"])]
    assert [log.n_rows for log in chunks] == [3] * 6 + [2]
    assert [log.first_row for log in chunks] == [0, 3, 6, 9, 12, 15, 18]
    for name in ("x", "arm", "reward", "propensity", "member_keys"):
        joined = np.concatenate([getattr(log, name) for log in chunks])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_chunks_hold_each_reward_asked_for():
    table = chunked(stored(simulated(1, n=8)))
    table.frame = table.frame.with_columns(pl.Series("y:left", np.arange(8.0)))
    table.rewards = ["visit", "left"]
    visit, left = next(logged_chunks(table, ["visit", "left"]))
    assert (visit.reward_name, left.reward_name) == ("visit", "left")
    assert left.reward.tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(visit.arm, left.arm)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("arm", "other", "got 'other' at row 4"),
        ("propensity", 0.9999, "propensity must equal p:.* at row 4"),
        ("y:visit", None, "y:visit must not be missing, got None at row 4"),
        ("y:visit", float("nan"), "y:visit must be finite, got nan at row 4"),
        ("x:a", float("inf"), "x:a must be finite, got inf at row 4"),
        ("member_id", None, "member_id must not be missing, got None at row 4"),
    ],
)
def test_errors_name_the_row_of_the_log(column, value, text):
    table = chunked(stored(simulated(2, n=9)))
    values = table.frame[column].to_list()
    values[4] = value
    table.frame = table.frame.with_columns(pl.Series(column, values, table.frame.schema[column]))
    with pytest.raises(InvalidInput, match=text):
        list(logged_chunks(table, ["visit"]))
    with pytest.raises(InvalidInput, match=text):
        read_logged(table, "visit")


@pytest.mark.parametrize("cuts", CUTS)
def test_judged_in_chunks_policies_have_the_numbers_that_each_has_in_memory(cuts):
    log = simulated(3, n=2000, rows_per_member=2, member_sd=0.5)
    harm = type(log)(**{**log.__dict__, "reward_name": "left", "reward": np.abs(log.reward)})
    g = np.random.default_rng(4)
    targets = {"one": np.eye(3)[g.integers(0, 3, 2000)], "chance": g.dirichlet(np.ones(3), 2000)}
    q_hat, costs = 0.5 * level(log.x), np.array([0.0, 1.0, 2.5])
    wide = {"groups": np.array([0, 1, 1]), "reward_range": (-20.0, 20.0), "n_resamples": 200, "seed": 9}
    places = np.split(np.arange(2000), cuts)

    def passes(_):
        for rows in places:
            yield JudgedChunk(
                log.rows(rows), {name: target[rows] for name, target in targets.items()},
                lambda _, rows=rows: q_hat[rows], harm.rows(rows), lambda _, rows=rows: 2 * q_hat[rows],
            )  # fmt: skip

    found = judge_policies(
        passes, JudgeSpec(ESTIMATORS, costs=costs, **wide), MemberCount.of(log.member_keys)
    )
    assert list(found) == ["one", "chance"]
    for name, target in targets.items():
        alone = judge_policy(target, log, q_hat, **wide)
        harmful = judge_policy(target, harm, 2 * q_hat, estimators=("snips", "dr"), n_resamples=200, seed=9)
        for ref, comp in ((alone, found[name].found), (harmful, found[name].harm)):
            assert comp.thresholds == ref.thresholds
            assert comp.support == pytest.approx(ref.support)
            for form in ("values", "incremental"):
                same(getattr(comp, form), getattr(ref, form))
        uses = volume_and_cost(target, log, costs, n_resamples=200, seed=9)
        same(dict(enumerate(found[name][1:3])), dict(enumerate(uses)))


def test_chunks_are_forgotten():
    log = simulated(11, n=2000)
    alive, most = weakref.WeakSet(), []

    def passes(_):
        for part in cut(log, range(100, 2000, 100)):
            chunk = JudgedChunk(part, {"one": np.eye(3)[np.ones(100, np.int64)]}, lambda rows: level(rows.x))
            alive.add(chunk)
            most.append(len(alive))
            yield chunk

    judge_policies(passes, JudgeSpec(n_resamples=100), MemberCount.of(log.member_keys))
    assert len(most) == 3 * 20
    # The one that is judged, and the one that is made.
    assert max(most) <= 2


def test_threads_change_no_bit(monkeypatch):
    log = simulated(10, n=1500, rows_per_member=3)
    policy, q_hat = np.ones(1500, np.int64), 0.5 * level(log.x)
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(judge, "SideBySide", partial(SideBySide, threads))
        found.append(judge_policy(policy, log, q_hat, groups=np.array([0, 1, 1]), n_resamples=200))
    assert found[0] == found[1]


def same(comp, ref):
    assert list(comp) == list(ref)
    for name, each in ref.items():
        for field in fields(each):
            mine, theirs = getattr(comp[name], field.name), getattr(each, field.name)
            if theirs is None or isinstance(theirs, str):
                assert mine == theirs
            else:
                # A bootstrap's sums are exact to 1e-6 of their standard deviation.
                assert mine == pytest.approx(
                    theirs, rel=1e-9, abs=1e-6 if field.name == "bootstrap" else 1e-12
                )


@pytest.mark.parametrize("cuts", CUTS)
def test_effects_and_checks_in_chunks(cuts):
    log = simulated(5, n=2000, rows_per_member=2)
    members = MemberCount.of(log.member_keys)
    effects, checks = EffectSums(log.arms, 0, "visit", members), CheckSums(log.arms, members)
    for part in cut(log, cuts):
        effects.add(part)
        checks.add(part)
    ref = arm_effects(log)
    for comp, expected in zip(effects.effects().arms, ref.arms, strict=True):
        assert comp.n_rows == expected.n_rows
        same({"mean": comp.mean}, {"mean": expected.mean})
    for mine, theirs in zip(checks.checks(), check_propensities(log), strict=True):
        assert mine[1:] == pytest.approx(theirs[1:], rel=1e-10)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("n_levels", [1, 5, 100_000])
def test_a_volume_is_met_in_chunks_whatever_ties(cuts, n_levels):
    # One level makes every prediction a tie, which members' keys break.
    log = simulated(6, n=2000)
    predicted = np.zeros((2000, 3))
    predicted[:, 1:] = np.random.default_rng(7).integers(0, n_levels, (2000, 2)) + 1
    whole = best_at_volume(log, predicted, 0.3)
    assert (whole[:, 0] == 0).sum() == 600
    places = np.split(np.arange(2000), cuts)
    price = volume_price(lambda: [(log.rows(rows), predicted[rows]) for rows in places], 600)
    joined = np.concatenate([best_above(log.rows(rows), predicted[rows], price) for rows in places])
    np.testing.assert_array_equal(joined, whole)
    largest = predicted[:, 1:].max(axis=1)
    assert largest[whole[:, 0] == 0].min() >= largest[whole[:, 0] == 1].max()


def test_a_reward_out_of_range_is_named_before_anything_is_judged():
    log = simulated(8, n=30)
    parts = [JudgedChunk(part, {"all": np.eye(3)[np.ones(part.n_rows, np.int64)]}) for part in cut(log, [10])]
    spec = JudgeSpec(reward_range=(-1e9, float(np.sort(log.reward)[-2])), limits=Limits(0, 1, 0, 0))
    row = int(np.argmax(log.reward))
    with pytest.raises(InvalidInput, match=f"y:visit must be in reward_range .* at row {row}$"):
        judge_policies(lambda _: parts, spec, MemberCount.of(log.member_keys))


def test_a_cost_below_zero_is_refused_before_rows_are_read():
    with pytest.raises(InvalidInput, match="cost must not be below 0 for any arm"):
        JudgeSpec(costs=np.array([0.0, -1.0]))
