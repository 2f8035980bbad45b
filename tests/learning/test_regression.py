import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.learning import fit, moments, ridge


def rows(seed, n=400, slopes=(0.3, -0.2, 0.1), uneven=0.0):
    """Rows whose noise grows with the first feature."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, len(slopes)))
    z = np.column_stack([np.ones(n), x]).astype(np.float32)
    noise = np.sqrt(1.0 + uneven * x[:, 0] ** 2) * g.normal(size=n)
    return z, 1.0 + z[:, 1:] @ np.array(slopes) + noise, np.arange(n, dtype=np.uint64)


def test_the_mean_is_the_ridge_regressions():
    z, y, keys = rows(0)
    np.testing.assert_allclose(fit(z, y, keys).mean, ridge(moments(z, y)), rtol=1e-6)


def test_with_even_noise_and_much_data_the_covariance_is_the_usual_one():
    # Entries of a covariance from 40,000 residuals scatter by 1 %: the bound of 5 % is five of that.
    z, y, keys = rows(1, n=40_000)
    wide = z.astype(float)
    usual = np.linalg.inv(wide.T @ wide)
    found = fit(z, y, keys)
    np.testing.assert_allclose(np.diag(found.covariance), np.diag(usual), rtol=0.05)
    assert found.noise_variance == pytest.approx(1.0, rel=0.05)
    assert found.shrinkage < 0.05


def test_weights_are_as_good_as_repeated_rows():
    z, y, keys = rows(2)
    weight = np.random.default_rng(3).integers(1, 4, len(y))
    once = fit(z, y, keys, weight.astype(float))
    repeated = fit(np.repeat(z, weight, axis=0), np.repeat(y, weight), np.repeat(keys, weight))
    # The number of rows differs, so the evidence does, but little.
    np.testing.assert_allclose(once.mean, repeated.mean, atol=0.02)
    np.testing.assert_allclose(np.diag(once.covariance), np.diag(repeated.covariance), rtol=0.15)


def test_repeating_every_row_of_a_member_adds_no_certainty():
    z, y, keys = rows(4)
    once = fit(z, y, keys)
    repeated = fit(*(np.repeat(array, 5, axis=0) for array in (z, y, keys)))
    ignored = fit(np.repeat(z, 5, axis=0), np.repeat(y, 5), np.arange(5 * len(y), dtype=np.uint64))
    np.testing.assert_allclose(np.diag(repeated.covariance), np.diag(once.covariance), rtol=0.15)
    assert ignored.covariance[0, 0] < 0.25 * once.covariance[0, 0]


@pytest.mark.parametrize("uneven", [0.0, 2.0])
def test_intervals_are_calibrated_when_slopes_come_from_the_prior(uneven):
    # 400 fits of slopes drawn anew, asked at 20 places each. Even if places told nothing new, the standard
    # error would be 1.1 %: coverage of 95 % lies in [0.91, 0.98] but for probability 3e-3, 6e-3 for both.
    places = np.column_stack([np.ones(20), np.random.default_rng(0).normal(size=(20, 3))])
    hits = []
    for seed in range(400):
        truth = np.random.default_rng(seed + 10_000).normal(size=3) * 0.15
        z, y, keys = rows(seed, slopes=truth, uneven=uneven)
        found = fit(z, y, keys)
        sd = np.sqrt(np.einsum("ij,jk,ik->i", places, found.covariance, places))
        hits.append(np.abs(places @ (found.mean - np.r_[1.0, truth])) < 1.96 * sd)
    assert 0.91 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize("kind", ["constant", "double", "sum"])
def test_dependent_features_are_counted_and_keep_a_wide_prior_in_their_own_direction(kind):
    z, y, keys = rows(5)
    extra = {"constant": 0 * z[:, 1], "double": z[:, 1], "sum": z[:, 1] + z[:, 2]}[kind]
    wide = np.column_stack([z, extra]).astype(np.float32)
    found, plain = fit(wide, y, keys), fit(z, y, keys)
    assert found.n_dependent == 1
    assert plain.n_dependent == 0
    assert np.linalg.eigvalsh(found.covariance)[0] > -1e-12
    sd = np.sqrt(np.einsum("ij,jk,ik->i", wide, found.covariance, wide))
    without = np.sqrt(np.einsum("ij,jk,ik->i", z, plain.covariance, z))
    np.testing.assert_allclose(sd, without, rtol=0.1)


def test_an_intercept_alone_is_a_mean_with_its_error():
    y = np.random.default_rng(6).normal(size=300)
    found = fit(np.ones((300, 1), np.float32), y, np.arange(300, dtype=np.uint64))
    assert found.mean == pytest.approx([y.mean()])
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(y.std() / np.sqrt(300), rel=0.01)


def test_too_few_members_are_refused():
    z, y, keys = rows(7, n=60)
    with pytest.raises(InvalidInput, match="members must be at least 16 for 4 coefficients, got 6"):
        fit(z, y, keys // 10)


def test_what_does_not_vary_is_refused():
    z, _, keys = rows(8)
    with pytest.raises(InvalidInput, match=r"y must vary, got 3\.0 in all 400 rows"):
        fit(z, np.full(400, 3.0), keys)
