import numpy as np
import pytest

from decider.evaluation import Estimate
from decider.evaluation.intervals import clustered_error, empirical_bernstein


def test_with_one_row_a_member_it_is_the_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=200)
    centred = values - values.mean()
    error = clustered_error(centred, np.arange(200, dtype=np.uint64))
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(200), rel=1e-12)


def test_clusters_by_their_definition():
    g = np.random.default_rng(1)
    influence, keys = g.normal(size=60), g.integers(0, 9, 60).astype(np.uint64)
    sums = [influence[keys == key].sum() for key in set(keys.tolist())]
    expected = np.sqrt(9 / 8 * sum(s**2 for s in sums)) / 60
    assert clustered_error(influence, keys) == pytest.approx(expected, rel=1e-12)


def test_rows_that_repeat_a_member_add_nothing():
    influence = np.random.default_rng(2).normal(size=50)
    keys = np.arange(50, dtype=np.uint64)
    once = clustered_error(influence, keys)
    assert clustered_error(np.repeat(influence, 7), np.repeat(keys, 7)) == pytest.approx(once, rel=1e-12)


def test_one_member_has_no_error():
    assert np.isnan(clustered_error(np.ones(3), np.zeros(3, np.uint64)))


def test_intervals_of_an_estimate():
    resampled = np.arange(1001) / 1000
    estimate = Estimate.of(0.5, 0.1, resampled)
    assert estimate.normal == pytest.approx((0.5 - 0.1959964, 0.5 + 0.1959964))
    assert estimate.bootstrap == pytest.approx((0.025, 0.975))
    assert Estimate.of(0.5, 0.1, resampled[:99]).bootstrap is None


def test_resamples_without_a_value_refuse():
    resampled = np.ones(200)
    resampled[:3] = np.nan
    assert Estimate.of(0.5, 0.1, resampled).refused == "3 of 200 resamples have no matching row"


def test_a_number_and_a_refusal_exclude_each_other():
    with pytest.raises(ValueError, match="refused must be given"):
        Estimate(None)
    with pytest.raises(ValueError, match="refused must be given"):
        Estimate(1.0, refused="too few rows")


def test_the_confidence_sequence_holds_at_every_look_and_the_normal_interval_does_not():
    # 400 streams watched after every 250 of 10,000 members. Of 5 % false alarms, more than 8.5 % has probability
    # 1e-3; the normal interval is left in about a third of the streams.
    looks = np.arange(250, 10_001, 250)
    left = {"normal": 0, "anytime": 0}
    for seed in range(400):
        values = np.random.default_rng(seed).exponential(size=10_000) - 1.0
        for kind in left:
            for t in looks:
                estimate = Estimate.of(values[:t].mean(), values[:t].std(ddof=1) / np.sqrt(t), None, int(t))
                low, high = getattr(estimate, kind)
                if not low <= 0.0 <= high:
                    left[kind] += 1
                    break
    assert left["anytime"] / 400 <= 0.085
    assert left["normal"] / 400 > 0.2


def test_empirical_bernstein_by_its_definition():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    log_term = np.log(2 / 0.025)
    half = np.sqrt(2 * values.var(ddof=1) * log_term / 5) + 7 * log_term / (3 * 4)
    assert empirical_bernstein(values, 0.0, 1.0) == pytest.approx((0.6 - half, 0.6 + half))
    with pytest.raises(ValueError, match=r"values must be in \[0.0, 0.5\]"):
        empirical_bernstein(values, 0.0, 0.5)
    with pytest.raises(ValueError, match="values must be two or more, got 1"):
        empirical_bernstein(values[:1], 0.0, 1.0)


def test_empirical_bernstein_covers_rare_events_where_the_normal_interval_fails():
    # 20 rows of an event of chance 0.02: two thirds of the logs hold none, and the normal interval is a point.
    g = np.random.default_rng(0)
    hits = {"bernstein": 0, "normal": 0}
    for _ in range(500):
        values = (g.random(20) < 0.02).astype(float)
        low, high = empirical_bernstein(values, 0.0, 1.0)
        hits["bernstein"] += low <= 0.02 <= high
        low, high = Estimate.of(values.mean(), values.std(ddof=1) / np.sqrt(20)).normal
        hits["normal"] += low <= 0.02 <= high
    assert hits["bernstein"] / 500 >= 0.95
    assert hits["normal"] / 500 < 0.6
