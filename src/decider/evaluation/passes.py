"""What goes through a judge: rows in chunks, as often as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, UnknownName
from decider.evaluation.estimators import ESTIMATORS
from decider.evaluation.logged import Logged
from decider.evaluation.rows import Rows, arm_rows
from decider.evaluation.support import Limits
from decider.evaluation.thresholds import Rule

F64 = NDArray[np.float64]

CONTROL = ""
"""The name of sending nothing to everybody, among policies."""

REWARD, HARM = "reward", "harm"
"""What policies are judged by: the reward, and what else it may do, such as opt-outs."""

HARM_ESTIMATORS = ("snips", "dr")


@dataclass(frozen=True)
class JudgeSpec:
    """How to judge; see :func:`decider.evaluation.judge_policy`, which has the same parameters.

    Parameters
    ----------
    estimators, groups, reward_range, rule, n_resamples, seed, limits
        As there.
    costs
        Of every arm, float64 of shape [A]; by default 1 for a message and 0 for none.
    """

    estimators: Sequence[str] = ESTIMATORS
    groups: NDArray[np.int64] | None = None
    reward_range: tuple[float, float] | None = None
    rule: Rule = "mse"
    n_resamples: int = 1000
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    costs: F64 | None = None

    def __post_init__(self) -> None:
        unknown = set(self.estimators) - set(ESTIMATORS)
        if unknown:
            raise UnknownName.of("estimators", f"must be among {list(ESTIMATORS)}", sorted(unknown)[0])
        if self.costs is not None and not (self.costs >= 0).all():
            raise InvalidInput.of("cost", "must not be below 0 for any arm", self.costs.tolist())


@dataclass(frozen=True, eq=False)
class JudgedChunk:
    """Rows that follow one another, and what policies would do there.

    Parameters
    ----------
    log
        n rows.
    targets
        By policy: the probability of every arm, float64 of shape [n, A], as
        :func:`decider.evaluation.off_policy.probabilities` gives it. None for a policy that sends nothing to
        anybody, in this chunk and all others: it is judged once, beside the others.
    model
        Gives the reward model's value of every arm for these rows, float64 of shape [n, A]; asked only where it
        is needed. None without a model.
    harm, harm_model
        The same rows with another reward, and its model.
    """

    log: Logged
    targets: Mapping[str, F64 | None]
    model: Callable[[Logged], F64] | None = None
    harm: Logged | None = None
    harm_model: Callable[[Logged], F64] | None = None

    @cached_property
    def nobody(self) -> F64:
        """Sending nothing to everybody, as a target."""
        target = np.zeros((self.log.n_rows, self.log.n_arms))
        target[:, self.log.control] = 1.0
        return target

    def target(self, policy: str) -> F64:
        """What a policy, or sending nothing, would do."""
        target = None if policy == CONTROL else self.targets[policy]
        return self.nobody if target is None else target

    def ready(self, *by: str) -> None:
        """Make what all policies share, and the models' values asked for, before threads work on the policies."""
        _ = self.nobody, self._rows
        if REWARD in by:
            _ = self.q_hat
        if HARM in by:
            _ = self.q_harm

    def has_model(self, by: str) -> bool:
        """Whether there is a model of the reward or the harm."""
        return (self.model if by == REWARD else self.harm_model) is not None

    def rows(self, by: str, policy: str, groups: NDArray[np.int64] | None) -> Rows:
        """Set a policy against the rows, by the reward or by the harm; kept, so that what is made of it is too."""
        if (by, policy) not in self._rows:
            self._rows[by, policy] = self._against(by, policy, groups)
        return self._rows[by, policy]

    def _against(self, by: str, policy: str, groups: NDArray[np.int64] | None) -> Rows:
        if by == REWARD:
            return arm_rows(self.target(policy), self.log, self.q_hat, groups)
        if self.harm is None:
            raise InvalidInput.of("harm", "must be given to be judged by", None)
        other = arm_rows(self.target(policy), self.harm, self.q_harm)
        return self.rows(REWARD, policy, groups).with_reward(other)

    @cached_property
    def _rows(self) -> dict[tuple[str, str], Rows]:
        return {}

    @cached_property
    def q_hat(self) -> F64 | None:
        """The model's value of every arm; None without a model."""
        return None if self.model is None else self.model(self.log)

    @cached_property
    def q_harm(self) -> F64 | None:
        """The same of the harm."""
        return None if self.harm is None or self.harm_model is None else self.harm_model(self.harm)


Passes = Callable[[str], Iterable[JudgedChunk]]
"""Goes through all chunks once more, in the same order, whenever it is called: with what the pass is for."""
