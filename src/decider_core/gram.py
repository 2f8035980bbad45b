"""Gram matrices of rows that are products ``r ⊗ z``: every response times every feature, added up compactly.

A row of a set learner is ``[r_1 z, r_2 z, ..., r_R z]``: R responses (who was chosen, less how likely it was)
times d features. Its Gram matrix has ``(R d)^2`` entries, but entry ((k, i), (l, j)) is the sum of
``(r_k r_l) (z_i z_j)``, which knows neither the order of k and l nor that of i and j. So only
``R (R + 1) / 2`` times ``d (d + 1) / 2`` sums are kept, about a quarter of them, and they are one matrix
product of the response products with the feature products: half the multiply-adds of the symmetric product
(syrk) that the whole matrix takes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.compile import F32, F64, I64
from decider_core.contracts import (
    ContractError,
    check_array,
    check_finite,
    check_output,
    check_range,
    check_same_length,
)

_BLOCK_ROWS: Final = 512
"""Rows whose products are made at a time: the products of 32 responses and of 32 features take 2 MB each."""


def n_products(n: int) -> int:
    """Return how many products of two of n there are, squares included: ``n (n + 1) / 2``."""
    return n * (n + 1) // 2


def product_place(i: int, j: int, n: int) -> int:
    """Return the place of the product of i and j among those of n, whichever comes first."""
    i, j = min(i, j), max(i, j)
    return i * n - i * (i - 1) // 2 + j - i


def gram_products_update(products: F64, response: F64, z: F32, weight: F64) -> None:
    """Add rows, in place: ``products[(k, l), (i, j)] += sum weight r_k r_l z_i z_j``.

    Parameters
    ----------
    products : f64[R (R + 1) / 2, d (d + 1) / 2]
        Changed in place; rows and columns are places of :func:`product_place`.
    response : f64[R, n]
    z : f32[n, d]
        Features; products are made in float64.
    weight : f64[n]
        What each row counts, 0 or more.

    Raises
    ------
    ContractError
        If a shape or dtype does not fit, or a value is not finite, or a weight is negative. Nothing is changed.

    Notes
    -----
    ``n R^2 d^2 / 4`` multiply-adds through BLAS over blocks of fixed size from the first row on: the same rows
    in the same order give the same bits.
    """
    response = check_array("response", response, np.float64, (None, None))
    z = check_array("z", z, np.float32, (None, None))
    weight = check_array("weight", weight, np.float64, (None,))
    n = check_same_length(response=response.T, z=z, weight=weight)
    n_responses, d = len(response), z.shape[1]
    check_output("products", products, np.float64, (n_products(n_responses), n_products(d)))
    check_finite("response", response)
    check_finite("z", z)
    check_range("weight", weight, 0.0, np.finfo(np.float64).max)
    of_responses = np.empty((n_products(n_responses), min(n, _BLOCK_ROWS)))
    of_features = np.empty((n_products(d), min(n, _BLOCK_ROWS)))
    for first in range(0, n, _BLOCK_ROWS):
        rows = slice(first, min(first + _BLOCK_ROWS, n))
        size = rows.stop - first
        features = np.ascontiguousarray(z[rows].T, np.float64)
        _pair_products(response[:, rows] * weight[rows], response[:, rows], of_responses[:, :size])
        _pair_products(features, features, of_features[:, :size])
        products += of_responses[:, :size] @ of_features[:, :size].T


def expand_gram(products: F64, n_responses: int, d: int) -> F64:
    """Lay the sums out as the whole Gram matrix, f64[R d, R d], symmetric to the bit."""
    products = check_array("products", products, np.float64, (n_products(n_responses), n_products(d)))
    if n_responses < 1 or d < 1:
        raise ContractError(f"n_responses and d must be >= 1, got {n_responses} and {d}")
    of_responses, of_features = _places(n_responses), _places(d)
    size = n_responses * d
    whole = products[of_responses[:, None, :, None], of_features[None, :, None, :]]
    return np.ascontiguousarray(whole.reshape(size, size))


def _places(n: int) -> I64:
    """Place of the product of i and j for all i and j, i64[n, n]."""
    places = np.empty((n, n), np.int64)
    rows, columns = np.triu_indices(n)
    places[rows, columns] = np.arange(len(rows))
    places[columns, rows] = np.arange(len(rows))
    return places


def _pair_products(left: F64, right: F64, out: F64) -> None:
    place, n = 0, len(left)
    for i in range(n):
        np.multiply(left[i], right[i:], out=out[place : place + n - i])
        place += n - i
