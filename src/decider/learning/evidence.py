"""How far groups of coefficients are pulled to zero: one scale a group, learnt from sums over rows.

With ``y = x . w + noise`` of variance ``sigma^2`` and ``w_j ~ N(0, s_g)`` for j in group g, the scales and the
noise variance are put where their posterior is largest: the evidence ``p(y | s, sigma^2)``, with w integrated
out [1]_, times a prior on every scale. The prior says that the factor by which a typical coefficient of the
group is pulled to zero, ``sigma^2 / (sigma^2 + s_g lambda_g)`` with lambda_g its row count in the Gram
matrix, is as likely in any part of (0, 1) [2]_. So no group is ever taken for certainly zero, which evidence
alone often does where a group has few coefficients.

Coefficients are surer under one best scale than they are: where a group has few, its scale is hardly known. So
what is learnt can be averaged over scales and noise, each by its posterior, at points around the best [3]_. A
group of few then needs a prior that favours no scale: a half-Cauchy one on the standard deviation, as wide as
the reward [4]_; the one above, whose tail is that of 1 / s^2, made intervals a tenth too short in variance.

References
----------
.. [1] MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
.. [2] Daniels, "A prior for the variance in hierarchical models", Canadian J. of Statistics 27, 1999.
.. [3] Rue, Martino, Chopin, "Approximate Bayesian inference for latent Gaussian models by using integrated nested
       Laplace approximations", JRSS B 71, 2009, section 6.5.
.. [4] Gelman, "Prior distributions for variance parameters in hierarchical models", Bayesian Analysis 1, 2006.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

_TOLERANCE: Final = 1e-9
_MAX_STEPS: Final = 200
_LONGEST: Final = 16.0
"""How far a logarithm may go from its start, at which half of a typical coefficient is pulled away: to where a
part in 1e-7 is, which still tells features that depend on one another apart."""
_STEP: Final = 0.05
"""Of the logarithms, for the second derivatives of their log posterior."""
_LEAST_CURVATURE: Final = 0.1
"""Of the log posterior in a logarithm: where nothing is known of a scale, points reach three times either way."""
_WIDER: Final = 1.25
"""Points are spread so many times as wide as the curvature says, since the tails are longer than a Gaussian's."""


class Scales(NamedTuple):
    """What the sums say of scales, noise and coefficients.

    Parameters
    ----------
    variance
        ``s_g`` of every group at its best, float64 of shape [G].
    expected_variance
        Its posterior mean, where it is averaged over: what a coefficient without rows varies by.
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
    expected_variance: NDArray[np.float64]
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
    n_points: int = 0,
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
    n_points
        A power of two: mean and covariance are averaged over so many values of scales and noise, under the
        half-Cauchy prior. 0 takes the best alone, under the other. `variance`, `noise_variance` and the rest
        are those of the best in either case.

    Notes
    -----
    A step costs a Cholesky factor and an inverse of a D x D matrix; some twenty to forty steps are taken, by
    quasi-Newton with exact gradients, and one more for each point and each second derivative.
    """
    problem = _Problem(
        gram, information, squares, n_rows, group, free_variance, noise_variance, half_cauchy=n_points > 0
    )
    best = problem.best()
    variance, sigma2 = problem.scales_at(best)
    state = problem.state(best)
    effective = np.array(
        [len(own) - float(state.diagonal[own].sum()) / variance[g] for g, own in enumerate(problem.members)]
    )
    mean, covariance, expected = state.mean, state.covariance(sigma2), variance
    if n_points and len(best):
        mean, covariance, expected = _averaged(problem, best, n_points)
    return Scales(variance, expected, sigma2, mean, covariance, effective, state.log_evidence)


class _Problem:
    """The log posterior of scales and noise, at the logarithms of both: a place."""

    def __init__(
        self,
        gram: NDArray[np.float64],
        information: NDArray[np.float64],
        squares: float,
        n_rows: float,
        group: NDArray[np.int64],
        free_variance: float,
        noise_variance: float | None,
        half_cauchy: bool,
    ) -> None:
        self._sums = (gram, information, squares, n_rows)
        self._group, self._free_variance = group, free_variance
        self._known = noise_variance is not None
        self._noise = float(noise_variance) if noise_variance is not None else squares / n_rows
        self.members = [np.flatnonzero(group == g) for g in range(int(group.max(initial=-1)) + 1)]
        # Coefficients that no row speaks of say nothing of a typical one.
        typical = np.array([_mean_of_positive(np.diag(gram)[own]) for own in self.members])
        self._even = self._noise / np.where(typical > 0, typical, 1.0)
        # The prior of log s: s^rise / (turn + s)^fall.
        self._rise, self._fall, self._turn = 1.0, 2.0, self._even
        if half_cauchy:
            self._rise, self._fall, self._turn = 0.5, 1.0, np.full(len(self._even), free_variance)

    def scales_at(self, place: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Prior variances of the groups, and the noise variance."""
        noise = self._noise if self._known else float(np.exp(place[-1]))
        return np.exp(place[: len(self.members)]), noise

    def state(self, place: NDArray[np.float64]) -> _State:
        """The coefficients' posterior."""
        variance, noise = self.scales_at(place)
        return _solve(*self._sums, _spread(variance, self._group, self._free_variance), noise)

    def density(self, place: NDArray[np.float64], state: _State) -> float:
        """Log posterior density, but for a constant."""
        variance, _ = self.scales_at(place)
        prior = self._rise * place[: len(self.members)] - self._fall * np.log(self._turn + variance)
        return state.log_evidence + float(prior.sum())

    def slope(self, place: NDArray[np.float64], state: _State) -> NDArray[np.float64]:
        """Its gradient."""
        variance, noise = self.scales_at(place)
        slope = np.empty(len(place))
        for g, own in enumerate(self.members):
            second = state.mean[own] @ state.mean[own] + state.diagonal[own].sum()
            slope[g] = 0.5 * (second / variance[g] - len(own))
        slope[: len(variance)] += self._rise - self._fall * variance / (self._turn + variance)
        if not self._known:
            slope[-1] = 0.5 * (state.expected_squares / noise - self._sums[3])
        return slope

    def best(self) -> NDArray[np.float64]:
        """The place of the largest density."""
        start = np.concatenate([np.log(self._even), [] if self._known else [np.log(self._noise)]])
        if not len(start):
            return start
        n_rows = self._sums[3]

        def objective(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            state = self.state(place)
            return -self.density(place, state) / n_rows, -self.slope(place, state) / n_rows

        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(s - _LONGEST, s + _LONGEST) for s in start],
            options={"maxiter": _MAX_STEPS, "ftol": 0.0, "gtol": _TOLERANCE},
        )
        return np.asarray(found.x, np.float64)

    def curvature(self, best: NDArray[np.float64]) -> NDArray[np.float64]:
        """Second derivatives of the density there, negated."""
        columns = []
        for step in _STEP * np.eye(len(best)):
            up, down = (self.slope(place, self.state(place)) for place in (best + step, best - step))
            columns.append((down - up) / (2.0 * _STEP))
        whole = np.stack(columns)
        return np.asarray((whole + whole.T) / 2.0)


def _averaged(
    problem: _Problem, best: NDArray[np.float64], n_points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of the coefficients, mean of the scales: over points, weighed by importance."""
    values, vectors = np.linalg.eigh(problem.curvature(best))
    reach = _WIDER * vectors / np.sqrt(np.maximum(values, _LEAST_CURVATURE))
    # The same points always: the sums alone decide. Sobol's first point is the corner, so one is left out.
    uniform = Sobol(len(best), scramble=False).random(2 * n_points)[1 : n_points + 1]
    normal = ndtri(uniform)
    # Summed as they come, around the best mean: a matrix for every point would be too many. The sums are relative to
    # the largest weight so far.
    centre = problem.state(best).mean
    largest, total = -np.inf, 0.0
    mean, covariance = np.zeros_like(centre), np.zeros((centre.size, centre.size))
    variance = np.zeros(len(problem.members))
    for z in normal:
        place = best + reach @ z
        state = problem.state(place)
        log_weight = problem.density(place, state) + 0.5 * float(z @ z)
        if log_weight > largest:
            fade = float(np.exp(largest - log_weight))
            total, mean, variance = fade * total, fade * mean, fade * variance
            covariance *= fade
            largest = log_weight
        weight = float(np.exp(log_weight - largest))
        scales, noise = problem.scales_at(place)
        apart = state.mean - centre
        total += weight
        mean += weight * apart
        variance += weight * scales
        around = state.covariance(noise)
        around += np.outer(apart, apart)
        around *= weight
        covariance += around
    mean /= total
    covariance /= total
    covariance -= np.outer(mean, mean)
    return centre + mean, covariance, variance / total


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
