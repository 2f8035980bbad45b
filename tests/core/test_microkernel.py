"""The two tile products against NumPy in float64, in every lane, at sizes around the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from decider_core.compile import INTERPRETED, kernel
from decider_core.microkernel import (
    LANES,
    multiply_rows,
    pack_factors,
    pack_rows,
    padded_features,
    padded_rows,
    square_norms,
)

sizes = pytest.mark.parametrize("n_rows", [1, 4, 5, 9])
features = pytest.mark.parametrize("d", [1, 2, 3, 6] if INTERPRETED else [1, 2, 3, 8, 31, 64])


@kernel
def _multiply(tile, rows, out):
    multiply_rows(tile, rows, out)


@kernel
def _norms(tile, factors, out):
    square_norms(tile, factors, out)


def make_tile(d: int) -> np.ndarray:
    tile = np.zeros((padded_features(d), LANES), np.float32)
    tile[:d] = np.random.default_rng(d).normal(size=(d, LANES))
    return tile


@sizes
@features
def test_multiply_rows_is_the_matrix_product(n_rows, d):
    matrix, tile = np.random.default_rng(1).normal(size=(n_rows, d)), make_tile(d)
    out = np.full((padded_rows(n_rows), LANES), np.nan, np.float32)
    _multiply(tile, pack_rows(matrix), out)
    np.testing.assert_allclose(out[:n_rows], matrix @ tile[:d], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(out[n_rows:], 0.0)


@sizes
@features
def test_square_norms_is_the_quadratic_form(n_rows, d):
    factors, tile = np.tril(np.random.default_rng(2).normal(size=(n_rows, d, d))), make_tile(d)
    out = np.full((padded_rows(n_rows), LANES), np.nan, np.float32)
    _norms(tile, pack_factors(factors), out)
    ref = ((factors.transpose(0, 2, 1) @ tile[:d]) ** 2).sum(axis=1)
    np.testing.assert_allclose(out[:n_rows], ref, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out[n_rows:], 0.0)


def test_every_lane_gives_the_same_bits():
    d, k = 7, 5
    rng = np.random.default_rng(3)
    tile = np.zeros((padded_features(d), LANES), np.float32)
    tile[:d] = rng.normal(size=(d, 1))
    out = np.empty((padded_rows(k), LANES), np.float32)
    _multiply(tile, pack_rows(rng.normal(size=(k, d))), out)
    assert len(np.unique(out, axis=1).T) == 1
    _norms(tile, pack_factors(np.tril(rng.normal(size=(k, d, d)))), out)
    assert len(np.unique(out, axis=1).T) == 1


def test_what_is_above_the_diagonal_and_in_padding_is_not_read_as_weight():
    # Columns come in pairs: the second of a pair has no entry in the first's row.
    factors = np.full((1, 3, 3), 1.0)
    packed = pack_factors(factors)
    tile = make_tile(3)
    out = np.empty((4, LANES), np.float32)
    _norms(tile, packed, out)
    lower = np.tril(factors[0])
    np.testing.assert_allclose(out[0], ((lower.T @ tile[:3]) ** 2).sum(axis=0), rtol=1e-5)
