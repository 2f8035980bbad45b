from dataclasses import replace

import naive_estimators as naive
import numpy as np
import pytest
from small_logs import simulated, small

from decider.errors import InvalidInput
from decider.evaluation import Logged, recap, recap_normalised
from decider.evaluation.estimators import snips
from decider.evaluation.recap import ranks
from decider.evaluation.rows import arm_rows


def barred(seed, n=300):
    """A log where one arm is impossible in some rows, so that the number of actions varies."""
    log = simulated(seed, n=n)
    chances = log.propensity.copy()
    rows = np.flatnonzero(log.arm != 2)[: n // 4]
    chances[rows, 2] = 0.0
    return replace(log, propensity=chances / chances.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("normalised", [False, True])
def test_it_equals_its_definition(normalised):
    log = barred(0)
    scores = np.random.default_rng(1).normal(size=(300, 3))
    ref = naive.recap(scores, log.propensity, log.arm, log.reward, normalised)
    found = (recap_normalised if normalised else recap)(scores, log)
    assert found.value == pytest.approx(ref, rel=1e-10)


def test_normalised_it_is_snips_of_the_policy_of_one_over_rank():
    log = barred(2)
    scores = np.random.default_rng(3).normal(size=(300, 3))
    masked = np.where(log.propensity > 0, scores, -np.inf)
    rank = 1 + (masked[:, :, None] < masked[:, None, :]).sum(axis=2)
    policy = np.where(log.propensity > 0, 1 / rank, 0.0)
    policy /= policy.sum(axis=1, keepdims=True)
    assert recap_normalised(scores, log).value == pytest.approx(snips(arm_rows(policy, log)).value, rel=1e-12)
    everywhere = simulated(4, n=300)
    assert recap(scores, everywhere).value == pytest.approx(recap_normalised(scores, everywhere).value)


def test_it_under_reports_a_greedy_policy():
    # Truth 1 for the best action of five, 0 for the rest: 1/H_5 = 0.438 is what RECAP tends to.
    g = np.random.default_rng(5)
    n = 20_000
    arm = g.integers(0, 5, n)
    log = Logged(
        tuple("abcde"), 0, "y", (), np.zeros((n, 0), np.float32), arm, (arm == 3).astype(float),
        np.full((n, 5), 0.2), np.arange(n, dtype=np.uint64),
    )  # fmt: skip
    scores = np.tile([0.0, 0.1, 0.2, 1.0, 0.3], (n, 1))
    assert recap(scores, log).value == pytest.approx(1 / (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5), abs=0.02)


def test_ties_are_broken_at_random_by_key():
    log = simulated(6, n=9000, uniform=True)
    scores = np.zeros((9000, 3))
    rank, n_actions = ranks(scores, log, seed=1)
    assert (n_actions == 3).all()
    # Uniform over 1, 2, 3 for every arm: chi-square of 2 degrees of freedom, bound at probability 1e-5.
    for arm in range(3):
        found = np.bincount(rank[log.arm == arm], minlength=4)[1:]
        assert (np.square(found - found.sum() / 3) / (found.sum() / 3)).sum() < 23.0
    order = np.random.default_rng(0).permutation(9000)
    np.testing.assert_array_equal(ranks(scores[order], log.rows(order), seed=1)[0], rank[order])
    assert (ranks(scores, log, seed=2)[0] != rank).any()


def test_scores_of_another_form_are_refused():
    with pytest.raises(InvalidInput, match=r"scores must be float64 of shape \(4, 2\)"):
        recap(np.zeros((4, 3)), small())
    scores = np.zeros((4, 2))
    scores[1, 0] = np.nan
    with pytest.raises(InvalidInput, match="scores must be finite, got nan at row 1, arm 0"):
        recap(scores, small())
