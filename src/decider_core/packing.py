"""Gaussian posteriors of all candidates, factored and laid down in the order in which the kernel reads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.compile import F32, F64
from decider_core.contracts import ContractError, check_array, check_range
from decider_core.microkernel import pack_factors, pack_rows, padded_rows

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
        If there is no candidate, a value is not finite in float32, a covariance is not symmetric or not
        positive semidefinite, or p leaves no weight for z.
    """
    mean = check_array("mean", mean, np.float64, (None, None))
    n, size = mean.shape
    p = n_pair_features
    if not 0 <= p < size:
        raise ContractError(f"n_pair_features must be in [0, {size - 1}] for {size} weights, got {p}")
    diagonal = isinstance(covariance, np.ndarray) and covariance.ndim == 2
    name = "variance" if diagonal else "covariance"
    covariance = check_array(name, covariance, np.float64, (n, size) if diagonal else (n, size, size))
    if n == 0:
        raise ContractError("mean must hold at least one candidate, got none")
    largest = float(np.finfo(np.float32).max)
    check_range("mean", mean, -largest, largest)
    check_range(name, covariance, 0.0 if diagonal else -largest, largest)
    if diagonal:
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
