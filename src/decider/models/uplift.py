"""The uplift model: what each message would cause, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.models import manifest
from decider.models.feature_map import FeatureMap
from decider_core.score import PackedPosterior, pack_posterior

TYPE_PREFIX = "type:"

Outcome = Literal["incrementality", "level"]


class BoundModel(NamedTuple):
    """A model laid out for the candidates of one catalog.

    Parameters
    ----------
    packed
        The posteriors in the order of the candidates; zeros where there is none.
    estimable
        uint8 of shape [K]: 1 where the candidate has a posterior, else 0.
    sources
        The posterior's name that each candidate took, "" where there is none.
    fatigue
        Fatigue coefficients ``v``, float32 of shape [d].
    same_topic_penalty
        The penalty ``rho`` per pair of one topic in a message set.
    """

    packed: PackedPosterior
    estimable: NDArray[np.uint8]
    sources: tuple[str, ...]
    fatigue: NDArray[np.float32]
    same_topic_penalty: float


@dataclass(frozen=True, eq=False)
class UpliftModel:
    """Gaussian posteriors over the coefficients of each message's effect.

    With ``z = feature_map(x)`` of length d and p pair features ``u``, the effect of message j is
    ``mean_j . [z, u]`` with variance ``[z, u]' covariance_j [z, u]``.

    Parameters
    ----------
    name
        The model's name; its versions follow one another in the registry.
    feature_map
        From raw features to ``z``.
    posterior_names
        What each posterior is for: ``message@channel``, ``message`` or ``type:<type>``.
    mean
        float64 of shape [J, D], D = d + p.
    covariance
        float64 of shape [J, D, D], or [J, D] for variances alone (a diagonal covariance).
    reward
        The name of the reward that was learnt.
    outcome
        ``incrementality``: the effect against sending nothing. ``level``: the expected reward after the
        message, which is a correlation and carries what would have happened anyway.
    fatigue
        Coefficients ``v`` of ``phi = max(0, v . z)``, float64 of shape [d]; None for zeros.
    same_topic_penalty
        ``rho`` >= 0.
    pair_features
        Names of the p pair features, in order.
    widen
        By what factor >= 1 the covariance of a type's posterior grows when a message without data takes it.
    trained
        Facts about the training, as JSON values.

    Raises
    ------
    InvalidInput
        For every rule that is broken, by the name of the field.
    """

    name: str
    feature_map: FeatureMap
    posterior_names: tuple[str, ...]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    reward: str
    outcome: Outcome = "incrementality"
    fatigue: NDArray[np.float64] | None = None
    same_topic_penalty: float = 0.0
    pair_features: tuple[str, ...] = ()
    widen: float = 2.0
    trained: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fatigue is None:
            object.__setattr__(self, "fatigue", np.zeros(self.feature_map.n_outputs))
        broken = [*_broken_names(self), *_broken_arrays(self), *_broken_numbers(self)]
        if broken:
            raise InvalidInput(broken)

    @property
    def n_coefficients(self) -> int:
        """D, the length of one posterior."""
        return self.feature_map.n_outputs + len(self.pair_features)

    @property
    def is_diagonal(self) -> bool:
        """Whether only variances are kept."""
        return self.covariance.ndim == 2

    @cached_property
    def version(self) -> str:
        """``sha256:`` and 16 hex digits that name this very content."""
        return manifest.encode(self.facts(), self.arrays()).version

    def check_features(self, feature_names: Sequence[str]) -> None:
        """Make sure that a snapshot has the features that this model was trained on, in its order.

        Raises
        ------
        InvalidInput
            Naming what is missing, what is extra, or the first place where the order differs.
        """
        wanted, found = self.feature_map.feature_names, tuple(feature_names)
        if wanted == found:
            return
        missing = [name for name in wanted if name not in set(found)]
        extra = [name for name in found if name not in set(wanted)]
        broken = []
        if missing:
            broken.append(Violation("features", f"must hold all of model {self.name!r}, missing {missing}"))
        if extra:
            broken.append(
                Violation("features", f"must hold none unknown to model {self.name!r}, got {extra}")
            )
        if not broken:
            pairs = enumerate(zip(wanted, found, strict=False))
            place, (ours, theirs) = next((i, p) for i, p in pairs if p[0] != p[1])
            rule = f"must be in the order of model {self.name!r}, {ours!r} at {place}"
            broken.append(Violation("features", f"{rule}, got {theirs!r}"))
        raise InvalidInput(broken)

    def bind(self, candidates: Sequence[tuple[str, str, str]]) -> BoundModel:
        """Lay the posteriors out for candidates.

        A candidate takes the posterior of its own id, else of its message, else of its message type with
        the covariance times `widen`; else it has none and is not estimable.

        Parameters
        ----------
        candidates
            For each candidate its id ``message@channel``, its message and its message type.
        """
        place = {name: j for j, name in enumerate(self.posterior_names)}
        n, size = len(candidates), self.n_coefficients
        mean = np.zeros((n, size))
        covariance = np.zeros((n, *self.covariance.shape[1:]))
        estimable = np.zeros(n, np.uint8)
        sources = []
        for k, (candidate_id, message, message_type) in enumerate(candidates):
            names = (candidate_id, message, TYPE_PREFIX + message_type)
            source = next((name for name in names if name in place), "")
            sources.append(source)
            if not source:
                continue
            estimable[k] = 1
            mean[k] = self.mean[place[source]]
            factor = self.widen if source.startswith(TYPE_PREFIX) else 1.0
            covariance[k] = factor * self.covariance[place[source]]
        packed = pack_posterior(mean, covariance, len(self.pair_features))
        assert self.fatigue is not None
        fatigue = self.fatigue.astype(np.float32)
        return BoundModel(packed, estimable, tuple(sources), fatigue, self.same_topic_penalty)

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        return {
            "name": self.name,
            "feature_map": self.feature_map.facts(),
            "posterior_names": list(self.posterior_names),
            "reward": self.reward,
            "outcome": self.outcome,
            "same_topic_penalty": self.same_topic_penalty,
            "pair_features": list(self.pair_features),
            "widen": self.widen,
            "trained": dict(self.trained),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        assert self.fatigue is not None
        own = {"mean": self.mean, "covariance": self.covariance, "fatigue": self.fatigue}
        return own | self.feature_map.arrays()


def _broken_names(model: UpliftModel) -> list[Violation]:
    broken = []
    if not model.name:
        broken.append(Violation("name", "must not be empty, got ''"))
    if not model.posterior_names:
        broken.append(Violation("posterior_names", "must hold at least one, got none"))
    for name, values in (("posterior_names", model.posterior_names), ("pair_features", model.pair_features)):
        if len(set(values)) != len(values) or "" in values:
            broken.append(Violation(name, f"must be distinct and not empty, got {list(values)}"))
    if model.outcome not in ("incrementality", "level"):
        broken.append(Violation("outcome", f"must be 'incrementality' or 'level', got {model.outcome!r}"))
    return broken


def _broken_numbers(model: UpliftModel) -> list[Violation]:
    broken = []
    if not 0.0 <= model.same_topic_penalty < np.inf:
        rule = "must be finite and >= 0"
        broken.append(Violation("same_topic_penalty", f"{rule}, got {model.same_topic_penalty}"))
    if not 1.0 <= model.widen < np.inf:
        broken.append(Violation("widen", f"must be finite and >= 1, got {model.widen}"))
    return broken


def _broken_arrays(model: UpliftModel) -> list[Violation]:
    n, size = len(model.posterior_names), model.n_coefficients
    full = (n, size, size) if model.covariance.ndim != 2 else (n, size)
    assert model.fatigue is not None
    wanted = (
        ("mean", model.mean, (n, size)),
        ("covariance", model.covariance, full),
        ("fatigue", model.fatigue, (model.feature_map.n_outputs,)),
    )
    broken = []
    for name, values, shape in wanted:
        if values.dtype != np.float64 or values.shape != shape:
            found = f"{values.dtype} of shape {values.shape}"
            broken.append(Violation(name, f"must be float64 of shape {shape}, got {found}"))
        elif not np.isfinite(values).all():
            place = tuple(map(int, np.argwhere(~np.isfinite(values))[0]))
            broken.append(Violation(name, f"must be finite, got {values[place]} at {place}"))
    if not broken:
        broken += _broken_covariance(model.covariance)
    return broken


def _broken_covariance(covariance: NDArray[np.float64]) -> list[Violation]:
    if covariance.ndim == 2:
        if (covariance >= 0).all():
            return []
        place = tuple(map(int, np.argwhere(covariance < 0)[0]))
        return [Violation("covariance", f"must be >= 0, got {covariance[place]} at {place}")]
    size = np.abs(covariance).max(axis=(1, 2))
    skew = np.abs(covariance - covariance.transpose(0, 2, 1)).max(axis=(1, 2))
    for j in np.flatnonzero(skew > 1e-10 * size):
        return [Violation("covariance", f"must be symmetric, differs by {skew[j]:.3g} at posterior {j}")]
    smallest = np.linalg.eigvalsh(covariance)[:, 0]
    for j in np.flatnonzero(smallest < -1e-10 * size):
        rule = "must be positive semidefinite"
        return [Violation("covariance", f"{rule}, got eigenvalue {smallest[j]:.3g} at posterior {j}")]
    return []
