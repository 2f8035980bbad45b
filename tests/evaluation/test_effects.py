from dataclasses import replace

import numpy as np
import pytest
from small_logs import simulated, small, stored

from decider.evaluation import Limits, arm_effects, average_effects

NO_LIMITS = Limits(effective_rows=0, largest_share=1, matched_members=0)


def test_a_mean_by_hand():
    # Arm sale: weights 1/.25 and 1/.5 on rewards 2 and 4: (8 + 8) / 6. Control: 1/.5 and 1/.25 on 1 and 0.
    found = arm_effects(small(), NO_LIMITS)
    assert [effect.arm for effect in found.arms] == ["nothing", "sale"]
    assert found.of("sale").mean.value == pytest.approx(16 / 6)
    assert found.of("nothing").mean.value == pytest.approx(2 / 6)
    assert found.of("nothing").incrementality is None
    assert found.of("sale").incrementality.value == pytest.approx(14 / 6)
    assert found.of("sale").n_rows == 2


def test_with_one_propensity_it_is_the_difference_of_means():
    log = simulated(1, uniform=True)
    effect = average_effects(stored(log), "visit").of("sale").incrementality
    treated, rest = (log.reward[log.arm == code] for code in (1, 0))
    assert effect.value == pytest.approx(treated.mean() - rest.mean(), rel=1e-12)
    error = np.sqrt(treated.var() / len(treated) + rest.var() / len(rest))
    assert effect.standard_error == pytest.approx(error, rel=1e-3)
    assert effect.normal == pytest.approx(
        (effect.value - 1.959964 * error, effect.value + 1.959964 * error), rel=1e-3
    )


def test_intervals_cover_the_truth_under_propensities_that_vary_and_rows_that_cluster():
    # 400 logs: coverage of a true 95 % interval lies in [0.91, 0.985] but for probability 1e-3 (binomial).
    # Errors that ignore clusters cover the mean less often, which the last line makes sure of.
    n_logs, hits = 400, dict.fromkeys(("mean", "incrementality", "mean without clusters"), 0)
    for seed in range(n_logs):
        log = simulated(seed, n=2000, rows_per_member=10, member_sd=3.0)
        sale = arm_effects(log, NO_LIMITS).of("sale")
        hits["mean"] += sale.mean.normal.low <= 1.4 <= sale.mean.normal.high
        hits["incrementality"] += sale.incrementality.normal.low <= 0.4 <= sale.incrementality.normal.high
        rows = replace(log, member_keys=np.arange(2000, dtype=np.uint64))
        alone = arm_effects(rows, NO_LIMITS).of("sale").mean.normal
        hits["mean without clusters"] += alone.low <= 1.4 <= alone.high
    assert 0.91 <= hits["mean"] / n_logs <= 0.985
    assert 0.91 <= hits["incrementality"] / n_logs <= 0.985
    assert hits["mean without clusters"] / n_logs < 0.9


def test_an_arm_with_too_little_says_so_and_gives_no_number():
    found = arm_effects(small(), Limits(effective_rows=3, matched_members=0, largest_share=1))
    sale = found.of("sale")
    assert sale.mean.value is None
    assert sale.incrementality.value is None
    assert sale.mean.refused == (
        "arm 'sale': the effective sample size must be at least 3, got 1.8 of 4 rows"
    )


def test_an_arm_that_was_impossible_somewhere_is_refused_and_the_others_are_not():
    log = simulated(2)
    chances = log.propensity.copy()
    row = int(np.flatnonzero(log.arm == 0)[0])
    chances[row] = [1.0, 0.0, 0.0]
    found = arm_effects(replace(log, propensity=chances))
    assert found.of("sale").mean.refused == (
        "arm 'sale': no support: in 1 of 2000 rows the log could never take the arm"
    )
    assert found.of("nothing").mean.value is not None


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("reward", "means", "mens", "womens"),
    [
        ("visit", ("0.106167", "0.182757", "0.151400"), "+0.076590 (0.003386)", "+0.045233 (0.003234)"),
        ("conversion", ("0.005726", "0.012531", "0.008837"), "+0.006805 (0.000921)", "+0.003111 (0.000823)"),
        ("spend", ("0.652789", "1.422617", "1.077202"), None, None),
    ],
)
def test_hillstrom_gives_the_published_figures(hillstrom, reward, means, mens, womens):
    found = arm_effects(hillstrom(reward))
    assert [effect.n_rows for effect in found.arms] == [21306, 21307, 21387]
    assert tuple(f"{effect.mean.value:.6f}" for effect in found.arms) == means
    for effect, expected in zip(found.arms[1:], (mens, womens), strict=True):
        if expected:
            estimate = effect.incrementality
            assert f"{estimate.value:+.6f} ({estimate.standard_error:.6f})" == expected
