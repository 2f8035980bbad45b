import numpy as np
import pytest

from decider.evaluation import Estimate
from decider.evaluation.intervals import clustered_error


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
