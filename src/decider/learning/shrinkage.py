"""How far slopes are pulled to zero: a prior of that, and what the data say of it.

Slopes share a prior ``N(0, s)``. Its scale is neither set by hand nor put where the evidence is largest,
which may be at s = 0 and would then be certain that nothing depends on the features. The factor u by which a
typical slope is pulled to zero has a uniform prior on (0, 1) [1]_ [2]_, and what is learnt is averaged over a
grid of u, each by its evidence.

References
----------
.. [1] Daniels, "A prior for the variance in hierarchical models", Canadian J. of Statistics 27, 1999.
.. [2] Natarajan, Kass, "Reference Bayesian methods for generalized linear mixed models", JASA 95, 2000.
.. [3] Patterson, Thompson, "Recovery of inter-block information when block sizes are unequal", Biometrika 58,
       1971; MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Even steps of log(u / (1 - u)): u reaches down to 2e-9, for with millions of rows hardly any pull is left. A
# step takes the prior probability of its length in u.
_LOGITS: Final = np.linspace(-20.0, 6.0, 131)
_FACTORS: Final = 1.0 / (1.0 + np.exp(-_LOGITS))
_LOG_PRIOR: Final = np.log(_FACTORS * (1.0 - _FACTORS))
_UNSEEN: Final = 1e-9


class Grid(NamedTuple):
    """What is learnt under every factor u of the grid.

    Parameters
    ----------
    share
        Posterior probability of each u, float64 of shape [131].
    factor
        The u.
    penalty
        ``sigma^2 / s``, what u adds to every eigenvalue.
    slopes
        Posterior means along the eigenvectors, float64 of shape [131, r].
    noise
        The noise variance at its best.
    """

    share: NDArray[np.float64]
    factor: NDArray[np.float64]
    penalty: NDArray[np.float64]
    slopes: NDArray[np.float64]
    noise: NDArray[np.float64]


def directions(
    gram: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return eigenvalues and eigenvectors of a centred Gram matrix, and which of them the rows span."""
    values, vectors = np.linalg.eigh(gram)
    return values, vectors, values > _UNSEEN * values.max(initial=0.0)


def shrink(values: NDArray[np.float64], rotated: NDArray[np.float64], squares: float, freedom: float) -> Grid:
    """Learn the slopes along eigenvectors under every u.

    Parameters
    ----------
    values
        Eigenvalues of the centred Gram matrix, all greater than zero, float64 of shape [r].
    rotated
        The eigenvectors times the centred ``sum z y``, float64 of shape [r].
    squares
        The centred ``sum y^2``, greater than zero.
    freedom
        Rows less one for the intercept, which is integrated out.
    """
    typical = values.mean() if len(values) else 1.0
    penalty = typical * _FACTORS / (1 - _FACTORS)
    raised = values + penalty[:, None]
    slopes = rotated / raised
    residual = np.maximum(squares - (rotated * slopes).sum(axis=1), np.finfo(np.float64).eps * squares)
    # log p(y | u), the restricted likelihood [3]_ with the noise variance at its best value.
    evidence = 0.5 * (np.log(penalty[:, None] / raised).sum(axis=1) - freedom * np.log(residual))
    posterior = evidence + _LOG_PRIOR
    share = np.exp(posterior - posterior.max())
    return Grid(share / share.sum(), _FACTORS, penalty, slopes, residual / freedom)
