"""What each arm did on average: its mean, and its incrementality over sending nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.intervals import Estimate, clustered_error
from decider.evaluation.logged import FeedbackTable, Logged, read_logged
from decider.evaluation.support import Limits, support_of


class ArmEffect(NamedTuple):
    """One arm of a trial.

    Parameters
    ----------
    arm
        Its name.
    n_rows
        Rows to which it was given.
    mean
        Mean reward, had every row been given this arm.
    incrementality
        The mean less the control's; None for the control itself.
    """

    arm: str
    n_rows: int
    mean: Estimate
    incrementality: Estimate | None


class AverageEffects(NamedTuple):
    """The arms of a trial, the control first.

    Parameters
    ----------
    reward
        The reward's name.
    control
        The arm that sends nothing.
    arms
        One entry for each arm.
    """

    reward: str
    control: str
    arms: tuple[ArmEffect, ...]

    def of(self, arm: str) -> ArmEffect:
        """Return the entry of one arm."""
        return next(effect for effect in self.arms if effect.arm == arm)


def average_effects(feedback: FeedbackTable, reward: str, limits: Limits | None = None) -> AverageEffects:
    """Estimate mean reward and incrementality of every arm of a stored log; see :func:`arm_effects`."""
    return arm_effects(read_logged(feedback, reward), limits)


def arm_effects(log: Logged, limits: Limits | None = None) -> AverageEffects:
    """Estimate mean reward and incrementality of every arm.

    The mean of arm a is ``sum(w r) / sum(w)`` with ``w = 1{arm given = a} / p_a`` (Hajek's estimator): the
    plain mean of the arm's rows when its propensity is the same everywhere, and without bias for large logs
    when it is not. Standard errors are those of the linearised ratios, clustered by member; members who were
    given both arms count with their covariance.

    Parameters
    ----------
    log
        The log.
    limits
        Where an arm has less, its estimates are refused and say why.

    References
    ----------
    .. [1] Horvitz, Thompson, "A generalization of sampling without replacement from a finite universe",
           JASA 47, 1952.
    .. [2] Hajek, comment on Basu, in "Foundations of statistical inference", 1971.
    """
    limits = limits or Limits()
    codes = [log.control, *(code for code in range(log.n_arms) if code != log.control)]
    refusals = {code: _refusal(log, code, limits) for code in codes}
    means, influences = {}, {}
    for code in codes:
        if not refusals[code]:
            means[code], influences[code] = _mean_and_influence(log, code)
    effects = []
    for code in codes:
        n_rows = int((log.arm == code).sum())
        if refusals[code]:
            mean = Estimate.refuse(refusals[code])
        else:
            mean = Estimate.of(means[code], clustered_error(influences[code], log.member_keys))
        incrementality = None
        if code != log.control:
            why = refusals[code] or refusals[log.control]
            incrementality = (
                Estimate.refuse(why)
                if why
                else Estimate.of(
                    means[code] - means[log.control],
                    clustered_error(influences[code] - influences[log.control], log.member_keys),
                )
            )
        effects.append(ArmEffect(log.arms[code], n_rows, mean, incrementality))
    return AverageEffects(log.reward_name, log.arms[log.control], tuple(effects))


def _refusal(log: Logged, code: int, limits: Limits) -> str:
    target = np.zeros((log.n_rows, log.n_arms))
    target[:, code] = 1.0
    why = support_of(target, log).refusal(limits)
    return f"arm {log.arms[code]!r}: {why}" if why else ""


def _mean_and_influence(log: Logged, code: int) -> tuple[float, NDArray[np.float64]]:
    given = log.arm == code
    weight = np.where(given, 1.0 / np.where(given, log.taken, 1.0), 0.0)
    mean = float((weight * log.reward).sum() / weight.sum())
    return mean, weight * (log.reward - mean) * (log.n_rows / weight.sum())
