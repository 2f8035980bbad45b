import numpy as np
import pytest

from decider.learning.evidence import learn_scales


def rows(seed, n=300, sd=(0.5, 0.02), size=6):
    g = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), g.normal(size=(n, 2 * size))])
    w = np.r_[1.0, g.normal(size=size) * sd[0], g.normal(size=size) * sd[1]]
    y = x @ w + g.normal(size=n)
    group = np.r_[-1, np.zeros(size, int), np.ones(size, int)].astype(np.int64)
    return x, y, w, group


def learnt(x, y, group, **options):
    return learn_scales(x.T @ x, x.T @ y, float(y @ y), len(y), group, 100.0, **options)


def log_posterior(x, y, group, variance, noise, even):
    """Log density of y with the coefficients integrated out, plus the log prior of the log scales."""
    spread = np.append(variance, 100.0)[group]
    covariance = x @ np.diag(spread) @ x.T + noise * np.eye(len(y))
    _, determinant = np.linalg.slogdet(covariance)
    density = -0.5 * (len(y) * np.log(2 * np.pi) + determinant + y @ np.linalg.solve(covariance, y))
    return density, density + (np.log(variance) - 2 * np.log(even + variance)).sum()


def test_the_evidence_is_the_density_of_the_rows():
    x, y, _, group = rows(0, n=60)
    found = learnt(x, y, group)
    ref, _ = log_posterior(x, y, group, found.variance, found.noise_variance, np.ones(2))
    assert found.log_evidence == pytest.approx(ref, abs=1e-6)


def test_scales_and_noise_are_at_the_top():
    x, y, _, group = rows(1, n=80)
    found = learnt(x, y, group)
    start = y @ y / len(y)
    even = np.array([start / (x[:, group == g] ** 2).sum(axis=0).mean() for g in (0, 1)])
    best = log_posterior(x, y, group, found.variance, found.noise_variance, even)[1]
    for step in (-0.02, 0.02):
        for j in range(2):
            moved = found.variance.copy()
            moved[j] *= np.exp(step)
            assert log_posterior(x, y, group, moved, found.noise_variance, even)[1] < best
        assert log_posterior(x, y, group, found.variance, found.noise_variance * np.exp(step), even)[1] < best


def test_the_posterior_is_the_conjugate_one():
    x, y, _, group = rows(2)
    found = learnt(x, y, group, noise_variance=2.0)
    precision = x.T @ x / 2 + np.diag(1 / np.append(found.variance, 100.0)[group])
    np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found.mean, np.linalg.solve(precision, x.T @ y / 2), rtol=1e-7)
    assert found.noise_variance == 2.0


def test_groups_are_told_apart():
    # Thirty logs: the medians of the scales are far apart whatever the draw.
    scales = np.array([learnt(*rows(seed)[:2], rows(seed)[3]).variance for seed in range(30)])
    assert np.median(scales[:, 0]) > 10 * np.median(scales[:, 1])
    assert 0.05 < np.median(scales[:, 0]) < 1.0


def test_noise_alone_is_pulled_far_but_not_taken_for_certain():
    x, y, _, group = rows(3, sd=(0.0, 0.0))
    found = learnt(x, y, group)
    least_squares = np.linalg.lstsq(x, y, rcond=None)[0]
    assert np.linalg.norm(found.mean[1:]) < 0.6 * np.linalg.norm(least_squares[1:])
    assert (found.variance > 1e-5).all()
    assert (found.effective < 6).all()


def test_free_coefficients_alone_need_no_scale():
    x, y, w, _ = rows(4)
    found = learnt(x, y, np.full(x.shape[1], -1), noise_variance=1.0)
    assert len(found.variance) == 0
    np.testing.assert_allclose(found.mean, w, atol=0.35)


def test_coefficients_that_no_row_speaks_of_keep_their_prior():
    x, y, _, group = rows(5)
    x[:, 6] = 0.0
    found = learnt(x, y, group)
    assert found.mean[6] == pytest.approx(0.0, abs=1e-12)
    assert found.covariance[6, 6] == pytest.approx(found.variance[0])


def test_the_average_over_scales_is_the_integral():
    # One group and known noise, so that the integral over the scale is a sum over a fine grid of its logarithm.
    g = np.random.default_rng(7)
    x = g.normal(size=(60, 4))
    y = x @ np.array([0.3, -0.2, 0.4, 0.1]) + g.normal(size=60)
    group, reach = np.zeros(4, np.int64), 2.0
    gram, information, squares = x.T @ x, x.T @ y, float(y @ y)
    found = learn_scales(gram, information, squares, 60, group, reach, noise_variance=1.0, n_points=32)
    log_s = np.linspace(-12.0, 6.0, 2001)
    density, means, covariances = [], [], []
    for s in np.exp(log_s):
        covariance = np.linalg.inv(gram + np.eye(4) / s)
        mean = covariance @ information
        evidence = 0.5 * (np.linalg.slogdet(covariance)[1] - 4 * np.log(s) + information @ mean)
        density.append(evidence + 0.5 * np.log(s) - np.log(reach + s))
        means.append(mean)
        covariances.append(covariance)
    share = np.exp(np.array(density) - max(density))
    share /= share.sum()
    mean = share @ np.array(means)
    apart = np.array(means) - mean
    covariance = np.tensordot(share, covariances, 1) + (share[:, None] * apart).T @ apart
    np.testing.assert_allclose(found.mean, mean, atol=0.05 * np.sqrt(covariance[0, 0]))
    np.testing.assert_allclose(np.diag(found.covariance), np.diag(covariance), rtol=0.03)
    assert found.expected_variance[0] > found.variance[0]
