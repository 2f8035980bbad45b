"""Sandwich covariances of linear estimators: rows apart, or rows of one member together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sandwich(
    bread: NDArray[np.float64],
    scores: NDArray[np.float64],
    member_keys: NDArray[np.uint64] | None = None,
) -> NDArray[np.float64]:
    """Return ``bread (sum_g s_g s_g') bread'`` for the sums s_g of scores over members.

    Parameters
    ----------
    bread
        Inverse of the estimating equations' slope, float64 of shape [D, D].
    scores
        A row's part in the estimating equations, float64 of shape [n, D].
    member_keys
        uint64 of shape [n]; None takes every row for a member of its own.

    Notes
    -----
    With G members it is multiplied by ``G / (G - 1)``; rows apart (HC0) are not.
    """
    if member_keys is None:
        meat: NDArray[np.float64] = scores.T @ scores
    else:
        _, places = np.unique(member_keys, return_inverse=True)
        n_members = int(places.max()) + 1
        sums = np.stack([np.bincount(places, weights=column) for column in scores.T], axis=1)
        meat = np.asarray(n_members / (n_members - 1) * (sums.T @ sums), np.float64)
    return np.asarray(bread @ meat @ bread.T)
