"""What decisions are made from: catalog, snapshot, models and policies, bound to each other once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog, audience_mask, priorities
from decider.decision.policy import MAX_SET, Policy, PolicySet
from decider.errors import InvalidInput, NotReady
from decider.members import Snapshot
from decider.models import BoundModel, UpliftModel
from decider_core.explore import explore_floor
from decider_core.history import Candidates, SnapshotSends


class CellOf(NamedTuple):
    """The cell of an experiment that a policy decides for."""

    experiment: str
    version: str
    """Of the experiment's content."""
    cell: str
    is_evaluation: bool
    """Whether its decisions are made to compare cells."""


@dataclass(frozen=True)
class BoundPolicy:
    """A policy with everything it needs, looked up and checked."""

    policy: Policy
    model: UpliftModel | None
    bound_model: BoundModel | None
    feature_columns: NDArray[np.int64] | None
    """Columns of the snapshot's features in the model's order; none when they are the same."""
    max_messages: int
    count_shares: NDArray[np.float64]
    """[max_messages + 1] probabilities of the explore stratum's counts."""
    explored: dict[tuple[object, ...], NDArray[np.float64] | None] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What single messages' chances in the explore stratum were found to be, by what members may get."""
    ready: dict[tuple[float, int], object] = field(default_factory=dict, compare=False, repr=False)
    """What :mod:`decider.decision.few` keeps, by price and tie cut."""
    cell: CellOf | None = None
    """Set where it decides for a cell of an experiment."""

    @cached_property
    def policy_version(self) -> str:
        """Version of the policy, hashed once."""
        return self.policy.version

    @property
    def model_version(self) -> str:
        """Version of the model; empty for the kinds that use none."""
        return self.model.version if self.model else ""


@dataclass(frozen=True)
class BoundExperiment:
    """An experiment with its policies, and the cell of every member."""

    name: str
    version: str
    start_micros: int
    end_micros: int
    otherwise: BoundPolicy | None
    """Decides before the start and after the end."""
    bound: tuple[BoundPolicy, ...]
    """By code of the cell; the first never sends."""
    codes: NDArray[np.uint8]
    """[n_members] the cell of each member of the snapshot."""


@dataclass(frozen=True)
class Parts:
    """One consistent set of catalog, snapshot, models and policies; replaced as a whole on reload."""

    catalog: Catalog
    snapshot: Snapshot
    policies: PolicySet
    models: Mapping[str, UpliftModel]
    bound: Mapping[str, BoundPolicy]
    audience: NDArray[np.uint64]
    """[n_words, n_members] bit k % 64 of word k // 64: the member is in the audience of candidate k."""
    consent: NDArray[np.uint32]
    """[n_members] bit c: the member consents to channel c of the catalog."""
    priority: NDArray[np.float32] | None
    """[n_candidates, n_members], only where a policy of kind heuristic is there."""
    snapshot_codes: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
    """Type, topic and channel in the catalog of each code of the snapshot's sends; -1 when not in it."""

    experiments: Mapping[str, BoundExperiment] = field(default_factory=dict)
    """By name: requests name one in the place of a policy."""

    @cached_property
    def of_candidates(self) -> Candidates:
        """What the candidates are to the rules of history; one object, so that it is checked once."""
        return Candidates(self.catalog.channel, self.catalog.topic, self.catalog.type)

    @cached_property
    def snapshot_sends(self) -> SnapshotSends:
        """The sends of the snapshot, with the catalog's codes."""
        snapshot = self.snapshot
        return SnapshotSends(
            snapshot.send_offsets, snapshot.send_time_micros, snapshot.send_codes, *self.snapshot_codes
        )

    def priorities_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n_candidates, n] priorities of some members, for the heuristic kind."""
        assert self.priority is not None
        return np.ascontiguousarray(self.priority[:, rows])

    def policy(self, name: str, field: str = "policy") -> BoundPolicy:
        """The bound policy called `name`, the default for an empty name."""
        return self.bound[self.policies.get(name, field).name]

    def policy_or_experiment(
        self, name: str, time_micros: int, field: str = "policy"
    ) -> BoundPolicy | BoundExperiment:
        """What `name` means at a time: a policy, or an experiment that runs then.

        Raises
        ------
        InvalidInput
            When there is no such policy, or the experiment does not run then and says nothing of other times.
        """
        experiment = self.experiments.get(name)
        if experiment is None:
            return self.policy(name, field)
        if experiment.start_micros <= time_micros < experiment.end_micros:
            return experiment
        if experiment.otherwise is None:
            rule = (
                f"must name an experiment that runs at the decision time {time_micros}, from "
                f"{experiment.start_micros} until {experiment.end_micros} (microseconds), or has `otherwise`"
            )
            raise InvalidInput.of(field, rule, name)
        return experiment.otherwise

    def policy_for(self, name: str, row: int, time_micros: int) -> BoundPolicy:
        """The policy that `name` means for the member of a row at a time."""
        found = self.policy_or_experiment(name, time_micros)
        return found.bound[found.codes[row]] if isinstance(found, BoundExperiment) else found


def bind_parts(
    catalog: Catalog, snapshot: Snapshot, policies: PolicySet, models: Mapping[str, UpliftModel]
) -> Parts:
    """Look up and check everything that the parts need of each other.

    Raises
    ------
    InvalidInput
        When a rule names a column that the snapshot lacks, a model a feature, a policy more messages than
        the caps allow, or a channel has no consent column.
    NotReady
        When a policy names a model that is not published.
    """
    parts = Parts(
        catalog=catalog,
        snapshot=snapshot,
        policies=policies,
        models={},
        bound={},
        audience=audience_mask(catalog, snapshot.attributes(None)),
        consent=snapshot.consent_by(catalog.channel_names),
        priority=None,
        snapshot_codes=snapshot.code_tables(catalog),
    )
    return rebind(parts, policies, models)


def rebind(parts: Parts, policies: PolicySet, models: Mapping[str, UpliftModel]) -> Parts:
    """Bind other policies and models to the same catalog and snapshot; see :func:`bind_parts`."""
    bound = {
        name: _bind(each, parts.catalog, parts.snapshot, models) for name, each in policies.policies.items()
    }
    priority = parts.priority
    if priority is None and _needs_priority(policies):
        priority = priorities(parts.catalog, parts.snapshot.attributes(None))
    return replace(parts, policies=policies, models=dict(models), bound=bound, priority=priority)


def _needs_priority(policies: PolicySet) -> bool:
    return any(policy.kind == "heuristic" for policy in policies.policies.values())


def _bind(
    policy: Policy, catalog: Catalog, snapshot: Snapshot, models: Mapping[str, UpliftModel]
) -> BoundPolicy:
    place = f"policy[{policy.name!r}]"
    max_messages = min(policy.max_messages or catalog.max_messages, catalog.max_messages, MAX_SET)
    if len(policy.explore_counts) > max_messages + 1:
        rule = f"must give probabilities for at most {max_messages} messages, the cap per decision"
        raise InvalidInput.of(f"{place}.explore_counts", rule, policy.explore_counts)
    count_shares = np.zeros(max_messages + 1)
    count_shares[: len(policy.explore_counts)] = policy.explore_counts
    explores = policy.explore > 0.0 or policy.kind in ("random", "epsilon_greedy")
    floor = explore_floor(count_shares, catalog.weight) if explores else 1.0
    if floor < policy.propensity_floor:
        rule = f"must not exceed the lowest propensity this catalog allows, {floor:.3g}"
        raise InvalidInput.of(f"{place}.propensity_floor", rule, policy.propensity_floor)
    if not policy.needs_model:
        return BoundPolicy(policy, None, None, None, max_messages, count_shares)
    model = models.get(policy.model)
    if model is None:
        raise NotReady(f"{place}.model names {policy.model!r}, which is not published")
    bound_model = model.bind([(c.id, c.message, c.type) for c in catalog.candidates])
    columns = _columns(model, snapshot)
    return BoundPolicy(policy, model, bound_model, columns, max_messages, count_shares)


def _columns(model: UpliftModel, snapshot: Snapshot) -> NDArray[np.int64] | None:
    names, have = model.feature_map.feature_names, snapshot.feature_names
    if tuple(names) == tuple(have):
        return None
    missing = [name for name in names if name not in have]
    if missing:
        rule = f"must have the features of model {model.name!r}; missing {', '.join(missing)}"
        raise InvalidInput.of("snapshot.features", rule, list(have))
    return np.array([have.index(name) for name in names], np.int64)
