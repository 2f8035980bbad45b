"""The DR-learner: what each arm causes, from a log of single messages with known propensities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation import Logged
from decider.learning.folds import fold_of
from decider.learning.nuisances import cross_fit
from decider.learning.regression import LinearPosterior, fit


class ArmPosterior(NamedTuple):
    """What was learnt of one arm, and what from.

    Parameters
    ----------
    arm
        The arm's name.
    posterior
        Of the coefficients of its effect (or level) in z.
    average
        Mean of the effect (or level) over the rows that were learnt from, by the posterior.
    average_sd
        Standard deviation of that average.
    n_without_support
        Rows left out because this arm or the control was impossible there.
    """

    arm: str
    posterior: LinearPosterior
    average: float
    average_sd: float
    n_without_support: int

    def facts(self) -> dict[str, Any]:
        """What a model keeps of it, as JSON values."""
        return {
            "n_rows": self.posterior.n_rows,
            "n_without_support": self.n_without_support,
            "average": self.average,
            "average_sd": self.average_sd,
            "noise_variance": self.posterior.noise_variance,
            "shrinkage": self.posterior.shrinkage,
            "n_dependent_features": self.posterior.n_dependent,
        }


def dr_learner(
    log: Logged,
    z: NDArray[np.float32],
    *,
    n_folds: int = 5,
    seed: int = 0,
    q_hat: NDArray[np.float64] | None = None,
) -> list[ArmPosterior]:
    """Learn the incrementality of every arm but the control.

    With q cross-fitted over members and the logged propensities p, which are never refitted, the
    pseudo-outcome of arm a against the control 0 ::

        psi_a = q_a - q_0 + 1{A = a} (Y - q_a) / p_a - 1{A = 0} (Y - q_0) / p_0

    has the mean tau_a(x) whatever q is [1]_. It is regressed on z; rows count by ``1 / (1/p_a + 1/p_0)``, the
    inverse of their noise variance up to a factor, so where propensities vary and tau is not linear in z the
    fit is closest where both arms were likely.

    Parameters
    ----------
    log
        The log; n rows, A arms.
    z
        Mapped features, float32 of shape [n, d], the first column ones.
    n_folds, seed
        Folds of the cross-fitting, and their seed.
    q_hat
        Reward model of every arm, float64 of shape [n, A], in place of the cross-fitted linear one. A row's
        values must not have been learnt from that row's member.

    Returns
    -------
    list of ArmPosterior
        In the order of the arms, the control left out.

    Raises
    ------
    InvalidInput
        If an arm has too few rows, or there are too few members for the features.

    Notes
    -----
    The arms share the control's rows, so their errors are correlated; the posteriors are kept one by one and
    do not hold that correlation.

    References
    ----------
    .. [1] Kennedy, "Towards optimal doubly robust estimation of heterogeneous causal effects", 2023.
    """
    if q_hat is None:
        q_hat = cross_fit(log, z, fold_of(log.member_keys, n_folds, seed), n_folds)
    learnt = []
    for code, arm in enumerate(log.arms):
        if code == log.control:
            continue
        p_arm, p_control = log.propensity[:, code], log.propensity[:, log.control]
        rows = np.flatnonzero((p_arm > 0) & (p_control > 0))
        outcome = pseudo_outcome(log.rows(rows), q_hat[rows], code)
        weight = 1.0 / (1.0 / p_arm[rows] + 1.0 / p_control[rows])
        weight /= weight.mean()
        posterior = fit(z[rows], outcome, log.member_keys[rows], weight)
        learnt.append(arm_posterior(arm, posterior, z[rows], log.n_rows - len(rows)))
    return learnt


def pseudo_outcome(log: Logged, q_hat: NDArray[np.float64], code: int) -> NDArray[np.float64]:
    """Return psi of one arm against the control, float64 of shape [n]; both must be possible in every row."""
    psi: NDArray[np.float64] = q_hat[:, code] - q_hat[:, log.control]
    for arm, sign in ((code, 1.0), (log.control, -1.0)):
        given = log.arm == arm
        psi[given] += sign * (log.reward[given] - q_hat[given, arm]) / log.propensity[given, arm]
    return psi


def arm_posterior(
    arm: str, posterior: LinearPosterior, z: NDArray[np.float32], n_without_support: int
) -> ArmPosterior:
    """Add the average over rows to a posterior."""
    centre = z.mean(axis=0, dtype=np.float64)
    average = float(centre @ posterior.mean)
    variance = float(centre @ posterior.covariance @ centre)
    return ArmPosterior(arm, posterior, average, float(np.sqrt(max(variance, 0.0))), n_without_support)


def type_parent(arms: list[ArmPosterior]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pool the posteriors of a message type's arms into that of a new message of the type.

    A new message is like one of those known: the mixture of their posteriors, each by its share of the rows,
    kept by its mean and covariance. So the parent is as wide as its arms are, and wider the more they differ.

    Returns
    -------
    tuple
        Mean, float64 of shape [d], and covariance, float64 of shape [d, d].
    """
    share = np.array([arm.posterior.n_rows for arm in arms], np.float64)
    share /= share.sum()
    means = np.stack([arm.posterior.mean for arm in arms])
    covariances = np.stack([arm.posterior.covariance for arm in arms])
    mean = share @ means
    apart = means - mean
    covariance = np.tensordot(share, covariances, 1) + (share[:, None] * apart).T @ apart
    return mean, (covariance + covariance.T) / 2


def group_by_type(arms: list[ArmPosterior], types: Mapping[str, str]) -> dict[str, list[ArmPosterior]]:
    """Collect arms by the message type that `types` gives them, in the order of the arms."""
    groups: dict[str, list[ArmPosterior]] = {}
    for arm in arms:
        if arm.arm in types:
            groups.setdefault(types[arm.arm], []).append(arm)
    return groups
