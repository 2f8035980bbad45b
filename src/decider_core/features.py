"""From a snapshot's columns to the feature vector z of the linear maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.compile import F32, F64, I64, U8, kernel
from decider_core.contracts import ContractError, check_array, check_finite


class Scaling(NamedTuple):
    """How z is made of columns x: ``(x - mean) * inverse_scale``, after a column of ones if there is an intercept."""

    mean: F32
    """f32[d0]"""
    inverse_scale: F32
    """f32[d0]: 0 for a constant column."""
    intercept: bool


def check_scaling(scaling: Scaling, d0: int) -> Scaling:
    """Return `scaling` with its arrays checked: of d0 columns, and finite."""
    mean = check_array("mean", scaling.mean, np.float32, (d0,))
    inverse_scale = check_array("inverse_scale", scaling.inverse_scale, np.float32, (d0,))
    check_finite("mean", mean)
    check_finite("inverse_scale", inverse_scale)
    return Scaling(mean, inverse_scale, bool(scaling.intercept))


def standardise(x: F32, scaling: Scaling) -> F32:
    """Return z, made of the columns x.

    Parameters
    ----------
    x : f32[n_members, d0]
        Columns of the snapshot.
    scaling
        How.

    Returns
    -------
    f32[n_members, d0 + intercept]

    Raises
    ------
    ContractError
        If a shape or dtype does not fit, or a value is not finite.
    """
    x = check_array("x", x, np.float32, (None, None))
    d0 = x.shape[1]
    mean, inverse_scale, intercept = check_scaling(scaling, d0)
    check_finite("x", x)
    z = np.empty((x.shape[0], d0 + intercept), np.float32)
    _standardise(x, mean, inverse_scale, z)
    return z


def column_moments(x: F32) -> tuple[F64, F64]:
    """Return each column's mean, and its sum of squared deviations from it.

    Parameters
    ----------
    x : f32[n >= 1, d0]

    Returns
    -------
    mean, squares : f64[d0]
        Rows are added one after the other, in float64.
    """
    x = check_array("x", x, np.float32, (None, None))
    if not len(x):
        raise ContractError("x must have at least one row, got none")
    mean, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    _column_moments(x, mean, squares)
    return mean, squares


def leaf_columns(
    leaves: U8,
    leaf_offsets: I64,
    value: F64,
    share: F32,
    n_score_trees: int,
    score_mean: float,
    score_scale: float,
    z: F32,
    first: int,
) -> None:
    """Write the columns of trees into z, from column `first`: a prognosis, then one for each leaf.

    Parameters
    ----------
    leaves : u8[n_members, n_trees]
        From :func:`decider_core.forest.forest_leaves`.
    leaf_offsets : i64[n_trees + 1]
        Where the leaves of each tree begin.
    value : f64[n_leaves]
        Of all trees' leaves. The prognosis is their sum over the first trees, one after the other.
    share : f32[n_leaves]
        What is taken from each leaf's one or zero.
    n_score_trees
        How many trees, from the first, make the prognosis.
    score_mean, score_scale
        What is taken from it, then what it is multiplied with.
    z : f32[n_members, first + 1 + n_leaves]
        Written to.

    Raises
    ------
    ContractError
        If a shape or dtype does not fit, or a leaf is none of its tree's.
    """
    leaves = check_array("leaves", leaves, np.uint8, (None, None))
    n_trees = leaves.shape[1]
    leaf_offsets = check_array("leaf_offsets", leaf_offsets, np.int64, (n_trees + 1,))
    value = check_array("value", value, np.float64, (leaf_offsets[-1],))
    share = check_array("share", share, np.float32, (value.size,))
    if z.dtype != np.float32 or z.shape != (len(leaves), first + 1 + value.size):
        raise ContractError(
            f"z must be float32 of shape {(len(leaves), first + 1 + value.size)}, got {z.dtype} {z.shape}"
        )
    if not 0 <= n_score_trees <= n_trees:
        raise ContractError(f"n_score_trees must be 0 to {n_trees}, got {n_score_trees}")
    counts = np.diff(leaf_offsets)
    if len(leaves) and (leaves.max(axis=0) >= counts).any():
        raise ContractError(f"leaves must be below {counts}, got {leaves.max(axis=0)}")
    _leaf_columns(leaves, leaf_offsets, value, share, n_score_trees, score_mean, score_scale, z, first)


@kernel
def _column_moments(x: F32, mean: F64, squares: F64) -> None:
    n, d0 = x.shape
    for i in range(n):
        row = x[i]
        for j in range(d0):
            mean[j] += np.float64(row[j])
    for j in range(d0):
        mean[j] /= n
    for i in range(n):
        row = x[i]
        for j in range(d0):
            apart = np.float64(row[j]) - mean[j]
            squares[j] += apart * apart


@kernel
def _leaf_columns(
    leaves: U8,
    leaf_offsets: I64,
    value: F64,
    share: F32,
    n_score_trees: int,
    score_mean: float,
    score_scale: float,
    z: F32,
    first: int,
) -> None:
    for member in range(leaves.shape[0]):
        own, columns = leaves[member], z[member, first + 1 :]
        for j in range(share.size):
            columns[j] = -share[j]
        score = 0.0
        for tree in range(own.size):
            leaf = leaf_offsets[tree] + own[tree]
            columns[leaf] = np.float32(1.0) - share[leaf]
            if tree < n_score_trees:
                score += value[leaf]
        z[member, first] = np.float32((score - score_mean) * score_scale)


@kernel
def _standardise(x: F32, mean: F32, inverse_scale: F32, z: F32) -> None:
    d0 = mean.size
    ones = z.shape[1] - d0
    for member in range(x.shape[0]):
        for i in range(ones):
            z[member, i] = np.float32(1.0)
        columns, standardised = x[member], z[member, ones:]
        for i in range(d0):
            standardised[i] = (columns[i] - mean[i]) * inverse_scale[i]
