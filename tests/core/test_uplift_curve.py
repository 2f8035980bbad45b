import naive_uplift_curve as naive
import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.resample import poisson_counts
from decider_core.uplift_curve import curve_areas


@pytest.mark.parametrize("n", [1, 2, 30])
def test_areas_equal_their_definition(n):
    g = np.random.default_rng(n)
    effect, keys = g.normal(size=n), g.integers(0, 8, n).astype(np.uint64)
    comp, resampled = curve_areas(effect, keys, 7, 3)
    np.testing.assert_allclose(comp, naive.areas(effect), rtol=1e-10, atol=1e-14)
    counts = poisson_counts(keys, 7, 3)
    for b in range(7):
        rows = naive.drawn(effect, counts[b])
        if rows:
            np.testing.assert_allclose(resampled[:, b], naive.areas(rows), rtol=1e-10, atol=1e-13)
        else:
            assert np.isnan(resampled[:, b]).all()


def test_a_constant_effect_gains_nothing_from_an_order():
    comp, _ = curve_areas(np.full(9, 2.5), np.arange(9, dtype=np.uint64), 0, 0)
    np.testing.assert_allclose(comp, [0.0, 0.0, 2.5 * 10 / 18, 2.5], atol=1e-14)


def test_refuses_what_is_no_number():
    with pytest.raises(ContractError, match=r"effect must be finite, got nan at \[1\]"):
        curve_areas(np.array([0.0, np.nan]), np.zeros(2, np.uint64), 0, 0)
    with pytest.raises(ContractError, match="member_keys must have shape"):
        curve_areas(np.zeros(2), np.zeros(3, np.uint64), 0, 0)
