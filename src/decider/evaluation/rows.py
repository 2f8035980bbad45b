"""What an estimator sees of a log and a policy, and the ratios of sums that it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.logged import Logged
from decider_core.coverage import expected, of_action

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """One policy against n logged rows; an action is an arm, or a whole message set.

    Parameters
    ----------
    reward
        float64 of shape [n].
    propensity
        Probability with which the log took its action, float64 of shape [n], in (0, 1].
    target
        Probability with which the policy takes the logged action, float64 of shape [n], in [0, 1].
    certain
        Whether the policy takes one action for sure, bool of shape [n].
    dm
        The policy's value under the reward model, float64 of shape [n]; None without a model.
    q_logged
        The reward model's value of the logged action, float64 of shape [n]; None without a model.
    group_weight
        For MIPS: the policy's probability of the logged action's group over the log's, float64 of shape [n].
    """

    reward: F64
    propensity: F64
    target: F64
    certain: NDArray[np.bool_]
    dm: F64 | None = None
    q_logged: F64 | None = None
    group_weight: F64 | None = None

    # Kept once made: estimators that share a column then have one column, and one sum of it.
    @cached_property
    def weight(self) -> F64:
        """``w = target / propensity``."""
        return self.target / self.propensity

    @cached_property
    def weighted_reward(self) -> F64:
        """``w r``."""
        return self.weight * self.reward

    @cached_property
    def weighted_residual(self) -> F64:
        """``w (r - q)``."""
        _, q = self.model
        return self.weight * (self.reward - q)

    def with_reward(self, other: Rows) -> Rows:
        """Return `other`, the same policy on the same rows with another reward, with this one's weights."""
        other.__dict__["weight"] = self.weight
        return other

    def part(self, rows: slice) -> Rows:
        """Keep rows that follow one another."""

        def cut(column: F64 | None) -> F64 | None:
            return None if column is None else column[rows]

        return Rows(
            self.reward[rows],
            self.propensity[rows],
            self.target[rows],
            self.certain[rows],
            cut(self.dm),
            cut(self.q_logged),
            cut(self.group_weight),
        )

    @property
    def model(self) -> tuple[F64, F64]:
        """`dm` and `q_logged`, for estimators that need them."""
        if self.dm is None or self.q_logged is None:
            raise InvalidInput.of("q_hat", "must be given for this estimator", None)
        return self.dm, self.q_logged


@dataclass(frozen=True, eq=False)
class Terms:
    """A sum of ratios of sums over rows, ``sum_j sum_i(numerator_ji) / sum_i(denominator_ji)``.

    Parameters
    ----------
    parts
        Pairs of a numerator and a denominator, each float64 of shape [n]; a denominator of None is 1 in
        every row, which makes the ratio a mean.
    """

    parts: tuple[tuple[F64, F64 | None], ...]

    @property
    def value(self) -> float:
        """The estimate; NaN where a denominator's sum is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(
                sum(
                    above.mean() if below is None else np.divide(above.sum(), below.sum())
                    for above, below in self.parts
                )
            )

    @property
    def influence(self) -> F64:
        """Each row's part in the linearised estimate, adding up to about 0: float64 of shape [n]."""
        total = np.zeros_like(self.parts[0][0])
        with np.errstate(divide="ignore", invalid="ignore"):
            for above, below in self.parts:
                if below is None:
                    total += above - above.mean()
                else:
                    total += (above - np.divide(above.sum(), below.sum()) * below) / below.mean()
        return total

    def map(self, change: Callable[[F64], F64]) -> Terms:
        """Change every numerator and denominator, row by row or by taking rows."""
        return Terms(
            tuple((change(above), None if below is None else change(below)) for above, below in self.parts)
        )


def mixed(chosen: NDArray[np.bool_], terms: Terms, other: Terms) -> Terms:
    """Take the rows of `terms` where `chosen`, else those of `other`; both means."""
    return Terms(
        tuple(
            (np.where(chosen, above, above_other), None)
            for (above, _), (above_other, _) in zip(terms.parts, other.parts, strict=True)
        )
    )


def less(terms: Terms, other: Terms) -> Terms:
    """The terms of the difference of two estimates on the same rows."""
    return Terms(terms.parts + tuple((-above, below) for above, below in other.parts))


def arm_rows(
    target: F64, log: Logged, q_hat: F64 | None = None, groups: NDArray[np.int64] | None = None
) -> Rows:
    """Set a policy against a log of single arms.

    Parameters
    ----------
    target
        The policy's probability of every arm, float64 of shape [n, A].
    log
        The log.
    q_hat
        The reward model's value of every arm, float64 of shape [n, A].
    groups
        The group of every arm, int64 of shape [A], such as a code of (type, channel).

    Raises
    ------
    InvalidInput
        If `q_hat` or `groups` has another dtype or shape, or is not finite.
    """
    taken = of_action(target, log.arm)
    dm = q_logged = group_weight = None
    if q_hat is not None:
        check_model(q_hat, log)
        dm = expected(target, q_hat)
        q_logged = of_action(q_hat, log.arm)
    if groups is not None:
        if groups.dtype != np.int64 or groups.shape != (log.n_arms,):
            found = f"{groups.dtype} of shape {groups.shape}"
            raise InvalidInput.of("groups", f"must be int64 of shape ({log.n_arms},)", found)
        alike = (groups[log.arm][:, None] == groups).astype(np.float64)
        group_weight = expected(target, alike) / expected(log.propensity, alike)
    return Rows(log.reward, log.taken, taken, (target == 1.0).any(axis=1), dm, q_logged, group_weight)


def check_model(q_hat: F64, log: Logged) -> None:
    """Refuse values of a reward model that are not finite float64 of shape [n, A]."""
    if q_hat.dtype != np.float64 or q_hat.shape != (log.n_rows, log.n_arms):
        rule = f"must be float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("q_hat", rule, f"{q_hat.dtype} of shape {q_hat.shape}")
    if not np.isfinite(q_hat).all():
        row, arm = (int(axis[0]) for axis in np.nonzero(~np.isfinite(q_hat)))
        raise InvalidInput.of("q_hat", "must be finite", float(q_hat[row, arm]), f"at row {row}, arm {arm}")
