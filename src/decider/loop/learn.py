"""From the log of a loop to a posterior: epoch after epoch, in their order, so that the bits are always the same."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.errors import InvalidInput
from decider.learning.inclusion import Inclusion, explore_inclusion, simulated_inclusion
from decider.learning.r_learner import SetPosterior, r_learner, set_model
from decider.learning.set_sums import SetSums
from decider.learning.sets import SetRows
from decider.loop.outcomes import Drawn, Outcomes
from decider.models import FeatureMap, UpliftModel
from decider_core.random import FOLD, stream_key, uniforms

DRAWS = 512
"""Draws that tell what a set drawn under caps that bind was expected to hold; it is one of them."""


class Learner:
    """Sums over the closed epochs of a loop.

    Parameters
    ----------
    feature_map
        Of the loop's model.
    keep
        Share that still counts an epoch later.
    reward
        Name of what came of a decision.
    """

    def __init__(self, feature_map: FeatureMap, keep: float, reward: str) -> None:
        self.feature_map = feature_map
        self._keep, self._reward = keep, reward
        self._sums: SetSums | None = None
        self._before: SetSums | None = None
        """All but the latest outcomes, as they count now."""
        self._latest: list[SetSums | None] = [None, None]
        """Those, by half of the members."""
        self._catalog: Catalog | None = None
        """The last one that was met."""
        self._types: dict[str, str] = {}
        self.n_rows = 0

    def add(self, outcomes: Outcomes) -> None:
        """Take outcomes in, epoch after epoch.

        Raises
        ------
        InvalidInput
            When a window is open, or the catalog lacks a candidate that was learned of.
        """
        before = self._sums
        latest: list[SetSums | None] = [None, None]
        for run_id in outcomes.run_ids:
            for sums in (before, *latest):
                if sums is not None:
                    sums.forget(self._keep)
            for drawn in outcomes.drawn(run_id):
                self._catalog = drawn.catalog
                self._types |= {candidate.id: candidate.type for candidate in drawn.catalog.candidates}
                rows = self._rows(drawn)
                for half, mine in enumerate(halves(drawn.keys)):
                    if mine.any():
                        latest[half] = sums = self._fitting(latest[half])
                        sums.add(rows.rows(mine))
                self.n_rows += drawn.n_members
        self._before, self._latest = before, latest
        self._sums = self._together(before, *latest)

    def posterior(self) -> SetPosterior:
        """What all of it says.

        Raises
        ------
        InvalidInput
            When there are too few rows, or the reward does not vary.
        """
        return self._learned(self._sums)

    def model(self, posterior: SetPosterior, name: str) -> UpliftModel:
        """The posterior as it is published."""
        return set_model(posterior, self.feature_map, name=name, reward=self._reward)

    def crossed(self, name: str) -> list[UpliftModel]:
        """Two models of all but the latest outcomes of one half of the members each: the first one's, the second's.

        Raises
        ------
        InvalidInput
            As of :meth:`posterior`.
        """
        others = [self._together(self._before, self._latest[other]) for other in (1, 0)]
        return [self.model(self._learned(sums), name) for sums in others]

    def _learned(self, sums: SetSums | None) -> SetPosterior:
        if sums is None:
            raise InvalidInput.of("rows", "must be at least one: no decision was drawn at random", 0)
        return r_learner(sums, self._types)

    def _fitting(self, sums: SetSums | None) -> SetSums:
        """Sums for the candidates of the last catalog."""
        assert self._catalog is not None
        names, topic = [candidate.id for candidate in self._catalog.candidates], self._catalog.topic
        if sums is None:
            return SetSums(names, topic, self.feature_map.n_outputs)
        return sums if list(sums.candidates) == names else sums.with_candidates(names, topic)

    def _together(self, *parts: SetSums | None) -> SetSums | None:
        fitting = [self._fitting(part) for part in parts if part is not None]
        return reduce(SetSums.plus, fitting) if fitting else None

    def _rows(self, drawn: Drawn) -> SetRows:
        expected = _inclusion(drawn)
        return SetRows(
            drawn.sets,
            drawn.reward,
            expected.probability,
            expected.pairs,
            expected.same_topic,
            self.feature_map.apply(drawn.features),
        )


def halves(member_keys: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the members of each half, bool of shape [n]; a member is always in the same one."""
    first = uniforms(stream_key(0, FOLD), member_keys) < 0.5
    return first, ~first


def _inclusion(drawn: Drawn) -> Inclusion:
    """What the sets drawn were expected to hold: exact where no cap could bind, by draws elsewhere."""
    caps, shares, catalog = drawn.caps, drawn.count_shares, drawn.catalog
    most = int(np.flatnonzero(shares).max())
    rooms: tuple[Any, ...] = (caps.room_member[None], caps.room_channel, caps.room_topic)
    free = np.logical_and.reduce([(each >= most).all(axis=0) for each in rooms])
    if free.all():
        return explore_inclusion(shares, catalog.weight, drawn.reason, catalog.topic)
    return simulated_inclusion(
        drawn.sets, shares, catalog.weight, drawn.reason, caps, catalog.topic, drawn.keys, catalog.keys,
        n_draws=DRAWS, seed=drawn.seed + 1,
    )  # fmt: skip
