"""Moments within cells: against their definition, in any cut, and for wrong input."""

from __future__ import annotations

import naive_sequences as naive
import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.moments import add_members, merge_moments, no_moments


def drawn(n=500, m=3, n_cells=2, seed=0):
    g = np.random.default_rng(seed)
    columns = g.exponential(size=(m, n)) + 50.0
    columns[1] += columns[0]
    return g.integers(0, n_cells, n).astype(np.uint8), columns


def moments_of(cells, columns, n_cells=2):
    moments = no_moments(n_cells, len(columns))
    add_members(moments, cells, columns)
    return moments


def test_it_is_the_definition():
    cells, columns = drawn()
    got = moments_of(cells, columns)
    for cell in range(2):
        mine = columns[:, cells == cell]
        means, products, cubes = naive.moments(mine.tolist())
        assert got.counts[cell] == mine.shape[1]
        np.testing.assert_allclose(got.means[cell], means, rtol=1e-12)
        np.testing.assert_allclose(got.products[cell], products, rtol=1e-10)
        np.testing.assert_allclose(got.cubes[cell], cubes, rtol=1e-9)
        np.testing.assert_allclose(got.covariance()[cell], np.cov(mine), rtol=1e-10)


def test_parts_merge_to_the_whole():
    cells, columns = drawn()
    whole = moments_of(cells, columns)
    parts = [moments_of(cells[at], columns[:, at]) for at in (slice(0, 3), slice(3, 200), slice(200, 500))]
    for got, ref in zip(merge_moments(merge_moments(parts[0], parts[1]), parts[2]), whole, strict=True):
        np.testing.assert_allclose(got, ref, rtol=1e-9)
    again = moments_of(cells[:200], columns[:, :200])
    add_members(again, cells[200:], columns[:, 200:])
    for got, ref in zip(again, whole, strict=True):
        np.testing.assert_array_equal(got, ref)


def test_nobody_and_what_does_not_vary():
    empty = no_moments(2, 1)
    assert np.isnan(empty.covariance()).all()
    same = moments_of(np.zeros(5, np.uint8), np.full((1, 5), 3.0))
    assert same.skewness().tolist() == [[0.0], [0.0]]
    merged = merge_moments(empty, same)
    np.testing.assert_array_equal(merged.means, same.means)


def test_skewness_of_an_exponential_is_two():
    # Standard error about 0.05 over 100,000 members: off by 0.4 has probability below 1e-9.
    columns = np.random.default_rng(3).exponential(size=(1, 100_000))
    assert moments_of(np.zeros(100_000, np.uint8), columns, 1).skewness()[0, 0] == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize(
    ("cells", "columns", "text"),
    [
        (np.array([2], np.uint8), np.ones((1, 1)), "cells must be below 2, got 2"),
        (np.array([0], np.uint8), np.array([[np.nan]]), "columns must be finite"),
        (np.array([0], np.uint8), np.ones((2, 1)), "columns must have shape"),
        (np.array([0], np.int64), np.ones((1, 1)), "cells must have dtype uint8"),
    ],
)
def test_wrong_input_is_refused_and_changes_nothing(cells, columns, text):
    moments = no_moments(2, 1)
    with pytest.raises(ContractError, match=text):
        add_members(moments, cells, columns)
    assert moments.counts.sum() == 0
    with pytest.raises(ContractError, match="same shape"):
        merge_moments(moments, no_moments(3, 1))
