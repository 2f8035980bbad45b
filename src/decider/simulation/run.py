"""Policies side by side: all live through the same epochs with the same members, each with its own consequences."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.simulation.choose import Choice, Question, choose
from decider.simulation.contenders import COUNT_SHARES, Contender
from decider.simulation.effects import EffectLearner
from decider.simulation.learner import Batch, Learner, Posterior
from decider.simulation.levels import LevelLearner
from decider.simulation.metrics import Measured, epochs_frame, measure
from decider.simulation.outcomes import Outcomes, draw_outcomes
from decider.simulation.past import live_past
from decider.simulation.state import State
from decider.simulation.truth import response
from decider.simulation.world import Epoch, World

Progress = Callable[[int, int], None]
MakeLearner = Callable[[Contender, World], Learner | None]


class Simulation(NamedTuple):
    """What came of it."""

    epochs: pl.DataFrame
    """One row a policy and epoch; see :func:`decider.simulation.metrics.epochs_frame`."""
    messages: pl.DataFrame
    """``policy, epoch, message, sends, incremental``"""


def make_learner(contender: Contender, world: World) -> Learner | None:
    """The simulation's own learner of a contender; none for those that learn nothing."""
    d, p = world.weights.shape[2] - 1, 1
    if contender.learns == "levels":
        return LevelLearner(world.messages.n, d, p)
    if contender.learns == "nothing":
        return None
    return EffectLearner(world.messages, d, p, parents=contender.learns == "effects")


def simulate(
    world: World,
    contenders: Sequence[Contender],
    volume: float,
    progress: Progress | None = None,
    learner_of: MakeLearner = make_learner,
) -> Simulation:
    """Let policies live side by side in a world.

    Parameters
    ----------
    world
        From :func:`decider.simulation.world.make_world`.
    contenders
        The policies; the oracle must be among them, since all are measured against it.
    volume
        Sends a member and epoch that each may use, but for send-all; in (0, max_messages].
    progress
        Told the epochs done, and of how many.
    learner_of
        Makes a contender's learner, in place of the simulation's own.

    Raises
    ------
    InvalidInput
        For a volume out of range, no oracle, or a name twice.
    """
    spec = world.spec
    if not 0.0 < volume <= spec.max_messages:
        raise InvalidInput.of("volume", f"must be in (0, {spec.max_messages}] sends a member", volume)
    if len(COUNT_SHARES) > spec.max_messages + 1:
        rule = f"must be at least {len(COUNT_SHARES) - 1}, the most messages of a set drawn at random"
        raise InvalidInput.of("max_messages", rule, spec.max_messages)
    names = [contender.name for contender in contenders]
    if "oracle" not in names or len(set(names)) < len(names):
        raise InvalidInput.of("policies", "must hold the oracle, and each name once", names)
    past = live_past(world)
    lives = [_Life(each, past.state.copy(), learner_of(each, world)) for each in contenders]
    rows, messages = [], []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for life in lives:
            life.start(past.batches)
        for number in range(spec.n_epochs):
            epoch = world.epoch(number)
            for life in lives:
                measured = life.step(epoch, volume, pool)
                rows.append(measured.row)
                messages.append(measured.messages)
            if progress is not None:
                progress(number + 1, spec.n_epochs)
    return Simulation(epochs_frame(rows), pl.concat(messages))


@dataclass
class _Life:
    """One policy and what became of its members."""

    contender: Contender
    state: State
    learner: Learner | None
    posterior: Posterior | None = None
    waiting: deque[Batch] = field(default_factory=deque)
    """Epochs whose windows are open."""

    def start(self, past: Sequence[Batch]) -> None:
        """Begin with the prior; who learns levels begins with the past, whose propensities nobody kept."""
        if self.learner is None:
            return
        self.posterior = self.learner.prior()
        if self.contender.learns == "levels":
            for batch in past:
                self.posterior = self.learner.fit(batch)

    def step(self, epoch: Epoch, volume: float, pool: ThreadPoolExecutor) -> Measured:
        """Decide, see what comes of it, learn from the windows that close."""
        question = Question(epoch, self.state, self.contender, self.posterior, volume, epoch.world.spec.seed)
        choice = choose(question, pool)
        answer = response(epoch, self.state.recent, choice.sets)
        outcomes = draw_outcomes(epoch, answer.expected)
        if self.learner is not None:
            self.waiting.append(self._batch(epoch, choice, outcomes))
            # The window of this epoch's decisions is closed when all delays have passed: not before.
            while self.waiting and self.waiting[0].epoch + epoch.world.spec.window_epochs <= epoch.number:
                self.posterior = self.learner.fit(self.waiting.popleft())
        departures = self.state.after(epoch, choice.sets)
        seen = (answer, outcomes, departures)
        return measure(self.contender.name, epoch.number, choice, seen, epoch.world.messages)

    def _batch(self, epoch: Epoch, choice: Choice, outcomes: Outcomes) -> Batch:
        """What the learner may use: for levels whoever was messaged, for effects whose set chance had a part in."""
        if self.contender.learns == "levels":
            of_use = choice.sets[0] >= 0
        else:
            of_use = choice.drawn | (self.contender.kind == "thompson")
        return batch_of(epoch, self.state, choice, outcomes, np.flatnonzero(of_use))


def batch_of(
    epoch: Epoch, state: State, choice: Choice, outcomes: Outcomes, rows: NDArray[np.int64]
) -> Batch:
    """The decisions of some members as a learner reads them once their windows are closed."""
    return Batch(
        epoch=epoch.number,
        keys=epoch.world.members.keys[rows],
        z=epoch.features(state.recent, rows),
        u=epoch.world.affinity[None, :, rows],
        reason=choice.reason[:, rows],
        sets=choice.sets[:, rows],
        drawn=choice.drawn[rows],
        inclusion=None if choice.inclusion is None else choice.inclusion.of(rows),
        reward=outcomes.reward[rows].astype(np.float64),
    )
