"""Posterior mean and standard deviation of every candidate's incrementality, for every member.

With ``x = [z, u]`` of member and candidate and ``w ~ N(mu, Sigma)``: ``tau ~ N(mu'x, x'Sigma x)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.compile import F32, F64, fma, inline, kernel
from decider_core.contracts import ContractError, check_array, check_finite, check_output, check_range
from decider_core.microkernel import (
    LANES,
    multiply_rows,
    pack_factors,
    pack_rows,
    padded_features,
    padded_rows,
    square_norms,
)

# How far a covariance may be from symmetric, or below zero, relative to its largest entry or eigenvalue: what
# float64 arithmetic leaves behind in a matrix that is right.
_SYMMETRY = 1e-8
_ROUNDING = 1e-10


class PackedPosterior(NamedTuple):
    """A posterior in the order in which the kernel reads it; made by :func:`pack_posterior`.

    With the covariance in the order ``[u, z]`` and its lower Cholesky factor ``L``, the columns of ``L``
    that belong to z see z alone, so they are one product for the whole tile. The first p columns are a
    part linear in z, and a part in u that differs for each candidate.
    """

    n_candidates: int
    n_features: int
    """d, the length of z."""
    n_pair_features: int
    """p, the length of u."""
    diagonal: bool
    linear: F32
    """Packed rows, (1 + p) for each candidate: the mean's weights of z; the z part of the first p columns."""
    quadratic: F32
    """Packed factors over z; if diagonal, packed rows of the variances instead."""
    pair_mean: F32
    """f32[n_candidates, p]: the mean's weights of u."""
    pair_factor: F32
    """f32[n_candidates, p, p]: the lower triangle of the first p columns."""


def pack_posterior(mean: F64, covariance: F64, n_pair_features: int = 0) -> PackedPosterior:
    """Pack the Gaussian posteriors of all candidates.

    Parameters
    ----------
    mean : f64[n_candidates, d + p]
        Means of the weights of ``[z, u]``.
    covariance : f64[n_candidates, d + p, d + p] or f64[n_candidates, d + p]
        Covariances of the weights; or their variances, when independent (the diagonal form).
    n_pair_features
        p, how many of the weights, the last ones, belong to pair features.

    Raises
    ------
    ContractError
        If a value is not finite, a covariance is not symmetric or not positive semidefinite, or p leaves no
        weight for z.
    """
    mean = check_array("mean", mean, np.float64, (None, None))
    n, size = mean.shape
    p = n_pair_features
    if not 0 <= p < size:
        raise ContractError(f"n_pair_features must be in [0, {size - 1}] for {size} weights, got {p}")
    diagonal = isinstance(covariance, np.ndarray) and covariance.ndim == 2
    name = "variance" if diagonal else "covariance"
    covariance = check_array(name, covariance, np.float64, (n, size) if diagonal else (n, size, size))
    check_finite("mean", mean)
    check_finite(name, covariance)
    if diagonal:
        check_range(name, covariance, 0.0, np.inf)
        factors = np.zeros((n, size, p))
        factors[:, np.arange(p), np.arange(p)] = np.sqrt(covariance[:, size - p :])
        quadratic = pack_rows(covariance[:, : size - p])
    else:
        u_first = np.r_[size - p : size, : size - p]
        factors = _lower_factors(covariance[:, u_first[:, None], u_first])
        quadratic = pack_factors(factors[:, p:, p:])
    padded = padded_rows(n)
    linear = np.zeros((1 + p, padded, size - p))
    linear[0, :n] = mean[:, : size - p]
    linear[1:, :n] = factors[:, p:, :p].transpose(2, 0, 1)
    return PackedPosterior(
        n_candidates=n,
        n_features=size - p,
        n_pair_features=p,
        diagonal=diagonal,
        linear=_frozen(pack_rows(linear.reshape(-1, size - p))),
        quadratic=_frozen(quadratic),
        pair_mean=_frozen(mean[:, size - p :].astype(np.float32)),
        pair_factor=_frozen(factors[:, :p, :p].astype(np.float32)),
    )


def posterior_moments(
    packed: PackedPosterior,
    z: F32,
    u: F32 | None = None,
    out: tuple[F32, F32] | None = None,
) -> tuple[F32, F32]:
    """Return the posterior mean and standard deviation of every candidate for every member.

    Parameters
    ----------
    packed
        From :func:`pack_posterior`.
    z : f32[n_members, d]
        Member features.
    u : f32[p, n_candidates, n_members], optional
        Pair features; None if the posterior has none.
    out : (f32[n_candidates, n_members], f32[n_candidates, n_members]), optional
        Where to write mean and standard deviation.

    Returns
    -------
    mean, sd : f32[n_candidates, n_members]
        A member's values have the same bits in every batch and at every place in it.

    Raises
    ------
    ContractError
        If a shape or dtype does not fit, or a feature is not finite.

    Notes
    -----
    Per member and candidate ``d (d + 1) / 2 + d`` multiply-adds, p more products of length d with
    pair features, and 2 d for the diagonal form. Members are worked on 32 at a time: fewer cost as much
    as 32.
    """
    p, k = packed.n_pair_features, packed.n_candidates
    z = check_array("z", z, np.float32, (None, packed.n_features))
    n = z.shape[0]
    if u is None:
        u = np.empty((0, k, n), np.float32)
    u = check_array("u", u, np.float32, (p, k, n))
    check_finite("z", z)
    check_finite("u", u)
    mean_out, sd_out = out if out is not None else (None, None)
    mean = check_output("mean", mean_out, np.float32, (k, n))
    sd = check_output("sd", sd_out, np.float32, (k, n))
    weights = (packed.linear, packed.quadratic, packed.pair_mean, packed.pair_factor)
    tile = np.zeros((padded_features(packed.n_features), LANES), np.float32)
    products = np.empty(((1 + p) * padded_rows(k), LANES), np.float32)
    variance = np.empty((padded_rows(k), LANES), np.float32)
    scratch = (tile, np.zeros_like(tile), products, variance)
    _moments(z, u, packed.diagonal, *weights, *scratch, mean, sd)
    return mean, sd


def fatigue(z: F32, v: F32) -> F32:
    """Return what each further message costs a member, ``max(0, v'z)``, f32[n_members].

    Parameters
    ----------
    z : f32[n_members, d]
    v : f32[d]
        Weights of fatigue.
    """
    z = check_array("z", z, np.float32, (None, None))
    v = check_array("v", v, np.float32, (z.shape[1],))
    check_finite("z", z)
    check_finite("v", v)
    cost = np.empty(z.shape[0], np.float32)
    _fatigue(z, v, cost)
    return cost


def _frozen(array: F32) -> F32:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def _lower_factors(covariance: F64) -> F64:
    """Return lower triangular L with L L' = covariance, f64[n, size, size], also where that is singular."""
    largest = np.abs(covariance).max(axis=(1, 2), initial=0.0)
    skew = np.abs(covariance - covariance.transpose(0, 2, 1)).max(axis=(1, 2), initial=0.0)
    for k in np.flatnonzero(skew > _SYMMETRY * largest):
        raise ContractError(f"covariance must be symmetric, got entries {skew[k]:.3g} apart at candidate {k}")
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        return np.stack([_lower_factor(matrix, k) for k, matrix in enumerate(covariance)])


def _lower_factor(covariance: F64, k: int) -> F64:
    # covariance = B B' with B = V sqrt(eigenvalues); B' = Q R gives covariance = R'R.
    eigenvalues, vectors = np.linalg.eigh(covariance)
    if eigenvalues[0] < -_ROUNDING * np.abs(eigenvalues).max():
        raise ContractError(
            f"covariance must be positive semidefinite, got eigenvalue {eigenvalues[0]:.3g} at candidate {k}"
        )
    root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    upper: F64 = np.linalg.qr(root.T)[1]
    return upper.T


@kernel
def _moments(
    z: F32,
    u: F32,
    diagonal: bool,
    linear: F32,
    quadratic: F32,
    pair_mean: F32,
    pair_factor: F32,
    tile: F32,
    squares: F32,
    products: F32,
    variance: F32,
    mean: F32,
    sd: F32,
) -> None:
    n_members = z.shape[0]
    n_candidates, p = pair_mean.shape
    for first in range(0, n_members, LANES):
        # In the last tile the lanes beyond the last member keep what was there: nobody reads their results.
        end = min(first + LANES, n_members)
        _fill_tile(z[first:end], tile)
        multiply_rows(tile, linear, products)
        if diagonal:
            _square(tile.reshape(-1), squares.reshape(-1))
            multiply_rows(squares, quadratic, variance)
        else:
            square_norms(tile, quadratic, variance)
        if p > 0:
            _add_pairs(u, first, end, pair_mean, pair_factor, products, variance)
        for k in range(n_candidates):
            _copy(products[k], mean[k, first:end])
            _copy_root(variance[k], sd[k, first:end])


@kernel
def _add_pairs(
    u: F32, first: int, end: int, pair_mean: F32, pair_factor: F32, products: F32, variance: F32
) -> None:
    # mean += a'u, and for each of the first p columns j: variance += ((L'x)_j)^2 with
    #     (L'x)_j = sum_{i >= j} L_ij u_i + (what products holds of z).
    p = pair_mean.shape[1]
    for k in range(pair_mean.shape[0]):
        for j in range(p):
            _add_multiple(pair_mean[k, j], u[j, k, first:end], products[k])
            column = products[(1 + j) * variance.shape[0] + k]
            for i in range(j, p):
                _add_multiple(pair_factor[k, i, j], u[i, k, first:end], column)
            _add_square(column, variance[k])


# Below, the loops over the members of a tile. They take views that start at zero, since an index that numba
# cannot prove non-negative keeps the compiler from vectorising.


@inline
def _fill_tile(members: F32, tile: F32) -> None:
    for lane in range(members.shape[0]):
        for i in range(members.shape[1]):
            tile[i, lane] = members[lane, i]


@inline
def _square(numbers: F32, squares: F32) -> None:
    for i in range(numbers.size):
        squares[i] = numbers[i] * numbers[i]


@inline
def _add_multiple(weight: np.float32, numbers: F32, total: F32) -> None:
    for lane in range(numbers.size):
        total[lane] = fma(weight, numbers[lane], total[lane])


@inline
def _add_square(numbers: F32, total: F32) -> None:
    for lane in range(numbers.size):
        total[lane] = fma(numbers[lane], numbers[lane], total[lane])


@inline
def _copy(numbers: F32, out: F32) -> None:
    for lane in range(out.size):
        out[lane] = numbers[lane]


@inline
def _copy_root(numbers: F32, out: F32) -> None:
    for lane in range(out.size):
        out[lane] = np.sqrt(numbers[lane])


@kernel
def _fatigue(z: F32, v: F32, cost: F32) -> None:
    for member in range(z.shape[0]):
        total = np.float32(0.0)
        for i in range(v.size):
            total = fma(v[i], z[member, i], total)
        cost[member] = max(total, np.float32(0.0))
