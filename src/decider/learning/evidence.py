"""How far groups of coefficients are pulled to zero: one scale a group, learnt from sums over rows.

With ``y = x . w + noise`` of variance ``sigma^2`` and ``w_j ~ N(0, s_g)`` for j in group g, the scales and the
noise variance are put where their posterior is largest: the evidence ``p(y | s, sigma^2)``, with w integrated
out [1]_, times a prior on every scale. The prior says that the factor by which a typical coefficient of the
group is pulled to zero, ``sigma^2 / (sigma^2 + s_g lambda_g)`` with lambda_g its row count in the Gram
matrix, is as likely in any part of (0, 1) [2]_. So no group is ever taken for certainly zero, which evidence
alone often does where a group has few coefficients.

References
----------
.. [1] MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
.. [2] Daniels, "A prior for the variance in hierarchical models", Canadian J. of Statistics 27, 1999.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

_TOLERANCE: Final = 1e-9
_MAX_STEPS: Final = 200
_LONGEST: Final = 16.0
"""How far a logarithm may go from its start, at which half of a typical coefficient is pulled away: to where a
part in 1e-7 is, which still tells features that depend on one another apart."""


class Scales(NamedTuple):
    """What the sums say of scales, noise and coefficients.

    Parameters
    ----------
    variance
        ``s_g`` of every group, float64 of shape [G].
    noise_variance
        ``sigma^2``.
    mean
        Posterior mean of the coefficients, float64 of shape [D].
    covariance
        Posterior covariance, float64 of shape [D, D], symmetric.
    effective
        How many of each group's coefficients the rows determine, float64 of shape [G].
    log_evidence
        ``log p(y | s, sigma^2)``.
    """

    variance: NDArray[np.float64]
    noise_variance: float
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    effective: NDArray[np.float64]
    log_evidence: float


def learn_scales(
    gram: NDArray[np.float64],
    information: NDArray[np.float64],
    squares: float,
    n_rows: float,
    group: NDArray[np.int64],
    free_variance: float,
    *,
    noise_variance: float | None = None,
) -> Scales:
    """Learn the scale of every group, the noise, and the posterior of the coefficients under them.

    Parameters
    ----------
    gram, information, squares
        ``sum x x'``, float64 of shape [D, D]; ``sum x y``, of shape [D]; ``sum y^2`` > 0.
    n_rows
        Rows in the sums; with forgetting, their sum of weights.
    group
        Group of every coefficient, int64 of shape [D], 0 to G - 1; -1 for a free one.
    free_variance
        Prior variance of a free coefficient: so large that rows overrule it, yet finite, so that a
        coefficient that no row speaks of has a distribution too.
    noise_variance
        Where it is known, such as 1 for rows already divided by their noise; learnt unless given.

    Notes
    -----
    A step costs a Cholesky factor and an inverse of a D x D matrix; some twenty to forty steps are taken, by
    quasi-Newton with exact gradients.
    """
    n_groups = int(group.max(initial=-1)) + 1
    members = [np.flatnonzero(group == g) for g in range(n_groups)]
    diagonal = np.diag(gram)
    known = noise_variance is not None
    noise = float(noise_variance) if noise_variance is not None else squares / n_rows
    # Coefficients that no row speaks of say nothing of a typical one.
    typical = np.array([_mean_of_positive(diagonal[own]) for own in members])
    even = noise / np.where(typical > 0, typical, 1.0)

    def objective(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        variance = np.exp(place[:n_groups])
        sigma2 = noise if known else float(np.exp(place[-1]))
        state = _solve(gram, information, squares, n_rows, _spread(variance, group, free_variance), sigma2)
        slope = np.empty(len(place))
        for g, own in enumerate(members):
            second = state.mean[own] @ state.mean[own] + state.diagonal[own].sum()
            slope[g] = 0.5 * (second / variance[g] - len(own))
        slope[:n_groups] += 1.0 - 2.0 * variance / (even + variance)
        if not known:
            slope[-1] = 0.5 * (state.expected_squares / sigma2 - n_rows)
        prior = float((place[:n_groups] - 2.0 * np.log(even + variance)).sum())
        return -(state.log_evidence + prior) / n_rows, -slope / n_rows

    start = np.concatenate([np.log(even), [] if known else [np.log(noise)]])
    if len(start):
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(s - _LONGEST, s + _LONGEST) for s in start],
            options={"maxiter": _MAX_STEPS, "ftol": 0.0, "gtol": _TOLERANCE},
        ).x
    else:
        found = start
    variance = np.exp(found[:n_groups])
    sigma2 = noise if known else float(np.exp(found[-1]))
    spread = _spread(variance, group, free_variance)
    state = _solve(gram, information, squares, n_rows, spread, sigma2)
    effective = np.array(
        [len(own) - float(state.diagonal[own].sum()) / variance[g] for g, own in enumerate(members)]
    )
    return Scales(variance, sigma2, state.mean, state.covariance(sigma2), effective, state.log_evidence)


class _State(NamedTuple):
    mean: NDArray[np.float64]
    lower: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    expected_squares: float
    log_evidence: float

    def covariance(self, sigma2: float) -> NDArray[np.float64]:
        """Mirror the inverse, of which only the lower triangle was made."""
        lower = np.tril(self.lower)
        return np.ascontiguousarray(sigma2 * (lower + np.tril(lower, -1).T))


def _solve(
    gram: NDArray[np.float64],
    information: NDArray[np.float64],
    squares: float,
    n_rows: float,
    spread: NDArray[np.float64],
    sigma2: float,
) -> _State:
    """Posterior and evidence under given prior variances and noise."""
    raised = np.array(gram, order="F")
    raised[np.diag_indices(len(spread))] += sigma2 / spread
    factor, status = dpotrf(raised, lower=1, clean=0, overwrite_a=1)
    if status:
        raise np.linalg.LinAlgError(f"the Gram matrix must be positive semidefinite, fails at {status - 1}")
    mean, _ = dpotrs(factor, information, lower=1)
    log_determinant = 2.0 * float(np.log(np.diag(factor)).sum())
    lower, _ = dpotri(factor, lower=1, overwrite_c=1)
    diagonal = sigma2 * np.diag(lower)
    residual = max(squares - float(information @ mean), np.finfo(np.float64).eps * squares)
    log_evidence = 0.5 * (
        len(spread) * np.log(sigma2)
        - float(np.log(spread).sum())
        - log_determinant
        - n_rows * np.log(2.0 * np.pi * sigma2)
        - residual / sigma2
    )
    seen = len(spread) - float((diagonal / spread).sum())
    fit = squares - 2.0 * float(information @ mean) + float(mean @ gram @ mean)
    return _State(mean, lower, diagonal, max(fit, 0.0) + sigma2 * seen, log_evidence)


def _spread(
    variance: NDArray[np.float64], group: NDArray[np.int64], free_variance: float
) -> NDArray[np.float64]:
    return np.append(variance, free_variance)[group]


def _mean_of_positive(values: NDArray[np.float64]) -> float:
    positive = values[values > 0]
    return float(positive.mean()) if len(positive) else 0.0
