"""From the log of a loop to a posterior: epoch after epoch, in their order, so that the bits are always the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.engine import Engine
from decider.decision.remade import Remade
from decider.errors import InvalidInput
from decider.learning.inclusion import Inclusion, explore_inclusion, simulated_inclusion
from decider.learning.r_learner import SetPosterior, r_learner, set_model
from decider.learning.set_sums import SetSums
from decider.learning.sets import SetRows
from decider.logbook.attribution import RewardSpec, attribute
from decider.models import FeatureMap, UpliftModel
from decider_core.caps import Caps
from decider_core.explore import EXPLORE

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
        What came of a decision.
    """

    def __init__(self, feature_map: FeatureMap, keep: float, reward: RewardSpec) -> None:
        self._map, self._keep, self._reward = feature_map, keep, reward
        self._sums: SetSums | None = None
        self._types: dict[str, str] = {}
        self.n_rows = 0

    def add(self, engine: Engine, run_ids: Sequence[str], now_micros: int, until_sequence: int) -> None:
        """Take runs in whose windows are closed, in their order; what came of them is read once.

        Parameters
        ----------
        engine
            Reads the log, and makes what was permitted again.
        run_ids
            The runs, one an epoch.
        now_micros
            By when the windows are closed.
        until_sequence
            Events that the log took in after this entry came too late.

        Raises
        ------
        InvalidInput
            When a window is open, or the catalog lacks a candidate that was learned of.
        """
        events = _events(engine, run_ids, until_sequence)
        for run_id in run_ids:
            if self._sums is not None:
                self._sums.forget(self._keep)
            for remade in engine.remade(run_id):
                rewards = self._rewards(run_id, remade, events, now_micros)
                drawn = np.flatnonzero(remade.stratum == EXPLORE)
                if drawn.size:
                    self._sums_for(remade.catalog).add(self._rows(remade, drawn, rewards[drawn]))
                    self.n_rows += drawn.size

    def posterior(self) -> SetPosterior:
        """What all of it says.

        Raises
        ------
        InvalidInput
            When there are too few rows, or the reward does not vary.
        """
        if self._sums is None:
            raise InvalidInput.of("rows", "must be at least one: no decision was drawn at random", 0)
        return r_learner(self._sums, self._types)

    def model(self, posterior: SetPosterior, name: str) -> UpliftModel:
        """The posterior as it is published."""
        return set_model(posterior, self._map, name=name, reward=self._reward.name)

    def _rewards(
        self, run_id: str, remade: Remade, events: pl.DataFrame, now_micros: int
    ) -> NDArray[np.float64]:
        n = remade.ordinals.size
        ids = pl.Series([f"{run_id}-{ordinal}" for ordinal in remade.ordinals.tolist()])
        if not events.height:
            return np.zeros(n)
        decisions = pl.DataFrame(
            {
                "decision_id": ids,
                "member_id": remade.member_ids,
                "decision_time_micros": pl.Series(np.full(n, remade.time_micros)),
                "candidates": pl.Series([[]] * n, dtype=pl.List(pl.String)),
            }
        )
        of_these = events.join(decisions.select("decision_id"), on="decision_id", how="semi")
        member_ids = pl.lit(None, dtype=decisions["member_id"].dtype).alias("member_id")
        found = attribute(decisions, of_these.with_columns(member_ids), self._reward, now_micros).frame
        if not found["closed"].all():
            raise InvalidInput.of("windows", f"must be closed to be learned from, of run {run_id}", "open")
        return found["reward"].to_numpy()

    def _sums_for(self, catalog: Catalog) -> SetSums:
        names = [candidate.id for candidate in catalog.candidates]
        self._types |= {candidate.id: candidate.type for candidate in catalog.candidates}
        d = self._map.n_outputs
        if self._sums is None:
            self._sums = SetSums(names, catalog.topic, d)
        elif list(self._sums.candidates) != names:
            self._sums = self._sums.with_candidates(names, catalog.topic)
        return self._sums

    def _rows(self, remade: Remade, drawn: NDArray[np.intp], reward: NDArray[np.float64]) -> SetRows:
        expected = _inclusion(remade, drawn)
        return SetRows(
            np.ascontiguousarray(remade.sets[:, drawn]),
            reward,
            expected.probability,
            expected.pairs,
            expected.same_topic,
            self._map.apply(np.ascontiguousarray(remade.features[drawn])),
        )


def _events(engine: Engine, run_ids: Sequence[str], until_sequence: int) -> pl.DataFrame:
    # Events that name a decision only: whoever reports to a loop has its decisions' ids.
    frames = [frame.drop("member_id") for frame in engine.events_of_runs(run_ids, until_sequence)]
    return pl.concat(frames) if frames else pl.DataFrame()


def _inclusion(remade: Remade, drawn: NDArray[np.intp]) -> Inclusion:
    """What the sets drawn were expected to hold: exact where no cap could bind, by draws elsewhere."""
    caps, shares, weight = remade.permitted.caps, remade.count_shares, remade.catalog.weight
    reason = np.ascontiguousarray(remade.permitted.reason[:, drawn])
    most = int(np.flatnonzero(shares).max())
    room = Caps(
        caps.channel, caps.topic, caps.room_member[drawn],
        np.ascontiguousarray(caps.room_channel[:, drawn]), np.ascontiguousarray(caps.room_topic[:, drawn]),
        caps.max_messages,
    )  # fmt: skip
    rooms: tuple[Any, ...] = (room.room_member[None], room.room_channel, room.room_topic)
    free = np.logical_and.reduce([(each >= most).all(axis=0) for each in rooms])
    if free.all():
        return explore_inclusion(shares, weight, reason, remade.catalog.topic)
    sent = np.ascontiguousarray(remade.sets[:, drawn])
    return simulated_inclusion(
        sent, shares, weight, reason, room, remade.catalog.topic, remade.keys[drawn], remade.catalog.keys,
        n_draws=DRAWS, seed=remade.seed + 1,
    )  # fmt: skip
