"""The rows of a log on which policies are judged, and the reward model behind doubly robust estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decider.evaluation import Logged, read_logged
from decider.evaluation.policies import predicted_effects
from decider.learning.folds import fold_of
from decider.learning.nuisances import cross_fit
from decider.learning.threads import one_thread
from decider.learning.train import TrainSpec, half_of
from decider.logbook.feedback import Feedback
from decider.models import RawMap, UpliftModel

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judging:
    """A feedback log, and which of its rows judge.

    Parameters
    ----------
    feedback
        The log.
    spec
        Names the reward, the half that judges, and the folds of the reward model.
    messages
        The message of an arm, where models call it by another name.
    """

    feedback: Feedback
    spec: TrainSpec
    messages: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, spec: TrainSpec, messages: Mapping[str, str] | None = None) -> Judging:
        """Open a feedback directory, all of it checked."""
        return cls(Feedback.open(path), spec, messages or {})

    @cached_property
    def log(self) -> Logged:
        """The whole log."""
        return read_logged(self.feedback, self.spec.reward)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Which rows judge, bool of shape [rows of the log]."""
        return half_of(self.log.member_keys, self.spec)

    @cached_property
    def rows(self) -> Logged:
        """The n rows that judge."""
        return self.log.rows(self.kept)

    @cached_property
    def q_hat(self) -> F64:
        """The reward model's value of every arm: linear, cross-fitted over members; float64 of shape [n, A]."""
        return self._reward_model(self.rows)

    def other_reward(self, name: str) -> tuple[Logged, F64]:
        """Give the rows that judge with another of the log's rewards, such as opt-outs, and its model."""
        rows = read_logged(self.feedback, name).rows(self.kept)
        return rows, self._reward_model(rows)

    def predicted(self, model: UpliftModel) -> F64:
        """Predict every arm's effect on the rows that judge: see :func:`predicted_effects`."""
        return predicted_effects(self.rows, model, self.messages)

    def saw(self, model: UpliftModel) -> bool:
        """Whether a model learnt from members of the rows that judge."""
        return saw_rows(model, self.spec)

    def _reward_model(self, log: Logged) -> F64:
        spec = self.spec
        with one_thread():
            z = RawMap.fit(log.x, log.feature_names).apply(log.x)
            return cross_fit(log, z, fold_of(log.member_keys, spec.folds, spec.seed), spec.folds)


def saw_rows(model: UpliftModel, spec: TrainSpec) -> bool:
    """Whether a model learnt from members of the part that `spec` names."""
    facts = model.trained
    halves = {facts.get("half"), spec.half}
    same_split = (facts.get("seed"), facts.get("train_share")) == (spec.seed, spec.train_share)
    return not (halves == {"train", "held-out"} and same_split)
