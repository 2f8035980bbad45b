"""Posterior mean and standard deviation of every candidate's incrementality, for every member.

With ``x = [z, u]`` of member and candidate and ``w ~ N(mu, Sigma)``: ``tau ~ N(mu'x, x'Sigma x)``.
"""

from __future__ import annotations

import numpy as np

from decider_core.compile import F32, fma, inline, kernel
from decider_core.contracts import check_array, check_finite, check_output
from decider_core.features import Scaling, check_scaling, standardise
from decider_core.microkernel import (
    LANES,
    multiply_row,
    multiply_rows,
    padded_features,
    padded_rows,
    square_norms,
)
from decider_core.packing import PackedPosterior, pack_posterior
from decider_core.tiles import copy_roots, copy_rows, fetch, turn_blocks
from decider_core.vectors import VECTOR

__all__ = ["PackedPosterior", "fatigue", "moments_and_fatigue", "pack_posterior", "posterior_moments"]


_NO_WEIGHTS = np.empty(0, np.float32)
_NO_WEIGHTS.flags.writeable = False


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
    mean, sd, _ = _estimate(packed, _NO_WEIGHTS, z, u, out, None)
    return mean, sd


def moments_and_fatigue(
    packed: PackedPosterior,
    v: F32,
    z: F32,
    u: F32 | None = None,
    out: tuple[F32, F32] | None = None,
    scaling: Scaling | None = None,
) -> tuple[F32, F32, F32]:
    """Return what :func:`posterior_moments` and :func:`fatigue` do, from one reading of the features.

    Parameters
    ----------
    scaling
        How z is made of what is given instead, f32[n_members, d0]: while the tiles are filled, so that z is never
        written down. The same bits as from :func:`decider_core.features.standardise`.

    Returns
    -------
    mean, sd : f32[n_candidates, n_members]
    fatigue : f32[n_members]
        The same bits as those of the two.
    """
    v = check_array("v", v, np.float32, (packed.n_features,))
    check_finite("v", v)
    return _estimate(packed, v, z, u, out, scaling)


def _estimate(
    packed: PackedPosterior,
    v: F32,
    z: F32,
    u: F32 | None,
    out: tuple[F32, F32] | None,
    scaling: Scaling | None,
) -> tuple[F32, F32, F32]:
    p, k = packed.n_pair_features, packed.n_candidates
    n_ones = 0 if scaling is None else int(scaling.intercept)
    z = check_array("z" if scaling is None else "x", z, np.float32, (None, packed.n_features - n_ones))
    shift = factor = _NO_WEIGHTS
    if scaling is not None:
        shift, factor, _ = check_scaling(scaling, z.shape[1])
    n = z.shape[0]
    if u is None:
        u = np.empty((0, k, n), np.float32)
    u = check_array("u", u, np.float32, (p, k, n))
    if p > 0:
        check_finite("u", u)
    mean_out, sd_out = out if out is not None else (None, None)
    mean = check_output("mean", mean_out, np.float32, (k, n))
    sd = check_output("sd", sd_out, np.float32, (k, n))
    weights = (packed.linear, packed.quadratic, packed.pair_mean, packed.pair_factor)
    tile = np.zeros((padded_features(packed.n_features), LANES), np.float32)
    tile[:n_ones] = 1.0
    products = np.empty(((1 + p) * padded_rows(k), LANES), np.float32)
    variance = np.empty((padded_rows(k), LANES), np.float32)
    scratch = (tile, np.zeros_like(tile), products, variance, np.empty(LANES, np.float32))
    tired = np.empty(n if v.size else 0, np.float32)
    if _moments(z, shift, factor, n_ones, u, packed.diagonal, *weights, v, *scratch, mean, sd, tired) > 0:
        check_finite("z", z if scaling is None else standardise(z, scaling))
    return mean, sd, tired


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
    check_finite("v", v)
    if not v.any():
        check_finite("z", z)
        return np.zeros(z.shape[0], np.float32)
    cost = np.empty(z.shape[0], np.float32)
    if _fatigue(z, v, np.zeros((v.size, LANES), np.float32), np.empty(LANES, np.float32), cost) > 0:
        check_finite("z", z)
    return cost


@kernel
def _moments(
    z: F32,
    shift: F32,
    factor: F32,
    n_ones: int,
    u: F32,
    diagonal: bool,
    linear: F32,
    quadratic: F32,
    pair_mean: F32,
    pair_factor: F32,
    v: F32,
    tile: F32,
    squares: F32,
    products: F32,
    variance: F32,
    total: F32,
    mean: F32,
    sd: F32,
    tired: F32,
) -> int:
    # Returns the number of members whose first mean is not finite: that of a member with a feature that is
    # not finite never is, whatever the weights.
    n_members = z.shape[0]
    n_candidates, p = pair_mean.shape
    # Memory ends its own looking ahead at each page, and a page is hardly more than a tile: so the next tile is asked
    # for while this one is worked on, in parts that do not wait for each other.
    n_suspect, numbers, quarter = 0, z.reshape(-1), LANES // 4 * z.shape[1]
    for first in range(0, n_members, LANES):
        # In the last tile the lanes beyond the last member keep what was there: nobody reads their results.
        end = min(first + LANES, n_members)
        _fill_tile(z[first:end], tile[n_ones:])
        if shift.size > 0:
            _standardise_tile(shift, factor, tile[n_ones:])
        if v.size > 0:
            multiply_row(tile, v, total)
            _copy_positive(total, tired[first:end])
        ahead = numbers[end * z.shape[1] :]
        fetch(ahead[:quarter])
        multiply_rows(tile, linear, products)
        fetch(ahead[quarter : 2 * quarter])
        if diagonal:
            _square(tile.reshape(-1), squares.reshape(-1))
            multiply_rows(squares, quadratic, variance)
        else:
            square_norms(tile, quadratic, variance)
        fetch(ahead[2 * quarter : 3 * quarter])
        if p > 0:
            _add_pairs(u, first, end, pair_mean, pair_factor, products, variance)
        if end - first == LANES:
            copy_rows(products, mean[:, first:end])
            copy_roots(variance, sd[:, first:end])
        else:
            for k in range(n_candidates):
                _copy(products[k], mean[k, first:end])
                _copy_root(variance[k], sd[k, first:end])
        fetch(ahead[3 * quarter : 4 * quarter])
        n_suspect += _n_not_finite(mean[0, first:end])
    return n_suspect


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
    n_turned = 0
    if members.shape[0] == LANES and members.shape[1] >= VECTOR:
        turn_blocks(members, tile)
        n_turned = members.shape[1] // VECTOR * VECTOR
    for lane in range(members.shape[0]):
        for i in range(n_turned, members.shape[1]):
            tile[i, lane] = members[lane, i]


@kernel
def _standardise_tile(shift: F32, factor: F32, tile: F32) -> None:
    for i in range(shift.size):
        column = tile[i]
        for lane in range(column.size):
            column[lane] = (column[lane] - shift[i]) * factor[i]


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
def _fatigue(z: F32, v: F32, tile: F32, total: F32, cost: F32) -> int:
    # Returns the number of members whose sum is not finite.
    n_suspect = 0
    for first in range(0, z.shape[0], LANES):
        end = min(first + LANES, z.shape[0])
        _fill_tile(z[first:end], tile)
        multiply_row(tile, v, total)
        n_suspect += _n_not_finite(total[: end - first])
        _copy_positive(total, cost[first:end])
    return n_suspect


@inline
def _n_not_finite(numbers: F32) -> int:
    # x - x is 0 for every finite x, and nan for nan and the infinities.
    n_wrong = 0
    for lane in range(numbers.size):
        n_wrong += numbers[lane] - numbers[lane] != np.float32(0.0)
    return n_wrong


@inline
def _copy_positive(numbers: F32, out: F32) -> None:
    for lane in range(out.size):
        out[lane] = max(numbers[lane], np.float32(0.0))
