"""A feedback log that is judged on in chunks: never more of it in memory than a few row groups.

In order: the survey (members, features), the lessons (average effects, propensities, the cross-fitted reward
model), the prices of volumes, and then the passes of the judge. Each goes through the log from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation import AverageEffects, Logged, MemberCount, PropensityCheck, logged_chunks
from decider.evaluation.ahead import ahead
from decider.evaluation.effects import EffectSums
from decider.evaluation.passes import JudgedChunk
from decider.evaluation.policies import Target, best_above, count_largest, predicted_effects, volume_price
from decider.evaluation.propensities import CheckSums
from decider.evaluation.reading import LogLayout
from decider.learning.folds import fold_of
from decider.learning.nuisances import RewardModels, RewardSums
from decider.learning.threads import one_thread
from decider.learning.train import TrainSpec, half_of
from decider.logbook.feedback import Feedback
from decider.models import RawMap, UpliftModel
from decider.models.feature_map import FeatureMoments
from decider_core.price import RateHistogram

F64 = NDArray[np.float64]
Decide = Callable[[Logged], Target]
"""What a policy would do with rows."""
Told = Callable[[str, int, int], None]
"""Told of the pass, how many rows it is through with, and of how many."""


class Survey(NamedTuple):
    """What the first pass finds.

    Parameters
    ----------
    members
        Of the whole log.
    n_judged
        Rows that judge.
    judged
        Their members.
    feature_map
        Standardises the features of the rows that judge.
    largest
        By model: their largest predictions, counted.
    """

    members: MemberCount
    n_judged: int
    judged: MemberCount
    feature_map: RawMap
    largest: Mapping[str, RateHistogram]


class Lessons(NamedTuple):
    """What the second pass finds.

    Parameters
    ----------
    effects
        Average effects of the arms, on the whole log.
    checks
        Its propensities against how often arms came.
    models
        By reward: its linear models, cross-fitted over the rows that judge.
    """

    effects: AverageEffects
    checks: list[PropensityCheck]
    models: Mapping[str, RewardModels]


class LogPasses:
    """A feedback log, and which of its rows judge.

    Parameters
    ----------
    feedback
        The log.
    spec
        Names the reward, the half that judges, and the folds of the reward model.
    messages
        The message of an arm, where models call it by another name.
    harm
        Another reward of the log, such as opt-outs, to be judged by too.
    told
        Is told how far each pass is.
    """

    def __init__(
        self,
        feedback: Feedback,
        spec: TrainSpec,
        messages: Mapping[str, str] | None = None,
        harm: str | None = None,
        told: Told | None = None,
    ) -> None:
        self.feedback = feedback
        self.spec = spec
        self._messages = messages or {}
        self._rewards = (spec.reward,) if harm is None else (spec.reward, harm)
        self._told = told
        layout = LogLayout.of(feedback, self._rewards)
        self.arms, self.control = layout.arms, layout.control

    @classmethod
    def open(
        cls,
        path: Path,
        spec: TrainSpec,
        messages: Mapping[str, str] | None = None,
        harm: str | None = None,
        told: Told | None = None,
    ) -> LogPasses:
        """Open a feedback directory, all of it checked."""
        return cls(Feedback.open(path), spec, messages, harm, told)

    def survey(self, models: Mapping[str, UpliftModel] | None = None) -> Survey:
        """Count members and predictions and measure features, in one pass.

        Parameters
        ----------
        models
            By name: those that will be asked for a volume.

        Raises
        ------
        UnknownName
            When a model has no posterior for an arm.
        InvalidInput
            When a model was trained on other features, or no row judges.
        """
        models = models or {}
        members, judged, n_judged = MemberCount(), MemberCount(), 0
        largest = {name: RateHistogram() for name in models}
        moments: FeatureMoments | None = None
        for logs in ahead(self._chunks("survey")):
            members.add(logs[0].member_keys)
            rows = self._judging(logs)
            if rows is None:
                continue
            judged.add(rows[0].member_keys)
            n_judged += rows[0].n_rows
            more = FeatureMoments.of(rows[0].x)
            moments = more if moments is None else moments.plus(more)
            for name, model in models.items():
                count_largest(largest[name], rows[0], self._predicted(rows[0], model))
        if moments is None:
            raise InvalidInput.of("rows", f"must have at least one in the half {self.spec.half!r}", "none")
        feature_map = RawMap.of_moments(moments, self.feedback.feature_names)
        return Survey(members, n_judged, judged, feature_map, largest)

    def lessons(self, survey: Survey) -> Lessons:
        """Average effects, propensities and reward models, in one pass."""
        effects = EffectSums(self.arms, self.control, self.spec.reward, survey.members)
        checks = CheckSums(self.arms, survey.members)
        sums = {name: RewardSums(len(self.arms), self.spec.folds) for name in self._rewards}
        for logs in ahead(self._chunks("reward model")):
            effects.add(logs[0])
            checks.add(logs[0])
            rows = self._judging(logs)
            if rows is None:
                continue
            z, fold = survey.feature_map.apply(rows[0].x), self._folds(rows[0])
            for name, log in {log.reward_name: log for log in rows}.items():
                sums[name].add(log, z, fold)
        with one_thread():
            models = {name: each.models(self.arms) for name, each in sums.items()}
        return Lessons(effects.effects(), checks.checks(), models)

    def best_at_volume(self, survey: Survey, name: str, model: UpliftModel, share: float) -> Decide:
        """Send each row the model's best message, at most `share` of the rows that judge.

        One pass, and four more where predictions tie at the last that is sent; the survey must have counted the
        model's predictions.
        """

        def one_pass() -> Iterator[tuple[Logged, F64]]:
            for rows in self._judged_rows("volume"):
                yield rows[0], self._predicted(rows[0], model)

        volume = int(share * survey.n_judged)
        price = volume_price(lambda: ahead(one_pass()), volume, survey.largest[name])
        return lambda log: best_above(log, self._predicted(log, model), price)

    def judged(
        self, survey: Survey, lessons: Lessons, policies: Mapping[str, Decide | None], stage: str
    ) -> Iterator[JudgedChunk]:
        """Go through the rows that judge, with what policies would do there; None is one that sends nothing."""
        q_hat = self._model(survey, lessons)

        def chunks() -> Iterator[JudgedChunk]:
            for log, *others in self._judged_rows(stage):
                targets = {name: None if decide is None else decide(log) for name, decide in policies.items()}
                yield JudgedChunk(log, targets, q_hat, *((others[0], q_hat) if others else ()))

        return ahead(chunks())

    def ranked(
        self, survey: Survey, lessons: Lessons, model: UpliftModel, stage: str
    ) -> Iterator[tuple[JudgedChunk, F64]]:
        """Go through the rows that judge, with what a model predicts of every arm."""
        q_hat = self._model(survey, lessons)

        def chunks() -> Iterator[tuple[JudgedChunk, F64]]:
            for log, *others in self._judged_rows(stage):
                chunk = JudgedChunk(log, {}, q_hat, *((others[0], q_hat) if others else ()))
                yield chunk, self._predicted(log, model)

        return ahead(chunks())

    def _model(self, survey: Survey, lessons: Lessons) -> Callable[[Logged], F64]:
        def q_hat(log: Logged) -> F64:
            z = survey.feature_map.apply(log.x)
            return lessons.models[log.reward_name].predict(z, self._folds(log))

        return q_hat

    def _predicted(self, log: Logged, model: UpliftModel) -> F64:
        return predicted_effects(log, model, self._messages)

    def _folds(self, log: Logged) -> NDArray[np.int64]:
        return fold_of(log.member_keys, self.spec.folds, self.spec.seed)

    def _judged_rows(self, stage: str) -> Iterator[tuple[Logged, ...]]:
        for logs in self._chunks(stage):
            rows = self._judging(logs)
            if rows is not None:
                yield rows

    def _judging(self, logs: tuple[Logged, ...]) -> tuple[Logged, ...] | None:
        kept = half_of(logs[0].member_keys, self.spec)
        if not kept.any():
            return None
        first = logs[0].rows(kept)
        return first, *(first.with_reward(log.reward_name, log.reward[kept]) for log in logs[1:])

    def _chunks(self, stage: str) -> Iterator[tuple[Logged, ...]]:
        n_rows = 0
        for logs in logged_chunks(self.feedback, self._rewards):
            yield logs
            n_rows += logs[0].n_rows
            if self._told is not None:
                self._told(stage, n_rows, self.feedback.n_rows)
