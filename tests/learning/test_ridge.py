import math

import numpy as np
import pytest

from decider.learning import moments, ridge


def rows(seed, n=4000, slopes=(0.5, -0.2, 0.0), noise=1.0):
    g = np.random.default_rng(seed)
    z = np.column_stack([np.ones(n), g.normal(size=(n, len(slopes)))]).astype(np.float32)
    return z, 2.0 + z[:, 1:] @ np.array(slopes) + noise * g.normal(size=n)


def test_moments_by_their_definition_and_parts_add_up():
    z, y = rows(0, n=50)
    whole = moments(z, y)
    wide = z.astype(float)
    np.testing.assert_allclose(whole.gram, wide.T @ wide, rtol=1e-12)
    np.testing.assert_allclose(whole.information, wide.T @ y, rtol=1e-12)
    parts = moments(z[:20], y[:20]).plus(moments(z[20:], y[20:]))
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_with_much_data_it_is_least_squares():
    # The pull that is left is a small part of the standard error, 0.0045.
    z, y = rows(1, n=50_000)
    expected = np.linalg.lstsq(z.astype(float), y, rcond=None)[0]
    np.testing.assert_allclose(ridge(moments(z, y)), expected, atol=5e-4)


def test_the_mean_over_the_grid_by_its_definition():
    z, y = rows(2, n=60)
    x, centred = z[:, 1:] - z[:, 1:].mean(axis=0, dtype=float), y - y.mean()
    gram = x.T @ x
    typical = np.trace(gram) / 3
    total, weighted = 0.0, np.zeros(3)
    logs = []
    for k in range(131):
        u = 1 / (1 + math.exp(20 - 0.2 * k))
        penalty = typical * u / (1 - u)
        slopes = np.linalg.solve(gram + penalty * np.eye(3), x.T @ centred)
        residual = centred @ centred - (x.T @ centred) @ slopes
        determinant = np.linalg.det(gram / penalty + np.eye(3))
        logs.append((np.log(u * (1 - u)) - 0.5 * np.log(determinant) - 59 / 2 * np.log(residual), slopes))
    largest = max(log for log, _ in logs)
    for log, slopes in logs:
        total += np.exp(log - largest)
        weighted += np.exp(log - largest) * slopes
    np.testing.assert_allclose(ridge(moments(z, y))[1:], weighted / total, rtol=1e-5)


def test_pure_noise_is_pulled_to_the_mean():
    z, y = rows(3, n=200, slopes=(0.0,) * 30)
    found = ridge(moments(z, y))
    least_squares = np.linalg.lstsq(z.astype(float), y, rcond=None)[0]
    assert np.linalg.norm(found[1:]) < 0.5 * np.linalg.norm(least_squares[1:])


def test_more_features_than_rows_is_no_trouble():
    z, y = rows(4, n=20, slopes=(0.5,) * 40)
    assert np.isfinite(ridge(moments(z, y))).all()


def test_a_reward_that_does_not_vary_gives_its_mean():
    z, _ = rows(5, n=100)
    np.testing.assert_array_equal(ridge(moments(z, np.full(100, 0.25))), [0.25, 0, 0, 0])
    np.testing.assert_array_equal(ridge(moments(z, np.zeros(100))), [0, 0, 0, 0])


@pytest.mark.parametrize("kind", ["constant", "double", "sum"])
def test_features_that_say_nothing_new_change_no_prediction_much(kind):
    z, y = rows(6)
    extra = {"constant": 0 * z[:, 1], "double": z[:, 1], "sum": z[:, 1] + z[:, 2]}[kind]
    wide = np.column_stack([z, extra]).astype(np.float32)
    np.testing.assert_allclose(wide @ ridge(moments(wide, y)), z @ ridge(moments(z, y)), atol=5e-3)
