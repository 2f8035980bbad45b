"""Policies over the rows of a log, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import UnknownName, Violation
from decider.evaluation import Logged, PolicyValue, policy_value
from decider.learning import TrainSpec, cross_fit, fold_of
from decider.models import RawMap, UpliftModel
from decider_core.score import posterior_moments

Target = NDArray[np.float64]
"""Probability of every arm for every row, float64 of shape [n, A]."""


class Judged(NamedTuple):
    """One policy and what it is worth."""

    policy: str
    value: PolicyValue


def judge(
    log: Logged,
    targets: Mapping[str, Target],
    spec: TrainSpec,
    n_resamples: int,
    advance: Callable[[int], None],
) -> list[Judged]:
    """Estimate the value of each policy by IPS, SNIPS and DR.

    The reward model behind DR is linear and cross-fitted over the members of `log`.
    """
    z = RawMap.fit(log.x, log.feature_names).apply(log.x)
    q_hat = cross_fit(log, z, fold_of(log.member_keys, spec.folds, spec.seed), spec.folds)
    judged = []
    for name, target in targets.items():
        value = policy_value(target, log, q_hat, n_resamples=n_resamples, seed=spec.seed)
        judged.append(Judged(name, value))
        advance(len(judged))
    return judged


def constant(log: Logged, arm: int) -> Target:
    """Give one arm to everybody."""
    target = np.zeros((log.n_rows, log.n_arms))
    target[:, arm] = 1.0
    return target


def random_at_volume(log: Logged, share: float) -> Target:
    """Send with probability `share`, any message as likely as another."""
    target = np.full((log.n_rows, log.n_arms), share / (log.n_arms - 1))
    target[:, log.control] = 1.0 - share
    return target


def choose_at_volume(log: Logged, model: UpliftModel, share: float, messages: Mapping[str, str]) -> Target:
    """Send each row the message of the largest posterior mean; at most `share` of rows, the largest first.

    Parameters
    ----------
    log
        n rows.
    model
        Values the messages.
    share
        In [0, 1]; ``floor(share * n)`` rows at most, and none whose mean is not above 0.
    messages
        The message of an arm, where the model calls it by another name.

    Raises
    ------
    UnknownName
        When the model has no posterior for an arm.
    InvalidInput
        When the model was trained on other features.
    """
    model.check_features(log.feature_names)
    arms = [code for code in range(log.n_arms) if code != log.control]
    wanted = [messages.get(log.arms[code], log.arms[code]) for code in arms]
    bound = model.bind([(name, name.partition("@")[0], "") for name in wanted])
    strange = [
        Violation(
            "message",
            f"must name one of {list(model.posterior_names)} for arm {log.arms[code]!r}, got {name!r}",
        )
        for code, name, known in zip(arms, wanted, bound.estimable, strict=True)
        if not known
    ]
    if strange:
        raise UnknownName(strange)
    empty = np.zeros((len(model.pair_features), len(arms), log.n_rows), np.float32)
    mean, _ = posterior_moments(bound.packed, model.feature_map.apply(log.x), empty)
    best = mean.argmax(axis=0)
    largest = mean[best, np.arange(log.n_rows)]
    # Ties go by the member's key, which has nothing to do with the order of the log.
    order = np.lexsort((log.member_keys, -largest))
    chosen = order[: int(share * log.n_rows)]
    chosen = chosen[largest[chosen] > 0]
    target = constant(log, log.control)
    target[chosen, log.control] = 0.0
    target[chosen, np.array(arms)[best[chosen]]] = 1.0
    return target


def saw_rows(model: UpliftModel, spec: TrainSpec) -> bool:
    """Whether a model learnt from members of the part that `spec` names."""
    facts = model.trained
    halves = {facts.get("half"), spec.half}
    same_split = (facts.get("seed"), facts.get("train_share")) == (spec.seed, spec.train_share)
    return not (halves == {"train", "held-out"} and same_split)
