"""T- and X-learners, and doubly robust learners that let effects go with what a member does anyway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.evaluation import Logged
from decider.learning.dr_learner import ArmPosterior, arm_posterior, pseudo_outcome
from decider.learning.evidence import learn_scales
from decider.learning.regression import LinearPosterior, fit
from decider.learning.ridge import moments, ridge


def t_learner(log: Logged, z: NDArray[np.float32]) -> list[ArmPosterior]:
    """Fit the reward of every arm on its own, and take differences from the control's.

    Parameters
    ----------
    log
        n rows.
    z
        float32 of shape [n, d], the first column ones.

    Notes
    -----
    Both fits are pulled to a flat line on their own, so the difference is not; where the control has many more
    rows than an arm the two are pulled unlike, and the difference of their errors passes for an effect.
    """
    control = _fit_arm(log, z, log.control, log.reward)
    return [
        _combined(log, z, code, [(1.0, _fit_arm(log, z, code, log.reward)), (-1.0, control)])
        for code in _treated(log)
    ]


def x_learner(log: Logged, z: NDArray[np.float32], q_hat: NDArray[np.float64]) -> list[ArmPosterior]:
    """Impute each row's effect by the other arm's reward model, and fit the imputed effects.

    Those of the arm's rows, ``Y - q_0``, and of the control's, ``q_a - Y``, are fitted apart and averaged, each
    by the share of the other's rows, so that the better known side counts more [1]_.

    Parameters
    ----------
    log, z
        As of :func:`t_learner`.
    q_hat
        Cross-fitted reward model of every arm, float64 of shape [n, A].

    References
    ----------
    .. [1] Kunzel, Sekhon, Bickel, Yu, "Metalearners for estimating heterogeneous treatment effects using
           machine learning", PNAS 116, 2019, section 2.
    """
    learnt = []
    for code in _treated(log):
        of_arm = _fit_arm(log, z, code, log.reward - q_hat[:, log.control])
        of_control = _fit_arm(log, z, log.control, q_hat[:, code] - log.reward)
        p_arm, p_control = log.propensity[:, code], log.propensity[:, log.control]
        share = float(p_arm.sum() / (p_arm + p_control).sum())
        averaged = _combined(log, z, code, [(1.0 - share, of_arm), (share, of_control)])
        # Either side carries the noise of its own rows and, through q, that of the other's.
        covariance = of_arm.covariance + of_control.covariance
        posterior = averaged.posterior._replace(covariance=covariance)
        learnt.append(arm_posterior(log.arms[code], posterior, z, 0))
    return learnt


def prognostic_learner(
    log: Logged, z: NDArray[np.float32], q_hat: NDArray[np.float64], *, slopes: bool
) -> list[ArmPosterior]:
    """Learn effects that go with the reward expected anyway, and by how much.

    ``tau_a(x) = alpha_a + gamma_a m(x) + delta_a . z`` for a linear ``m(x)``: gamma is free, the slopes delta are
    pulled to zero by a scale that is learnt, and without `slopes` they are zero. Fitted to the doubly robust
    pseudo-outcomes of :func:`decider.learning.dr_learner`.

    Parameters
    ----------
    log, z, q_hat
        As of :func:`x_learner`.
    slopes
        Whether there is a delta.

    Notes
    -----
    m is taken for known. The covariance is that of the coefficients under the noise that residuals show, summed
    by member, and of the pull.
    """
    wide = z.astype(np.float64)
    base = ridge(moments(z, log.reward))
    d = len(base)
    prognosis = wide @ base
    spread = float(prognosis.std())
    direction = np.zeros(d)
    if spread > 0:
        direction = base / spread
        direction[0] -= float(prognosis.mean()) / spread
    # From [alpha, gamma, delta] to coefficients of z.
    turn = np.zeros((d, d + 1))
    turn[0, 0], turn[:, 1] = 1.0, direction
    turn[range(1, d), range(2, d + 1)] = 1.0
    group = np.array([-1, -1] + [0] * (d - 1), np.int64)
    if not slopes or d == 1:
        turn, group = turn[:, :2], group[:2]
    learnt = []
    for code in _treated(log):
        rows = np.flatnonzero((log.propensity[:, code] > 0) & (log.propensity[:, log.control] > 0))
        part = log.rows(rows)
        outcome = pseudo_outcome(part, q_hat[rows], code)
        weight = 1.0 / (1.0 / part.propensity[:, code] + 1.0 / part.propensity[:, log.control])
        weight /= weight.mean()
        mean, covariance, noise, n_seen = _sandwich(
            wide[rows] @ turn, outcome, weight, part.member_keys, group
        )
        covariance = turn @ covariance @ turn.T
        posterior = LinearPosterior(turn @ mean, (covariance + covariance.T) / 2, noise, n_seen, 0, len(rows))
        learnt.append(arm_posterior(log.arms[code], posterior, z[rows], log.n_rows - len(rows)))
    return learnt


def _sandwich(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
    member_keys: NDArray[np.uint64],
    group: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Mean, robust covariance, noise, and the share that a typical coefficient of a group is pulled by."""
    weighted = x * weight[:, None]
    gram = weighted.T @ x
    spread = float(weight @ y**2 / weight.sum())
    found = learn_scales(gram, weighted.T @ y, float(weight @ y**2), len(y), group, spread)
    variance = np.append(found.variance, spread)[group]
    penalty = found.noise_variance / variance
    inverse = found.covariance / found.noise_variance
    push = weighted * (y - x @ found.mean)[:, None]
    _, places = np.unique(member_keys, return_inverse=True)
    n_members = int(places.max()) + 1
    if n_members < len(y):
        push = np.stack([np.bincount(places, weights=column) for column in push.T], axis=1)
    meat = n_members / (n_members - 1) * (push.T @ push) + np.diag(penalty**2 * variance)
    covariance = inverse @ meat @ inverse
    slopes = group == 0
    pulled = 1.0 - float(found.effective[0]) / int(slopes.sum()) if slopes.any() else 1.0
    return found.mean, covariance, found.noise_variance, pulled


def _treated(log: Logged) -> list[int]:
    return [code for code in range(log.n_arms) if code != log.control]


def _fit_arm(log: Logged, z: NDArray[np.float32], code: int, y: NDArray[np.float64]) -> LinearPosterior:
    rows = np.flatnonzero(log.arm == code)
    return fit(z[rows], y[rows], log.member_keys[rows])


def _combined(
    log: Logged, z: NDArray[np.float32], code: int, parts: list[tuple[float, LinearPosterior]]
) -> ArmPosterior:
    """A sum of independent posteriors, each times its share."""
    mean = np.sum([share * part.mean for share, part in parts], axis=0)
    covariance = np.sum([share**2 * part.covariance for share, part in parts], axis=0)
    noise = float(np.mean([part.noise_variance for _, part in parts]))
    pulled = float(np.mean([part.shrinkage for _, part in parts]))
    n_dependent = max(part.n_dependent for _, part in parts)
    n_rows = sum(part.n_rows for _, part in parts)
    posterior = LinearPosterior(mean, covariance, noise, pulled, n_dependent, n_rows)
    return arm_posterior(log.arms[code], posterior, z, 0)
