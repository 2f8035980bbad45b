"""Compact Gram sums: against their definition, in any cut, and for wrong input."""

from __future__ import annotations

import naive_gram as naive
import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.gram import expand_gram, gram_products_update, n_products, product_place


def rows(n, n_responses, d, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(n_responses, n)), g.normal(size=(n, d)).astype(np.float32), g.uniform(0, 2, n)


def added(response, z, weight, cuts=()):
    products = np.zeros((n_products(len(response)), n_products(z.shape[1])))
    for part in np.split(np.arange(len(z)), cuts):
        gram_products_update(products, np.ascontiguousarray(response[:, part]), z[part], weight[part])
    return products


@pytest.mark.parametrize(("n", "n_responses", "d"), [(1, 1, 1), (7, 3, 2), (20, 2, 4), (5, 4, 1)])
def test_the_whole_matrix_is_that_of_the_definition(n, n_responses, d):
    response, z, weight = rows(n, n_responses, d)
    comp = expand_gram(added(response, z, weight), n_responses, d)
    ref = naive.whole_gram(response.tolist(), z.tolist(), weight.tolist())
    np.testing.assert_allclose(comp, ref, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(comp, comp.T)


def test_parts_add_up_and_the_same_rows_give_the_same_bits():
    response, z, weight = rows(1300, 3, 4)
    once = added(response, z, weight)
    np.testing.assert_allclose(added(response, z, weight, [1, 500, 513]), once, rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(added(response, z, weight), once)


def test_a_place_is_found_from_either_side():
    n = 5
    rows_, columns = np.triu_indices(n)
    for place, (i, j) in enumerate(zip(rows_.tolist(), columns.tolist(), strict=True)):
        assert product_place(i, j, n) == product_place(j, i, n) == place
    assert n_products(n) == len(rows_)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("response", np.nan, "response must be finite, got nan"),
        ("z", np.inf, "z must be finite, got inf"),
        ("weight", -1.0, r"weight must be in \[0, .*got -1.0"),
    ],
)
def test_wrong_rows_are_refused_and_change_nothing(name, value, text):
    given = dict(zip(("response", "z", "weight"), rows(4, 2, 2), strict=True))
    given[name][(0,) * given[name].ndim] = value
    products = np.ones((3, 3))
    with pytest.raises(ContractError, match=text):
        gram_products_update(products, **given)
    np.testing.assert_array_equal(products, 1.0)


def test_shapes_that_do_not_fit_are_refused():
    response, z, weight = rows(4, 2, 2)
    with pytest.raises(ContractError, match=r"products must have shape \(3, 3\)"):
        gram_products_update(np.zeros((3, 4)), response, z, weight)
    with pytest.raises(ContractError, match="must have the same length"):
        gram_products_update(np.zeros((3, 3)), response, z, weight[:3])
    with pytest.raises(ContractError, match=r"products must have shape \(3, 3\)"):
        expand_gram(np.zeros((2, 2)), 2, 2)
