from dataclasses import replace

import numpy as np
import pytest
from small_logs import simulated, small

from decider.evaluation import Limits, check_propensities, support_of

SALE = np.array([[0.0, 1.0]] * 4)


def test_support_by_hand():
    # Rows 1 and 2 got the sale, at 1/.25 = 4 and 1/.5 = 2: (4 + 2)^2 / (16 + 4) = 1.8.
    found = support_of(SALE, small())
    assert found.n_matched == 2
    assert found.matched_members == 2
    assert found.effective_rows == pytest.approx(1.8)
    assert found.largest_share == pytest.approx(4 / 6)
    assert found.smallest_propensity == 0.25
    assert found.n_unsupported == 0


def test_members_are_counted_once():
    assert support_of(SALE, small(member_keys=np.zeros(4, np.uint64))).matched_members == 1


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(1.8, 0.7, 2), ""),
        (Limits(1.9, 0.7, 2), "the effective sample size must be at least 1.9, got 1.8 of 4 rows"),
        (Limits(1.8, 0.6, 2), "one row's share of the weight must be at most 0.6, got 0.667"),
        (Limits(1.8, 0.7, 3), "the policy must match at least 3 members, got 2"),
    ],
)
def test_each_limit_refuses_by_itself(limits, text):
    assert support_of(SALE, small()).refusal(limits) == text


def test_a_policy_beyond_the_log_has_no_support():
    log = small(propensity=np.array([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [1.0, 0.0]]))
    found = support_of(SALE, log)
    assert found.n_unsupported == 1
    assert "no support: in 1 of 4 rows" in found.refusal(Limits(0, 1, 0))


def test_true_propensities_pass_and_false_ones_show():
    # Six ratios at 4 standard errors: a false alarm has probability 4e-4.
    for seed in (0, 1):
        assert all(abs(check.z) < 4 for check in check_propensities(simulated(seed, n=5000)))
    log = simulated(0, n=5000)
    swapped = log.propensity[:, [1, 0, 2]]
    assert max(abs(check.z) for check in check_propensities(replace(log, propensity=swapped))) > 4


def test_an_arm_that_was_never_given_shows():
    n = 1000
    log = small(
        x=np.zeros((n, 1), np.float32),
        arm=np.zeros(n, np.int64),
        reward=np.arange(n, dtype=float),
        propensity=np.full((n, 2), 0.5),
        member_keys=np.arange(n, dtype=np.uint64),
    )
    assert check_propensities(log)[1].z < -10
