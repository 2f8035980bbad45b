"""From a logged trial to models that can be published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, UnknownName, Violation
from decider.evaluation import FeedbackTable, Logged, read_logged
from decider.learning.choice import choose, learn_one
from decider.learning.correlational import correlational
from decider.learning.dr_learner import ArmPosterior, group_by_type, type_parent
from decider.learning.folds import split
from decider.learning.mapping import MapKind, MapSpec, fit_map
from decider.learning.r_learner import set_model
from decider.learning.single_messages import facts_of, r_learner_of_arms
from decider.learning.threads import one_thread
from decider.models import FeatureMap, UpliftModel
from decider.models.uplift import TYPE_PREFIX, Outcome

Learner = Literal[
    "auto",
    "s_learner",
    "prognostic",
    "dr_prognostic",
    "x_learner",
    "dr_learner",
    "t_learner",
    "dr_gbdt",
    "r_learner",
    "correlational",
]


class TrainSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to train.

    Parameters
    ----------
    reward
        The reward to learn.
    learners
        Which models to learn; ``auto`` takes for each message the learner that held-out rows support
        (:mod:`decider.learning.choice`). It does not choose ``r_learner``, whose messages are learnt together.
    names
        The models' names by learner; a learner's own name unless given.
    half
        Which members to learn from: ``train``, ``held-out`` or ``all``.
    train_share
        The share of members in the training half, in (0, 1).
    folds
        Folds of the cross-fitting, >= 2.
    seed
        The seed of halves and folds.
    messages
        For an arm the name of its posterior: a message, or ``message@channel``. Unless given, the arm's name.
    types
        For an arm its message type; every type given gets a posterior that its new messages start from.
    widen
        By what factor the covariance of a type's posterior grows for a message without data, >= 1.
    feature_map
        What effects are linear in, see :mod:`decider.learning.mapping`.
    map_share
        With trees: the share of the members to learn from that the trees are grown on, in (0, 1). Effects are
        learnt from the others.
    map_trees, map_leaves
        With trees: how many for the reward and as many for effects, and the most leaves of each. Each leaf is
        a coefficient, and learners want four members for each.
    network
        With ``onnx``: the bytes of the model file.
    """

    reward: str
    learners: tuple[Learner, ...] = ("auto", "correlational")
    names: dict[str, str] = {}
    half: Literal["train", "held-out", "all"] = "train"
    train_share: float = 0.5
    folds: int = 5
    seed: int = 0
    messages: dict[str, str] = {}
    types: dict[str, str] = {}
    widen: float = 2.0
    feature_map: MapKind = "raw"
    map_share: float = 0.3
    map_trees: int = 4
    map_leaves: int = 8
    network: bytes | None = None


class Training(NamedTuple):
    """What a training gave.

    Parameters
    ----------
    models
        One model for each learner, in the order of the specification.
    facts
        Facts about the training that all models share, as JSON values.
    """

    models: tuple[UpliftModel, ...]
    facts: dict[str, Any]

    def model(self, learner: Learner) -> UpliftModel:
        """Return the model of one learner."""
        return next(model for model in self.models if model.trained["learner"] == learner)


def train(feedback: FeedbackTable, spec: TrainSpec) -> Training:
    """Learn from a stored log; see :func:`train_on`."""
    return train_on(read_logged(feedback, spec.reward), spec)


def train_on(log: Logged, spec: TrainSpec) -> Training:
    """Learn a model with each learner of the specification from one part of the members.

    Parameters
    ----------
    log
        The whole log; the half is taken here.
    spec
        How.

    Raises
    ------
    InvalidInput
        If the specification names what the log does not have, the reward does not vary, or an arm has too few
        rows.

    Notes
    -----
    Constant features have no effect in the models and are named in ``constant_features``; the number of
    features that the others determine is ``n_dependent_features`` of each arm. The prior holds both.
    """
    with one_thread():
        return _train_on(log, spec)


def _train_on(log: Logged, spec: TrainSpec) -> Training:
    _check(log, spec)
    rows = half_of(log.member_keys, spec)
    part = log.rows(rows)
    _check_reward(part)
    map_spec = MapSpec(
        spec.feature_map, spec.map_share, spec.map_trees, spec.map_leaves, spec.folds, spec.seed, spec.network
    )
    feature_map, part, map_facts = fit_map(part, map_spec)
    _check_reward(part)
    z = feature_map.apply(part.x)
    counts = np.bincount(part.arm, minlength=part.n_arms)
    facts: dict[str, Any] = {
        "reward": spec.reward,
        "half": spec.half,
        "train_share": spec.train_share,
        "seed": spec.seed,
        "folds": spec.folds,
        "n_rows": part.n_rows,
        "n_members": len(np.unique(part.member_keys)),
        "n_features": len(part.feature_names),
        "constant_features": list(feature_map.constant_features),
        "feature_map": map_facts,
        "control": part.arms[part.control],
        "rows_by_arm": {arm: int(n) for arm, n in zip(part.arms, counts, strict=True)},
        "mean_reward": float(part.reward.mean()),
    }
    models = []
    for learner in spec.learners:
        if learner == "correlational":
            models.append(_model(learner, "level", feature_map, correlational(part, z), spec, facts))
            continue
        if learner == "r_learner":
            models.append(_r_model(part, z, feature_map, spec, facts))
            continue
        own = facts
        if learner == "auto":
            choice = choose(part, z, n_folds=spec.folds, seed=spec.seed)
            arms, own = choice.arms, {**facts, "choice": choice.facts}
        else:
            arms = learn_one(part, z, learner, spec.folds, spec.seed)
        models.append(_model(learner, "incrementality", feature_map, arms, spec, own))
    return Training(tuple(models), facts)


def half_of(member_keys: NDArray[np.uint64], spec: TrainSpec) -> NDArray[np.bool_]:
    """Mark the rows that a specification learns from, bool of shape [n]."""
    if spec.half == "all":
        return np.ones(len(member_keys), np.bool_)
    in_training = split(member_keys, spec.seed, spec.train_share)
    return in_training if spec.half == "train" else ~in_training


def _model(
    learner: Learner,
    outcome: Outcome,
    feature_map: FeatureMap,
    arms: list[ArmPosterior],
    spec: TrainSpec,
    facts: Mapping[str, Any],
) -> UpliftModel:
    names = [spec.messages.get(arm.arm, arm.arm) for arm in arms]
    means = [arm.posterior.mean for arm in arms]
    covariances = [arm.posterior.covariance for arm in arms]
    for kind, members in group_by_type(arms, spec.types).items():
        mean, covariance = type_parent(members)
        names.append(TYPE_PREFIX + kind)
        means.append(mean)
        covariances.append(covariance)
    return UpliftModel(
        name=spec.names.get(learner, learner),
        feature_map=feature_map,
        posterior_names=tuple(names),
        mean=np.stack(means),
        covariance=np.stack(covariances),
        reward=spec.reward,
        outcome=outcome,
        widen=spec.widen,
        trained={**facts, "learner": learner, "arms": {arm.arm: arm.facts() for arm in arms}},
    )


def _r_model(
    part: Logged, z: NDArray[np.float32], feature_map: FeatureMap, spec: TrainSpec, facts: Mapping[str, Any]
) -> UpliftModel:
    posterior = r_learner_of_arms(part, z, spec.types, n_folds=spec.folds, seed=spec.seed)
    own = facts_of(posterior, part)
    renamed = tuple(spec.messages.get(arm, arm) for arm in posterior.candidates)
    return set_model(
        posterior._replace(candidates=renamed, facts=own),
        feature_map,
        name=spec.names.get("r_learner", "r_learner"),
        reward=spec.reward,
        trained=facts,
    )


def _check(log: Logged, spec: TrainSpec) -> None:
    if log.reward_name != spec.reward:
        raise InvalidInput.of("reward", f"must be that of the log, {log.reward_name!r}", spec.reward)
    if not spec.learners or len(set(spec.learners)) != len(spec.learners):
        raise InvalidInput.of("learners", "must be one or more, each once", list(spec.learners))
    treated = [arm for code, arm in enumerate(log.arms) if code != log.control]
    unknown = [
        Violation(f"{field}[{arm!r}]", f"must name one of the arms {treated}, got {arm!r}")
        for field, mapping in (("messages", spec.messages), ("types", spec.types))
        for arm in mapping
        if arm not in treated
    ]
    strange = set(spec.names) - set(spec.learners)
    unknown += [Violation("names", f"must name a learner in use, got {name!r}") for name in sorted(strange)]
    if unknown:
        raise UnknownName(unknown)


def _check_reward(part: Logged) -> None:
    if part.n_rows == 0 or (part.reward == part.reward[0]).all():
        found = float(part.reward[0]) if part.n_rows else "no rows"
        rule = f"must vary among the {part.n_rows} rows to learn from"
        raise InvalidInput.of(f"y:{part.reward_name}", rule, found)
