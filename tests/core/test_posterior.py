"""Gaussian updates: against the Kalman update, in any cut, and for wrong input."""

from __future__ import annotations

import naive_posterior as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider_core.contracts import ContractError
from decider_core.posterior import forget, gram_update, prior, solve


class Rows:
    """Rows of a linear response, and a prior."""

    def __init__(self, n: int, size: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(n, size))
        self.y = self.x @ rng.normal(size=size) + rng.normal(size=n)
        self.weight = rng.uniform(0.1, 3.0, n)
        self.prior_mean = rng.normal(size=size)
        self.prior_variance = rng.uniform(0.5, 2.0, size)

    def learn(self, *cuts: int) -> tuple[np.ndarray, np.ndarray]:
        precision, information = prior(self.prior_mean, self.prior_variance)
        for rows in np.split(np.arange(len(self.y)), sorted(cuts)):
            gram_update(precision, information, self.x[rows], self.y[rows], self.weight[rows])
        return precision, information


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 1), (2, 5), (40, 4)])
def test_the_posterior_is_the_kalman_filters(n, size):
    rows = Rows(n, size)
    mean, covariance = rows.prior_mean.tolist(), np.diag(rows.prior_variance).tolist()
    for x, y, weight in zip(rows.x.tolist(), rows.y.tolist(), rows.weight.tolist(), strict=True):
        mean, covariance = naive.learn_row(mean, covariance, x, y, 1.0 / weight)
    comp_mean, comp_covariance = solve(*rows.learn())
    np.testing.assert_allclose(comp_mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(comp_covariance, covariance, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(comp_covariance, comp_covariance.T)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 60), max_size=5))
def test_streaming_equals_batch(seed, cuts):
    rows = Rows(60, 4, seed)
    for streamed, batch in zip(rows.learn(*cuts), rows.learn(), strict=True):
        np.testing.assert_allclose(streamed, batch, rtol=1e-9, atol=1e-9)


def test_streaming_equals_batch_over_several_blocks():
    rows = Rows(10_000, 6)
    for streamed, batch in zip(rows.learn(1, 4097, 5000), rows.learn(), strict=True):
        np.testing.assert_allclose(streamed, batch, rtol=1e-9)
    precision, information = rows.learn()
    weighed = rows.x.T * rows.weight
    np.testing.assert_allclose(precision, weighed @ rows.x + np.diag(1.0 / rows.prior_variance), rtol=1e-9)
    ref = weighed @ rows.y + rows.prior_mean / rows.prior_variance
    np.testing.assert_allclose(information, ref, rtol=1e-9)


def test_the_same_rows_give_the_same_bits():
    rows = Rows(9000, 5)
    for again, once in zip(rows.learn(), rows.learn(), strict=True):
        np.testing.assert_array_equal(again, once)
    precision, _ = rows.learn()
    np.testing.assert_array_equal(precision, precision.T)


def test_float32_features_are_multiplied_in_float64():
    rows = Rows(50, 3)
    narrow = rows.x.astype(np.float32)
    results = []
    for x in (narrow, narrow.astype(np.float64)):
        precision, information = np.zeros((3, 3)), np.zeros(3)
        gram_update(precision, information, x, rows.y, rows.weight)
        results.append((precision, information))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_a_row_of_weight_zero_is_not_there():
    rows = Rows(20, 3)
    rows.weight[5] = 0.0
    kept = np.arange(20) != 5
    precision, information = prior(rows.prior_mean, rows.prior_variance)
    gram_update(precision, information, rows.x[kept], rows.y[kept], rows.weight[kept])
    for all_rows, without in zip(rows.learn(), (precision, information), strict=True):
        np.testing.assert_allclose(all_rows, without, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", np.nan, r"x must be finite, got nan at \[1, 0\]"),
        ("y", np.inf, r"y must be finite, got inf at \[1\]"),
        ("weight", -1.0, r"weight must be in \[0, .*\], got -1.0 at \[1\]"),
        ("weight", np.inf, r"weight must be in \[0, .*\], got inf at \[1\]"),
    ],
)
def test_wrong_rows_are_refused_and_change_nothing(name, value, message):
    rows = Rows(3, 2)
    getattr(rows, name)[1, ...] = value if name != "x" else [value, 0.0]
    precision, information = np.eye(2), np.ones(2)
    with pytest.raises(ContractError, match=message):
        gram_update(precision, information, rows.x, rows.y, rows.weight)
    np.testing.assert_array_equal(precision, np.eye(2))
    np.testing.assert_array_equal(information, np.ones(2))


def test_shapes_that_do_not_fit_are_refused():
    rows = Rows(3, 2)
    with pytest.raises(ContractError, match=r"precision must have shape \(2, 2\), got \(3, 3\)"):
        gram_update(np.eye(3), np.zeros(2), rows.x, rows.y, rows.weight)
    with pytest.raises(ContractError, match="must have the same length, got x: 3, y: 2, weight: 3"):
        gram_update(np.eye(2), np.zeros(2), rows.x, rows.y[:2], rows.weight)
    frozen = np.eye(2)
    frozen.flags.writeable = False
    with pytest.raises(ContractError, match="precision must be writeable"):
        gram_update(frozen, np.zeros(2), rows.x, rows.y, rows.weight)


def test_a_direction_never_seen_is_refused():
    with pytest.raises(ContractError, match="precision must be positive definite, got smallest eigenvalue 0"):
        solve(np.diag([1.0, 0.0]), np.zeros(2))


@pytest.mark.parametrize(("variance", "got"), [(0.0, "0.0"), (-1.0, "-1.0"), (np.nan, "nan")])
def test_a_prior_without_spread_is_refused(variance, got):
    with pytest.raises(ContractError, match=rf"variance must be in \(0, inf\), got {got} at \[1\]"):
        prior(np.zeros(2), np.array([1.0, variance]))


def test_an_unbounded_prior_adds_nothing():
    precision, information = prior(np.array([3.0, 4.0]), np.array([np.inf, 2.0]))
    np.testing.assert_array_equal(precision, [[0.0, 0.0], [0.0, 0.5]])
    np.testing.assert_array_equal(information, [0.0, 2.0])


@given(st.floats(0.0, 1.0))
def test_forgetting_keeps_a_share(keep):
    rows = Rows(30, 3)
    start = prior(rows.prior_mean, rows.prior_variance)
    learned = rows.learn()
    faded = tuple(a.copy() for a in learned)
    forget(*faded, *start, keep)
    for got, was, first in zip(faded, learned, start, strict=True):
        np.testing.assert_allclose(got - first, keep * (was - first), rtol=1e-9, atol=1e-9)


def test_forgetting_more_than_all_is_refused():
    start = prior(np.zeros(2), np.ones(2))
    with pytest.raises(ContractError, match=r"keep must be finite and in \[0, 1\], got 1.5"):
        forget(*(a.copy() for a in start), *start, 1.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "size"), [(130, 7), (200, 33), (63, 40), (65, 384), (70, 385)])
def test_gram_of_every_width_equals_numpy(n, size, dtype):
    g = np.random.default_rng(size)
    x, y, weight = g.normal(size=(n, size)).astype(dtype), g.normal(size=n), g.random(n)
    precision, information = np.eye(size), np.ones(size)
    gram_update(precision, information, x, y, weight)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(
        precision, np.eye(size) + wide.T @ (weight[:, None] * wide), rtol=1e-12, atol=1e-11
    )
    np.testing.assert_allclose(information, 1.0 + wide.T @ (weight * y), rtol=1e-12, atol=1e-11)
    np.testing.assert_array_equal(precision, precision.T)
