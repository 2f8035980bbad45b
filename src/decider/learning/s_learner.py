"""The S-learner with main effects: one model of the reward in which a message moves everybody alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.evaluation import Logged
from decider.learning.bases import Base, fit_logistic, is_binary, sigmoid
from decider.learning.dr_learner import ArmPosterior, arm_posterior
from decider.learning.evidence import Scales, learn_scales
from decider.learning.regression import LinearPosterior


def s_learner(log: Logged, z: NDArray[np.float32], base: Base = "linear") -> list[ArmPosterior]:
    """Learn one number for every arm but the control.

    With the ``linear`` base ``E[Y | x, a] = b . z + alpha_a``: a constant effect. With the ``logistic`` base
    ``logit E[Y | x, a] = b . z + alpha_a``: the odds of all change by one factor, so effects go with what a
    member does anyway, largest where that is near one half; they are then put as a line in z by least squares.
    Either has one coefficient an arm, and no simpler model has effects at all.

    Parameters
    ----------
    log
        n rows.
    z
        float32 of shape [n, d], the first column ones.
    base
        ``linear`` or ``logistic``.

    Notes
    -----
    It uses no propensities: where these vary with x beyond what z tells, its effects are biased. Held-out loss
    against the others shows that.
    """
    arms = [code for code in range(log.n_arms) if code != log.control]
    given = np.stack([log.arm == code for code in arms], axis=1).astype(np.float64)
    x = np.concatenate([z.astype(np.float64), given], axis=1)
    d = z.shape[1]
    # Intercept and arms are free, slopes share a scale.
    group = np.where((np.arange(x.shape[1]) > 0) & (np.arange(x.shape[1]) < d), 0, -1).astype(np.int64)
    if base == "logistic":
        found = fit_logistic(x, log.reward, group)
        return [_from_odds(log, z, found, code, d + j) for j, code in enumerate(arms)]
    y = log.reward
    found = learn_scales(x.T @ x, x.T @ y, float(y @ y), len(y), group, float(y.var()))
    learnt = []
    for j, code in enumerate(arms):
        mean, covariance = np.zeros(d), np.zeros((d, d))
        mean[0], covariance[0, 0] = found.mean[d + j], found.covariance[d + j, d + j]
        learnt.append(_posterior(log, z, code, mean, covariance, found.noise_variance))
    return learnt


def better_base(
    log: Logged, z: NDArray[np.float32], fold: NDArray[np.int64], n_folds: int
) -> tuple[Base, dict[str, float]]:
    """Choose the S-learner's base by the squared error of its reward in members of other folds.

    Returns
    -------
    tuple
        The base, and the mean squared error by base; ``linear`` alone unless all rewards are 0 or 1.
    """
    if not is_binary(log.reward):
        return "linear", {}
    arms = [code for code in range(log.n_arms) if code != log.control]
    given = np.stack([log.arm == code for code in arms], axis=1).astype(np.float64)
    x = np.concatenate([z.astype(np.float64), given], axis=1)
    d = z.shape[1]
    group = np.where((np.arange(x.shape[1]) > 0) & (np.arange(x.shape[1]) < d), 0, -1).astype(np.int64)
    errors = {"linear": 0.0, "logistic": 0.0}
    for f in range(n_folds):
        train, test = fold != f, fold == f
        y = log.reward[train]
        line = learn_scales(
            x[train].T @ x[train], x[train].T @ y, float(y @ y), len(y), group, max(float(y.var()), 1e-12)
        )
        odds = fit_logistic(x[train], y, group)
        errors["linear"] += float(((log.reward[test] - x[test] @ line.mean) ** 2).sum())
        errors["logistic"] += float(((log.reward[test] - sigmoid(x[test] @ odds.mean)) ** 2).sum())
    mean = {name: error / log.n_rows for name, error in errors.items()}
    return ("logistic" if mean["logistic"] < mean["linear"] else "linear"), mean


def _from_odds(log: Logged, z: NDArray[np.float32], found: Scales, code: int, place: int) -> ArmPosterior:
    """The effect of one arm as a line in z, with its covariance by the delta method."""
    wide = z.astype(np.float64)
    d = wide.shape[1]
    log_odds = wide @ found.mean[:d]
    without, with_arm = sigmoid(log_odds), sigmoid(log_odds + found.mean[place])
    moves, rests = with_arm * (1 - with_arm), without * (1 - without)
    # Of the effect at every row, with respect to the slopes and to the arm's coefficient.
    slope = np.concatenate([wide * (moves - rests)[:, None], moves[:, None]], axis=1)
    line = np.linalg.lstsq(wide.T @ wide, wide.T @ np.column_stack([with_arm - without, slope]), rcond=1e-10)[
        0
    ]
    own = [*range(d), place]
    covariance = line[:, 1:] @ found.covariance[np.ix_(own, own)] @ line[:, 1:].T
    noise = float((without * (1 - without)).mean())
    return _posterior(log, z, code, line[:, 0], (covariance + covariance.T) / 2, noise)


def _posterior(
    log: Logged,
    z: NDArray[np.float32],
    code: int,
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    noise: float,
) -> ArmPosterior:
    posterior = LinearPosterior(mean, covariance, noise, 1.0, 0, log.n_rows)
    return arm_posterior(log.arms[code], posterior, z, 0)
