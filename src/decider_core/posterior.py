"""Conjugate Gaussian updates of linear weights, in information form: what arrives in parts adds up.

With ``y = x'w + noise``, noise of variance ``1 / weight``, and ``w ~ N(mean, covariance)``, the precision
``inverse(covariance)`` and the information ``precision @ mean`` of the posterior are sums over the rows seen
(Bishop, "Pattern Recognition and Machine Learning", 2006, equations 3.50 and 3.51).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.compile import F32, F64
from decider_core.contracts import (
    ContractError,
    check_array,
    check_finite,
    check_number,
    check_output,
    check_range,
    check_same_length,
)
from decider_core.gram_tiles import add_gram

_BLOCK_ROWS: Final = 4096
"""Rows taken into one product: 4096 rows of 64 features, in float64, fit in L2."""
_NARROW: Final = 384
"""Columns up to which a kernel of our own is faster than BLAS."""


def gram_update(precision: F64, information: F64, x: F32 | F64, y: F64, weight: F64) -> None:
    """Add rows to a posterior, in place: ``precision += x'Wx`` and ``information += x'Wy``.

    Parameters
    ----------
    precision : f64[D, D]
        Changed in place; stays symmetric to the bit if it was.
    information : f64[D]
        Changed in place.
    x : f32[n, D] or f64[n, D]
        Features; products are made in float64.
    y : f64[n]
        Responses.
    weight : f64[n]
        What each row counts: the inverse of its noise variance, 0 or more.

    Raises
    ------
    ContractError
        If a shape or dtype does not fit, or a value is not finite, or a weight is negative. Nothing is
        changed.

    Notes
    -----
    ``n D^2 / 2`` multiply-adds, in registers up to 384 columns and through BLAS beyond, over blocks of fixed
    size from the first row on: the same rows in the same order give the same bits. Cutting them elsewhere
    changes the order of the sums, and so the last bits.
    """
    size = information.size if isinstance(information, np.ndarray) else None
    check_array("information", information, np.float64, (None,))
    check_output("information", information, np.float64, (size or 0,))
    check_output("precision", precision, np.float64, (size or 0, size or 0))
    kind = np.float32 if isinstance(x, np.ndarray) and x.dtype == np.float32 else np.float64
    x = check_array("x", x, kind, (None, size))
    y = check_array("y", y, np.float64, (None,))
    weight = check_array("weight", weight, np.float64, (None,))
    n = check_same_length(x=x, y=y, weight=weight)
    check_finite("x", x)
    check_finite("y", y)
    check_range("weight", weight, 0.0, np.finfo(np.float64).max)
    if x.shape[1] <= _NARROW:
        gram = add_gram(x, y, weight)
        upper = np.triu(gram[:-1, :-1])
        precision += upper + np.triu(upper, 1).T
        information += gram[:-1, -1]
        return
    for first in range(0, n, _BLOCK_ROWS):
        rows = slice(first, first + _BLOCK_ROWS)
        root = np.sqrt(weight[rows])
        scaled = x[rows] * root[:, None]
        # NumPy computes A'A as half a product and mirrors it.
        precision += scaled.T @ scaled
        information += scaled.T @ (root * y[rows])


def solve(precision: F64, information: F64) -> tuple[F64, F64]:
    """Return the posterior that a precision and an information stand for.

    Parameters
    ----------
    precision : f64[D, D]
        Symmetric, positive definite.
    information : f64[D]

    Returns
    -------
    mean : f64[D]
    covariance : f64[D, D]
        Symmetric to the bit.

    Raises
    ------
    ContractError
        If a value is not finite or the precision is not positive definite: then some direction of the weights
        was never seen, and needs a prior.
    """
    precision = check_array("precision", precision, np.float64, (None, None))
    size = precision.shape[0]
    precision = check_array("precision", precision, np.float64, (size, size))
    information = check_array("information", information, np.float64, (size,))
    check_finite("precision", precision)
    check_finite("information", information)
    try:
        lower = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(precision)[0]
        raise ContractError(
            f"precision must be positive definite, got smallest eigenvalue {smallest:.3g}"
        ) from None
    # precision = L L', so covariance = R'R with R = inverse(L).
    root = np.linalg.inv(lower)
    return root.T @ (root @ information), root.T @ root


def prior(mean: F64, variance: F64) -> tuple[F64, F64]:
    """Return the precision, f64[D, D], and information, f64[D], of independent Gaussian weights.

    Parameters
    ----------
    mean, variance : f64[D]
        Of each weight; variances above 0, or inf for a weight of which nothing is known.
    """
    mean = check_array("mean", mean, np.float64, (None,))
    variance = check_array("variance", variance, np.float64, mean.shape)
    check_finite("mean", mean)
    check_range("variance", variance, 0.0, np.inf, open_low=True)
    precision = 1.0 / variance
    return np.diag(precision), precision * mean


def forget(
    precision: F64, information: F64, prior_precision: F64, prior_information: F64, keep: float
) -> None:
    """Let what was learned fade towards the prior, in place: ``keep`` of it stays.

    Parameters
    ----------
    precision, information : f64[D, D], f64[D]
        The posterior, prior included; changed in place.
    prior_precision, prior_information : f64[D, D], f64[D]
        What it fades to.
    keep
        In [0, 1]. Applied once a day, 0.5 gives a half-life of one day.
    """
    keep = check_number("keep", keep, 0.0, 1.0)
    size = prior_information.size
    check_array("prior_precision", prior_precision, np.float64, (size, size))
    check_array("prior_information", prior_information, np.float64, (size,))
    check_output("precision", precision, np.float64, (size, size))
    check_output("information", information, np.float64, (size,))
    precision *= keep
    precision += (1.0 - keep) * prior_precision
    information *= keep
    information += (1.0 - keep) * prior_information
