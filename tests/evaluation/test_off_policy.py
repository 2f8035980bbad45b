from dataclasses import replace

import numpy as np
import pytest
from small_logs import level, simulated, small

from decider.errors import InvalidInput
from decider.evaluation import Limits, arm_effects, policy_value

NO_LIMITS = Limits(effective_rows=0, largest_share=1, matched_members=0)
NAMES = ("ips", "snips", "dr", "incremental_ips", "incremental_snips", "incremental_dr")


def naive(policy, log, q_hat):
    """IPS, SNIPS and DR from their definitions, one row at a time."""
    n = log.n_rows
    weighted = weights = robust = 0.0
    for i in range(n):
        w = (policy[i] == log.arm[i]) / log.propensity[i, log.arm[i]]
        weighted += w * log.reward[i]
        weights += w
        robust += q_hat[i, policy[i]] + w * (log.reward[i] - q_hat[i, log.arm[i]])
    return weighted / n, weighted / weights, robust / n


def test_values_equal_their_definitions():
    log = simulated(0, n=300)
    g = np.random.default_rng(1)
    policy, q_hat = g.integers(0, 3, 300), g.normal(size=(300, 3))
    found = policy_value(policy, log, q_hat, limits=NO_LIMITS)
    sends = naive(policy, log, q_hat)
    rests = naive(np.zeros(300, np.int64), log, q_hat)
    got = [getattr(found, name).value for name in NAMES]
    np.testing.assert_allclose(got[:3], sends, rtol=1e-10)
    np.testing.assert_allclose(got[3:], np.subtract(sends, rests), rtol=1e-10)
    assert found.send_share == pytest.approx((policy != 0).mean())


def test_errors_equal_their_definitions():
    log = simulated(0, n=300)
    policy, q_hat = np.ones(300, np.int64), np.random.default_rng(1).normal(size=(300, 3))
    found = policy_value(policy, log, q_hat, limits=NO_LIMITS)
    w = (log.arm == 1) / log.taken
    terms = q_hat[:, 1] + w * (log.reward - q_hat[np.arange(300), log.arm])
    assert found.ips.standard_error == pytest.approx((w * log.reward).std(ddof=1) / np.sqrt(300))
    assert found.dr.standard_error == pytest.approx(terms.std(ddof=1) / np.sqrt(300))
    ratio = w * (log.reward - found.snips.value) / w.mean()
    assert found.snips.standard_error == pytest.approx(ratio.std(ddof=1) / np.sqrt(300))


def test_a_policy_by_codes_and_by_probabilities_is_the_same():
    log = simulated(2, n=400)
    codes = np.random.default_rng(3).integers(0, 3, 400)
    q_hat = level(log.x)
    assert policy_value(codes, log, q_hat) == policy_value(np.eye(3)[codes], log, q_hat)


def test_the_value_of_a_mixture_is_the_mixture_of_values():
    log = simulated(4, n=500)
    mixed = np.tile([0.2, 0.5, 0.3], (500, 1))
    parts = [policy_value(np.full(500, code), log, level(log.x), limits=NO_LIMITS) for code in range(3)]
    found = policy_value(mixed, log, level(log.x), limits=NO_LIMITS)
    for name in ("ips", "dr"):
        values = [getattr(part, name).value for part in parts]
        assert getattr(found, name).value == pytest.approx(np.dot([0.2, 0.5, 0.3], values))


def test_sending_nothing_is_worth_nothing_more_than_itself():
    found = policy_value(np.zeros(1000, np.int64), simulated(5, n=1000), limits=NO_LIMITS)
    assert found.incremental_ips.value == 0.0
    assert found.incremental_snips.bootstrap == (0.0, 0.0)
    assert found.send_share == 0.0


@pytest.mark.slow
def test_intervals_cover_the_truth():
    # 300 logs of clustered rows: coverage of a true 95 % interval lies in [0.90, 0.985] but for probability
    # 1e-3 for each of the twelve (binomial). q is half wrong, so IPS, SNIPS and DR differ.
    n, n_logs = 1500, 300
    hits = {}
    for seed in range(n_logs):
        log = simulated(seed, n=n, rows_per_member=3, member_sd=1.0)
        policy = np.where(log.x[:, 1] > 0, 1, 0).astype(np.int64)
        found = policy_value(policy, log, 0.5 * level(log.x), n_resamples=200, seed=seed)
        # E[Y | sale if b > 0] - E[Y | nothing] = 0.4 / 2 + 0.5 E[b; b > 0] = 0.2 + 0.5 / sqrt(2 pi).
        gain = 0.2 + 0.5 / np.sqrt(2 * np.pi)
        for name in NAMES:
            truth = gain + (0.0 if name.startswith("incremental") else 1.0)
            for kind in ("normal", "bootstrap"):
                low, high = getattr(getattr(found, name), kind)
                hits[name, kind] = hits.get((name, kind), 0) + (low <= truth <= high)
    for key, count in hits.items():
        assert 0.90 <= count / n_logs <= 0.985, (key, count / n_logs)


@pytest.mark.parametrize("wrong", ["rewards", "propensities"])
def test_doubly_robust_is_right_with_one_nuisance_wrong(wrong):
    # 200 logs; the bound is 4 standard errors (false alarm 6e-5). Wrong propensities show in IPS.
    def values(seed):
        log = simulated(seed, n=1000)
        q_hat = level(log.x)
        if wrong == "rewards":
            q_hat = np.full_like(q_hat, 3.0)
        else:
            log = replace(log, propensity=np.full((1000, 3), 1 / 3))
        return policy_value(np.ones(1000, np.int64), log, q_hat, n_resamples=0)

    found = [values(seed) for seed in range(200)]
    for name, is_right in (("dr", True), ("ips", wrong == "rewards")):
        errors = np.array([getattr(value, name).value for value in found]) - 1.4
        z = errors.mean() / (errors.std(ddof=1) / np.sqrt(200))
        assert (abs(z) < 4) == is_right, (name, z)


def test_a_good_reward_model_narrows_the_interval():
    log = simulated(6)
    found = policy_value(np.ones(2000, np.int64), log, level(log.x))
    assert found.dr.standard_error < 0.8 * found.ips.standard_error


def test_no_reward_model_no_doubly_robust_number():
    found = policy_value(np.ones(2000, np.int64), simulated(7))
    assert found.dr.refused == found.incremental_dr.refused == "no reward model was given"
    assert found.ips.value is not None


def test_a_policy_that_the_log_could_never_follow_gets_no_number():
    log = small(propensity=np.array([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [1.0, 0.0]]))
    found = policy_value(np.ones(4, np.int64), log, np.zeros((4, 2)), limits=NO_LIMITS)
    for name in NAMES:
        assert "no support: in 1 of 4 rows the log could never take the arm" in getattr(found, name).refused


def test_too_few_effective_rows_give_a_reason_and_no_number():
    found = policy_value(np.ones(60, np.int64), simulated(8, n=60))
    assert found.snips.value is None
    assert found.snips.refused.startswith("the effective sample size must be at least 100, got ")


def test_a_control_without_rows_refuses_only_the_increments():
    log = simulated(9)
    kept = log.rows(log.arm != 0)
    found = policy_value(np.ones(kept.n_rows, np.int64), kept)
    assert found.ips.value is not None
    assert found.incremental_ips.refused.startswith("sending nothing: the effective sample size must be")


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (np.array([0, 1, 2, 0]), r"policy must hold codes in \[0, 2\), got 2 at row 2"),
        (np.array([0, 1]), r"policy must be int64 of shape \(4,\) or float64 of shape \(4, 2\)"),
        (np.full((4, 2), 0.6), r"must hold probabilities that sum to 1, got \[0.6, 0.6\] at row 0"),
        (np.array([[2.0, -1.0]] * 4), "must hold probabilities that sum to 1"),
        (np.full((4, 2), np.nan), "must hold probabilities that sum to 1"),
    ],
)
def test_a_policy_that_is_none_is_refused(policy, text):
    with pytest.raises(InvalidInput, match=text):
        policy_value(policy, small())


def test_a_reward_model_of_another_shape_is_refused():
    with pytest.raises(InvalidInput, match=r"q_hat must be float64 of shape \(4, 2\)"):
        policy_value(np.ones(4, np.int64), small(), np.zeros((4, 3)))


@pytest.mark.real_data
@pytest.mark.parametrize("reward", ["visit", "conversion"])
def test_hillstroms_constant_policies_are_worth_the_arms_means(hillstrom, reward):
    log = hillstrom(reward)
    effects = arm_effects(log)
    for code, arm in enumerate(log.arms):
        mean = effects.of(arm).mean
        found = policy_value(np.full(log.n_rows, code), log, n_resamples=500)
        assert found.snips.value == pytest.approx(mean.value, rel=1e-12)
        assert found.snips.standard_error == pytest.approx(mean.standard_error, rel=1e-9)
        for estimate in (found.ips, found.snips):
            for low, high in (estimate.normal, estimate.bootstrap):
                assert low <= mean.value <= high
