"""What a run asks, and of whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision.charges import run_budgets
from decider.decision.check import channel_mask
from decider.decision.exposure import Seen
from decider.decision.parts import BoundExperiment, BoundPolicy, Parts
from decider.decision.pricing import RunPrice
from decider.decision.request import RunRequest
from decider.decision.stages import Question
from decider.errors import InvalidInput
from decider.logbook.schema import RunBudget


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
    budgets: list[RunBudget]
    """In the order of the catalog's channels, without prices."""

    @classmethod
    def of(cls, parts: Parts, request: RunRequest) -> Asking:
        """Look up what a request names.

        Raises
        ------
        InvalidInput
            For a policy or a channel that is not there, and for budgets with an experiment.
        """
        named = parts.policy_or_experiment(request.policy, request.decision_time_micros)
        experiment = named if isinstance(named, BoundExperiment) else None
        bound = named.bound[-1] if isinstance(named, BoundExperiment) else named
        epoch = (
            bound.policy.epoch_of(request.decision_time_micros) if request.epoch is None else request.epoch
        )
        if experiment is not None and request.budgets:
            rule = "must come with a policy, and not an experiment, whose cells would share them"
            raise InvalidInput.of("budgets", rule, request.policy)
        allowed = channel_mask(parts.catalog, request.channels)
        return cls(parts, request, bound, experiment, epoch, allowed, run_budgets(parts.catalog, request))

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
            charge=price.charge,
        )


class Members(NamedTuple):
    """A run's members, to be gone through any number of times."""

    asking: Asking
    rows: Callable[[int], Iterator[NDArray[np.int64]]]
    """Gives all their rows in order, so many at a time."""
    observe: Callable[[NDArray[np.int64]], Seen]
    """Gives the history of some rows, as the run found it."""
    pool: ThreadPoolExecutor
    directory: Path
    """Where what memory does not hold is kept for a while."""

    def of_cell(self, code: int) -> Members:
        """Those in one cell of the experiment, under its policy alone."""
        experiment, rows = self.asking.experiment, self.rows
        assert experiment is not None
        codes = experiment.codes

        def mine(size: int) -> Iterator[NDArray[np.int64]]:
            return regrouped((some[codes[some] == code] for some in rows(size)), size)

        alone = replace(self.asking, bound=experiment.bound[code], experiment=None)
        return self._replace(asking=alone, rows=mine)


def regrouped(parts: Iterable[NDArray[np.int64]], size: int) -> Iterator[NDArray[np.int64]]:
    """Rows that come in parts of any sizes, in their order, `size` at a time."""
    waiting = np.zeros(0, np.int64)
    for part in parts:
        waiting = np.concatenate([waiting, part])
        while waiting.size >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting.size:
        yield waiting
