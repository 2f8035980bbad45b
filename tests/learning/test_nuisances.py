from dataclasses import replace

import numpy as np
import pytest
from known_world import members_at, simulated

from decider.errors import InvalidInput
from decider.learning import cross_fit, fold_of, moments, ridge
from decider.models import RawMap


def mapped(log):
    return RawMap.fit(log.x, log.feature_names).apply(log.x)


def test_each_row_is_predicted_from_the_other_folds_alone():
    log = simulated(0, n=600)
    z, fold = mapped(log), fold_of(log.member_keys, 3, 0)
    found = cross_fit(log, z, fold, 3)
    for f in range(3):
        for code in range(3):
            others = (fold != f) & (log.arm == code)
            expected = z[fold == f] @ ridge(moments(z[others], log.reward[others]))
            np.testing.assert_allclose(found[fold == f, code], expected, rtol=1e-5, atol=1e-5)


def test_a_members_own_reward_does_not_move_its_prediction():
    log = simulated(1, n=600)
    z, fold = mapped(log), fold_of(log.member_keys, 5, 0)
    changed = log.reward.copy()
    changed[7] += 1000.0
    before, after = (cross_fit(each, z, fold, 5) for each in (log, replace(log, reward=changed)))
    np.testing.assert_array_equal(before[fold == fold[7]], after[fold == fold[7]])
    assert np.abs(before - after).max() > 0.1


def test_an_arm_with_too_few_rows_is_named():
    log = simulated(2, n=600)
    few = log.rows(np.flatnonzero((log.arm != 2) | (np.arange(600) < 60)))
    fold = fold_of(few.member_keys, 2, 0)
    with pytest.raises(
        InvalidInput, match="arm 'news' must have at least 30 rows outside each of 2 folds, got"
    ):
        cross_fit(few, mapped(few), fold, 2)


def test_an_arm_without_rows_is_named():
    log = simulated(3, n=600)
    none = log.rows(log.arm != 0)
    with pytest.raises(InvalidInput, match=r"arm 'nothing' must have .* got 0"):
        cross_fit(none, mapped(none), fold_of(none.member_keys, 2, 0), 2)


def test_predictions_are_finite_for_members_far_away():
    log = simulated(4, n=600)
    far = replace(log, x=log.x + 50 * members_at(600))
    assert np.isfinite(cross_fit(far, mapped(far), fold_of(far.member_keys, 2, 0), 2)).all()
