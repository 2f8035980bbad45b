import naive_estimators as naive
import numpy as np
import pytest
from small_logs import simulated, small

from decider.errors import InvalidInput, UnknownName
from decider.evaluation import ESTIMATORS, Limits, estimators, judge_policy, members
from decider.evaluation.intervals import clustered_error
from decider.evaluation.rows import Rows, arm_rows, less
from decider.evaluation.sums import estimates_of
from decider.evaluation.thresholds import chosen_terms, in_first_half, slope, threshold_candidates
from decider_core.random import FOLD, stream_key, uniforms

NO_LIMITS = Limits(effective_rows=0, largest_share=1, matched_members=0, sample_ratio=0)


def made(seed, n=200):
    g = np.random.default_rng(seed)
    rows = {
        "reward": g.normal(1.0, 2.0, n),
        "propensity": g.uniform(0.02, 1.0, n),
        "target": np.where(g.random(n) < 0.4, 1.0, 0.0),
        "dm": g.normal(size=n),
        "q_logged": g.normal(size=n),
    }
    return rows, Rows(**rows, certain=np.ones(n, np.bool_))


@pytest.mark.parametrize("name", ["replay", "ips", "snips", "dr", "sndr"])
@pytest.mark.parametrize("seed", range(5))
def test_each_equals_its_definition(name, seed):
    rows, comp = made(seed)
    assert getattr(estimators, name)(comp).value == pytest.approx(getattr(naive, name)(rows), rel=1e-10)


@pytest.mark.parametrize("name", ["clipped_ips", "switch_dr", "dr_shrunk"])
@pytest.mark.parametrize("threshold", [0.01, 1.0, 3.0, 1e4])
def test_each_with_a_threshold_equals_its_definition(name, threshold):
    rows, comp = made(9)
    ref = getattr(naive, name)(rows, threshold)
    assert getattr(estimators, name)(comp, threshold).value == pytest.approx(ref, rel=1e-10)


def test_the_direct_method_is_the_mean_of_the_model():
    rows, comp = made(1)
    assert estimators.direct(comp).value == pytest.approx(naive.dm(rows), rel=1e-10)


def test_thresholds_at_their_ends():
    _, rows = made(2)
    for estimator in (estimators.switch_dr, estimators.dr_shrunk):
        assert estimator(rows, 0.0).value == pytest.approx(estimators.direct(rows).value, rel=1e-12)
        assert estimator(rows, np.inf).value == pytest.approx(estimators.dr(rows).value, rel=1e-12)
    assert estimators.clipped_ips(rows, np.inf).value == estimators.ips(rows).value


def test_mips_equals_its_definition():
    log = simulated(3, n=150)
    target = np.random.default_rng(4).dirichlet(np.ones(3), 150)
    groups = np.array([0, 1, 1])
    ref = naive.mips(target, log.propensity, log.arm, log.reward, groups)
    assert estimators.mips(arm_rows(target, log, groups=groups)).value == pytest.approx(ref, rel=1e-10)
    alone = estimators.mips(arm_rows(target, log, groups=np.arange(3))).value
    assert alone == pytest.approx(estimators.ips(arm_rows(target, log)).value, rel=1e-12)


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "sndr"])
def test_influence_is_what_a_row_left_out_changes(name):
    # The jack-knife by hand: leaving row i out moves the estimate by -influence_i / n, to first order.
    rows, comp = made(6, n=400)
    terms = getattr(estimators, name)(comp)
    for i in (0, 7, 123):
        kept = {key: np.delete(array, i) for key, array in rows.items()}
        moved = getattr(naive, name)(kept) - terms.value
        spread = np.abs(terms.influence).max()
        assert -terms.influence[i] / 400 == pytest.approx(moved, abs=0.02 * spread / 400)


def test_the_difference_of_two_estimates_on_the_same_rows():
    _, one = made(7)
    _, other = made(8)
    found = estimates_of(
        {"one": estimators.snips(one), "less": less(estimators.snips(one), estimators.snips(one))},
        np.arange(200, dtype=np.uint64), 200, 1,
    )  # fmt: skip
    assert found["less"].value == pytest.approx(0.0, abs=1e-15)
    assert found["less"].bootstrap == pytest.approx((0.0, 0.0), abs=1e-12)
    apart = less(estimators.dr(one), estimators.dr(other))
    assert apart.value == pytest.approx(estimators.dr(one).value - estimators.dr(other).value)


def test_judged_together_they_are_what_they_are_alone():
    log = simulated(10, n=600)
    g = np.random.default_rng(11)
    policy, q_hat = g.integers(0, 3, 600), g.normal(size=(600, 3))
    found = judge_policy(policy, log, q_hat, groups=np.array([0, 1, 2]), n_resamples=0, limits=NO_LIMITS)
    rows = arm_rows(np.eye(3)[policy], log, q_hat, np.arange(3))
    rests = arm_rows(np.eye(3)[np.zeros(600, np.int64)], log, q_hat, np.arange(3))
    assert tuple(found.values) == tuple(found.incremental) == ESTIMATORS
    names = {"dm": "direct"}
    for name in ("replay", "ips", "snips", "dm", "dr", "sndr", "mips"):
        value = getattr(estimators, names.get(name, name))
        assert found.values[name].value == pytest.approx(value(rows).value, rel=1e-10)
        increment = value(rows).value - value(rests).value
        assert found.incremental[name].value == pytest.approx(increment, rel=1e-10, abs=1e-12)
    assert set(found.thresholds) == {"clipped_ips", "switch_dr", "dr_shrunk"}


def test_estimators_say_what_they_lack():
    log = simulated(12)
    found = judge_policy(np.full((2000, 3), 1 / 3), log, n_resamples=0)
    assert found.values["dr"].refused == "no reward model was given"
    assert found.values["mips"].refused == "no groups of arms were given"
    assert found.values["replay"].refused == "the policy chooses at random, which replay cannot judge"
    assert found.values["ips"].value is not None
    with pytest.raises(UnknownName, match=r"estimators must be among .* got 'best'"):
        judge_policy(np.zeros(2000, np.int64), log, estimators=("ips", "best"))


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_propensities_wrong_by_a_factor_give_a_reason_and_no_number(factor):
    # The odds of the sale are wrong by a factor.
    log = simulated(13, n=20_000)
    wrong = log.propensity.copy()
    wrong[:, 1] *= factor
    wrong /= wrong.sum(axis=1, keepdims=True)
    changed = type(log)(**{**log.__dict__, "propensity": wrong})
    found = judge_policy(np.ones(20_000, np.int64), changed, n_resamples=0)
    for each in found.values.values():
        assert each.value is None
    assert "the arms do not come as often as their propensities say" in found.values["ips"].refused
    assert judge_policy(np.ones(20_000, np.int64), log, n_resamples=0).values["ips"].value is not None


def test_a_policy_beyond_the_log_has_no_number_by_any_estimator():
    log = simulated(14)
    chances = log.propensity.copy()
    row = int(np.flatnonzero(log.arm == 0)[0])
    chances[row] = [1.0, 0.0, 0.0]
    changed = type(log)(**{**log.__dict__, "propensity": chances})
    found = judge_policy(np.ones(2000, np.int64), changed, np.zeros((2000, 3)), n_resamples=0)
    for name, each in found.values.items():
        if name != "mips":
            assert "no support: in 1 of 2000 rows" in each.refused
    # MIPS needs the group only: with the two messages and nothing in one group, all of it was reached.
    groups = np.array([0, 0, 0])
    assert judge_policy(np.ones(2000, np.int64), changed, groups=groups).values["mips"].value is not None


def test_thresholds_of_rows_are_chosen_on_other_rows():
    # Rewards of one half change; that half's threshold must not.
    rows, comp = made(20, n=3000)
    keys = np.arange(3000, dtype=np.uint64)
    first = uniforms(stream_key(5, FOLD, 0, 2), keys) < 0.5
    _, before = chosen_terms(estimators.clipped_ips, comp, keys, seed=5)
    rows["reward"] = np.where(first, rows["reward"] * -50, rows["reward"])
    changed = Rows(**rows, certain=comp.certain)
    _, after = chosen_terms(estimators.clipped_ips, changed, keys, seed=5)
    assert before.values[0] == after.values[0]
    candidates = threshold_candidates(float(comp.weight.max()))
    halves = [estimators.clipped_ips(comp, each).map(lambda column: column[~first]) for each in candidates]
    values = np.array([half.value for half in halves])
    errors = np.array([clustered_error(half.influence, keys[~first]) for half in halves])
    assert before.values[0] == candidates[slope(values, errors)]


def test_with_many_members_thresholds_are_chosen_by_groups_of_one_half(monkeypatch):
    # 3,000 members in 256 groups: the groups' variances are off by 9 % in one standard deviation, which moves a
    # choice by a candidate or two. Rewards of one half that change must not move that half's own threshold.
    monkeypatch.setattr(members, "MOST_MEMBERS", 256)
    monkeypatch.setattr(members, "LEAST_GROUPS", 256)
    rows, comp = made(20, n=3000)
    keys = np.arange(3000, dtype=np.uint64)
    first = in_first_half(keys, 5)
    moved = np.where(first, rows["reward"] + 100, rows["reward"])
    changed = Rows(**rows | {"reward": moved}, certain=comp.certain)
    _, before = chosen_terms(estimators.clipped_ips, comp, keys, rule="mse", seed=5)
    _, after = chosen_terms(estimators.clipped_ips, changed, keys, rule="mse", seed=5)
    assert before.values[0] == after.values[0]
    assert before.values[1] != after.values[1]


@pytest.mark.parametrize("rule", ["slope", "mse"])
def test_a_chosen_threshold_is_better_than_none_where_weights_are_wild(rule):
    # 200 logs where 2 % of rows have weights of 500 and the reward model is right: shrinking costs no bias. By
    # SLOPE the mean squared error falls to 0.1 of DR's, by its bound, which fears a bias, to 0.6.
    errors = {name: [] for name in ("dr", "switch_dr", "dr_shrunk")}
    for seed in range(200):
        g = np.random.default_rng(seed)
        n = 800
        rare = g.random(n) < 0.02
        p = np.where(rare, 0.002, 0.5)
        taken = g.random(n) < np.where(rare, 0.1, 0.5)
        q = g.normal(size=n)
        rows = Rows(q + g.normal(size=n), p, taken.astype(float), np.ones(n, np.bool_), q, q)
        terms = {"dr": estimators.dr(rows)}
        for name in ("switch_dr", "dr_shrunk"):
            estimator = getattr(estimators, name)
            terms[name], _ = chosen_terms(
                estimator, rows, np.arange(n, dtype=np.uint64), rule=rule, seed=seed
            )
        for name, each in terms.items():
            errors[name].append(each.value - q.mean())
    mse = {name: float(np.mean(np.square(each))) for name, each in errors.items()}
    bound = {"slope": 0.3, "mse": 0.9}[rule]
    assert mse["switch_dr"] < bound * mse["dr"]
    assert mse["dr_shrunk"] < bound * mse["dr"]


def test_models_and_groups_of_another_form_are_refused():
    log = small()
    target = np.tile([0.5, 0.5], (4, 1))
    with pytest.raises(InvalidInput, match=r"q_hat must be float64 of shape \(4, 2\)"):
        arm_rows(target, log, np.zeros((4, 3)))
    q_hat = np.zeros((4, 2))
    q_hat[2, 1] = np.nan
    with pytest.raises(InvalidInput, match="q_hat must be finite, got nan at row 2, arm 1"):
        arm_rows(target, log, q_hat)
    with pytest.raises(InvalidInput, match=r"groups must be int64 of shape \(2,\)"):
        arm_rows(target, log, groups=np.zeros(3, np.int64))
    with pytest.raises(InvalidInput, match="policy must choose one action for sure, for replay"):
        estimators.replay(arm_rows(target, log))
    with pytest.raises(InvalidInput, match="q_hat must be given for this estimator"):
        estimators.dr(arm_rows(target, log))
    with pytest.raises(InvalidInput, match="groups must be given for MIPS"):
        estimators.mips(arm_rows(target, log))
