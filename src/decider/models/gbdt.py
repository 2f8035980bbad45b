"""The feature map of boosted trees: raw features, a prognosis, and which leaf of every tree a member is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.models.feature_map import RawMap, broken_vector
from decider.models.on_raw import OnRaw
from decider.models.trees import trees_of_dump
from decider_core.contracts import ContractError
from decider_core.features import leaf_columns
from decider_core.forest import forest_leaves
from decider_core.trees import ForestArrays, PackedForest, pack_forest

MOST_LEAVES: Final = 256
"""Of all trees together: a posterior has the square of that many numbers."""
_TREE: Final = "tree_"


@dataclass(frozen=True, eq=False)
class GbdtMap(OnRaw):
    """``z = [1, standardised raw features, weight * standardised prognosis, 1{leaf} - share, ...]``.

    The prognosis is the sum of the leaf values of the first trees. There is a column for each leaf of each tree,
    centred by the leaf's share of the members that the map was fitted on and not divided by its spread: so all
    leaves of one tree together vary as one standardised feature does, and a prior that is shared by all slopes
    treats a tree like a feature. The weight makes the prior of the prognosis wider by its square.

    Parameters
    ----------
    raw
        The raw part, with an intercept.
    trees
        Trees over the raw features.
    leaf_share
        float64 of shape [all leaves].
    n_score_trees
        How many trees, from the first, make the prognosis.
    score
        Its mean and standard deviation where the map was fitted, and the weight, float64 of shape [3]. With
        deviation zero its column is zero.
    """

    trees: ForestArrays
    leaf_share: NDArray[np.float64]
    n_score_trees: int
    score: NDArray[np.float64]
    kind: ClassVar[str] = "gbdt"

    def __post_init__(self) -> None:
        n_leaves, n_trees = self.trees.leaf_value.size, self.trees.leaf_offsets.size - 1
        broken = self._broken_raw()
        if n_leaves > MOST_LEAVES:
            broken.append(
                Violation("trees", f"must have at most {MOST_LEAVES} leaves in all, got {n_leaves}")
            )
        broken += broken_vector("leaf_share", self.leaf_share, n_leaves)
        broken += broken_vector("score", self.score, 3)
        if not 0 <= self.n_score_trees <= n_trees:
            broken.append(Violation("n_score_trees", f"must be 0 to {n_trees}, got {self.n_score_trees}"))
        if not broken and (self.score[1] < 0 or self.score[2] <= 0):
            rule = "must have a deviation >= 0 and a weight > 0"
            broken.append(Violation("score", f"{rule}, got {self.score[1]} and {self.score[2]}"))
        if broken:
            raise InvalidInput(broken)
        # Packed now, so that trees that break a rule are refused here and not at the first member.
        assert self._packed

    @classmethod
    def fit(
        cls,
        x: NDArray[np.float32],
        names: Sequence[str],
        targets: Sequence[NDArray[np.float64]],
        *,
        n_trees: int = 4,
        n_leaves: int = 8,
        score_weight: float = 3.0,
        seed: int = 0,
    ) -> GbdtMap:
        """Grow trees.

        Parameters
        ----------
        x
            Raw features, float32 of shape [n, d0], finite.
        names
            The d0 feature names.
        targets
            What to grow trees for, each float64 of shape [n]; the first is the prognosis.
        n_trees, n_leaves
            Trees for each target, and the most leaves of each.
        score_weight
            The weight of the prognosis.
        seed
            The seed of LightGBM.

        Notes
        -----
        The effects that a model has in ``z`` must be learnt from other members: a leaf that was grown round some
        members' chance rewards would find its own luck again in theirs.
        """
        raw = RawMap.fit(x, names)
        if not targets or n_trees < 1 or n_leaves < 2:
            found = (len(targets), n_trees, n_leaves)
            rule = "must be at least one of each, with two leaves or more"
            raise InvalidInput.of("targets, n_trees, n_leaves", rule, found)
        options = {
            "objective": "regression",
            "num_leaves": n_leaves,
            # Each tree has the weight of one of few: a slow rate would grow the same tree again and again.
            "learning_rate": 0.3,
            "min_data_in_leaf": max(20, len(x) // 100),
            "lambda_l2": 10.0,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
        # Only who grows trees waits for it: with what it brings along it takes a second, as long as a server to start.
        import lightgbm

        dumps = []
        for target in targets:
            data = lightgbm.Dataset(x, target, params={"verbose": -1})
            dumps += lightgbm.train(options, data, n_trees).dump_model()["tree_info"]
        trees = trees_of_dump({"tree_info": dumps})
        leaves = forest_leaves(pack_forest(trees, len(names)), np.ascontiguousarray(x))
        places = leaves + trees.leaf_offsets[:-1]
        share = np.bincount(places.ravel(), minlength=trees.leaf_value.size) / len(x)
        score = trees.leaf_value[places[:, :n_trees]].sum(axis=1)
        facts = np.array([score.mean(), score.std(), score_weight])
        return cls(raw, trees, share, n_trees, facts)

    @property
    def n_own(self) -> int:
        """The prognosis and a column for each leaf."""
        return 1 + self.trees.leaf_value.size

    @property
    def own_names(self) -> tuple[str, ...]:
        """A name for each of them."""
        counts = np.diff(self.trees.leaf_offsets)
        return ("prognosis", *(f"tree {t} leaf {leaf}" for t, n in enumerate(counts) for leaf in range(n)))

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map raw features, float32 of shape [n, d0], to ``z``, float32 of shape [n, d]; a row alone decides."""
        first = self.raw.n_outputs
        z = np.empty((len(x), self.n_outputs), np.float32)
        z[:, :first] = self.raw.apply(x)
        deviation = float(self.score[1])
        leaf_columns(
            forest_leaves(self._packed, np.ascontiguousarray(x)),
            self.trees.leaf_offsets,
            self.trees.leaf_value,
            self.leaf_share.astype(np.float32),
            self.n_score_trees,
            float(self.score[0]),
            float(self.score[2]) / deviation if deviation > 0.0 else 0.0,
            z,
            first,
        )
        return z

    @classmethod
    def _restored(cls, raw: RawMap, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        trees = ForestArrays(*(arrays[_TREE + name] for name in ForestArrays._fields))
        return cls(raw, trees, arrays["leaf_share"], int(facts["n_score_trees"]), arrays["score"])

    def _own_facts(self) -> dict[str, Any]:
        return {"n_score_trees": self.n_score_trees}

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        trees = {_TREE + name: array for name, array in self.trees._asdict().items()}
        return {**trees, "leaf_share": self.leaf_share, "score": self.score}

    @cached_property
    def _packed(self) -> PackedForest:
        try:
            return pack_forest(self.trees, len(self.raw.feature_names))
        except ContractError as error:
            raise InvalidInput([Violation("trees", str(error))]) from error
