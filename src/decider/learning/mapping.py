"""The feature map that a training stands on, fitted so that no member is learnt from twice.

Leaves that were grown round some members' rewards hold the luck of those rewards, and effects that are learnt from
the same members would find it again and believe it. So the members are split once: trees are grown on one part,
and everything else (nuisances, effects, the choice of learners by held-out loss) sees the others only. There the map
is a fixed function, whatever the folds. Raw columns and a network that is given see no rewards, and take all members.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation import Logged
from decider.learning.dr_learner import pseudo_outcome
from decider.learning.folds import fold_of, split
from decider.learning.nuisances import cross_fit
from decider.models import FeatureMap, GbdtMap, OnnxMap, RawMap

MapKind = Literal["raw", "gbdt", "onnx"]

_MAPPING: Final = 2_000_003
"""Added to the seed, so that this split is independent of halves and folds."""


class MapSpec(NamedTuple):
    """How to make a map.

    Parameters
    ----------
    kind
        ``raw``: standardised columns. ``gbdt``: these, a prognosis and the leaves of few boosted trees, half of
        them grown for the reward and half for what messages cause on average. ``onnx``: raw columns and the
        outputs of a given network.
    share
        Of the members, for growing trees.
    n_trees, n_leaves
        Trees grown for the reward, as many for effects; and the most leaves of each.
    folds, seed
        Of the nuisances of the trees for effects; and the seed of the split and of LightGBM.
    network
        The bytes of an ONNX file.
    """

    kind: MapKind
    share: float
    n_trees: int
    n_leaves: int
    folds: int
    seed: int
    network: bytes | None


def fit_map(log: Logged, spec: MapSpec) -> tuple[FeatureMap, Logged, dict[str, Any]]:
    """Fit a map.

    Returns
    -------
    tuple
        The map, the rows that effects may be learnt from, and facts as JSON values.

    Raises
    ------
    InvalidInput
        If a network is given without its kind or the other way round, or the split leaves too few rows.
    """
    if (spec.kind == "onnx") != (spec.network is not None):
        rule = "must be given with the feature map 'onnx', and only then"
        raise InvalidInput.of("network", rule, "none" if spec.network is None else "one")
    if spec.kind == "raw":
        return RawMap.fit(log.x, log.feature_names), log, {"kind": "raw"}
    if spec.network is not None:
        fitted = OnnxMap.fit(log.x, log.feature_names, spec.network)
        return fitted, log, {"kind": "onnx", "n_outputs": fitted.n_outputs}
    seed = spec.seed + _MAPPING
    growing = split(log.member_keys, seed, spec.share)
    grown, rest = log.rows(growing), log.rows(~growing)
    trees = GbdtMap.fit(
        grown.x,
        log.feature_names,
        _targets(grown, spec, seed),
        n_trees=spec.n_trees,
        n_leaves=spec.n_leaves,
        seed=spec.seed,
    )
    facts = {
        "kind": "gbdt",
        "n_outputs": trees.n_outputs,
        "n_trees": len(trees.trees.leaf_offsets) - 1,
        "n_leaves": int(trees.trees.leaf_value.size),
        "n_rows_grown_on": grown.n_rows,
    }
    return trees, rest, facts


def _targets(log: Logged, spec: MapSpec, seed: int) -> list[NDArray[np.float64]]:
    """The reward, and the mean of the messages' doubly robust pseudo-outcomes, where each is possible."""
    z = RawMap.fit(log.x, log.feature_names).apply(log.x)
    q_hat = cross_fit(log, z, fold_of(log.member_keys, spec.folds, seed), spec.folds)
    total, n = np.zeros(log.n_rows), np.zeros(log.n_rows)
    for code in range(log.n_arms):
        if code == log.control:
            continue
        rows = np.flatnonzero((log.propensity[:, code] > 0) & (log.propensity[:, log.control] > 0))
        total[rows] += pseudo_outcome(log.rows(rows), q_hat[rows], code)
        n[rows] += 1.0
    return [log.reward, total / np.maximum(n, 1.0)]
