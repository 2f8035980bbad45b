"""What a run asks, whoever it asks it for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.decision.check import channel_mask
from decider.decision.exposure import Seen
from decider.decision.parts import BoundExperiment, BoundPolicy, Parts
from decider.decision.pricing import RunPrice
from decider.decision.request import RunRequest
from decider.decision.stages import Question


@dataclass(frozen=True)
class Asking:
    """A run's request, with what it names looked up."""

    parts: Parts
    request: RunRequest
    bound: BoundPolicy
    """The policy; of an experiment, that of the last cell."""
    experiment: BoundExperiment | None
    epoch: int
    allowed: NDArray[np.uint8]
    """[n_channels] 1 where the caller allows the channel."""

    @classmethod
    def of(cls, parts: Parts, request: RunRequest) -> Asking:
        """Look up what a request names.

        Raises
        ------
        InvalidInput
            For a policy or a channel that is not there.
        """
        named = parts.policy_or_experiment(request.policy, request.decision_time_micros)
        experiment = named if isinstance(named, BoundExperiment) else None
        bound = named.bound[-1] if isinstance(named, BoundExperiment) else named
        epoch = (
            bound.policy.epoch_of(request.decision_time_micros) if request.epoch is None else request.epoch
        )
        return cls(parts, request, bound, experiment, epoch, channel_mask(parts.catalog, request.channels))

    @property
    def max_messages(self) -> int:
        """Most messages in any of its decisions."""
        deciding = self.experiment.bound if self.experiment else (self.bound,)
        return max(bound.max_messages for bound in deciding)

    def question(
        self, rows: NDArray[np.int64], seen: Seen, price: RunPrice, with_propensities: bool
    ) -> Question:
        """What is asked for the members of `rows` at a price."""
        return Question(
            parts=self.parts,
            bound=self.bound,
            rows=rows,
            time_micros=self.request.decision_time_micros,
            epoch=self.epoch,
            channel_allowed=self.allowed,
            theta=price.theta,
            tie_cut=price.tie_cut,
            sends=seen.sends,
            until_sequence=seen.until_sequence,
            with_propensities=with_propensities,
        )
