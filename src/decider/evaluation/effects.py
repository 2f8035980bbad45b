"""What each arm did on average: its mean, and its incrementality over sending nothing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from decider.evaluation.intervals import Estimate
from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider.evaluation.reading import FeedbackTable, read_logged
from decider.evaluation.rows import Terms
from decider.evaluation.sums import TermSums
from decider.evaluation.support import Limits, SupportSums


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
    sums = EffectSums(log.arms, log.control, log.reward_name, MemberCount.of(log.member_keys))
    sums.add(log)
    return sums.effects(limits)


class EffectSums:
    """What average effects are made of, added up as rows pass by; see :func:`arm_effects`.

    Parameters
    ----------
    arms, control
        The arms' names, and the code of the one that sends nothing.
    reward
        The reward's name.
    members
        The members of all rows that will come.
    """

    def __init__(self, arms: Sequence[str], control: int, reward: str, members: MemberCount) -> None:
        self._arms = arms
        self._reward = reward
        self._codes = [control, *(code for code in range(len(arms)) if code != control)]
        self._sums = TermSums(members, n_resamples=0, seed=0)
        self._supports = [SupportSums(members) for _ in arms]
        self._n_given = np.zeros(len(arms), np.int64)

    def add(self, log: Logged) -> None:
        """Add rows."""
        self._n_given += np.bincount(log.arm, minlength=log.n_arms)
        terms: dict[Hashable, Terms] = {}
        taken = log.taken
        for code, support in enumerate(self._supports):
            target = np.zeros((log.n_rows, log.n_arms))
            target[:, code] = 1.0
            support.add(target, log.propensity, log.arm, log.member_keys)
            weight = np.where(log.arm == code, 1.0 / taken, 0.0)
            terms[code] = Terms(((weight * log.reward, weight),))
        self._sums.add(terms, log.member_keys)

    def effects(self, limits: Limits | None = None) -> AverageEffects:
        """Estimate mean reward and incrementality of every arm."""
        limits, control = limits or Limits(), self._codes[0]
        refusals = [self._refusal(code, limits) for code in range(len(self._arms))]
        effects = []
        for code in self._codes:
            mean = self._estimate(refusals[code], code)
            incrementality = None
            if code != control:
                incrementality = self._estimate(refusals[code] or refusals[control], code, control)
            effects.append(ArmEffect(self._arms[code], int(self._n_given[code]), mean, incrementality))
        return AverageEffects(self._reward, self._arms[control], tuple(effects))

    def _estimate(self, why: str, code: int, less: int | None = None) -> Estimate:
        return Estimate.refuse(why) if why else Estimate.of(*self._sums.value_and_error(code, less))

    def _refusal(self, code: int, limits: Limits) -> str:
        why = self._supports[code].found().refusal(limits)
        return f"arm {self._arms[code]!r}: {why}" if why else ""
