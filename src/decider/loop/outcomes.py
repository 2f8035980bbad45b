"""What came of the sets that were drawn at random in runs whose windows are closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.engine import Engine
from decider.decision.remade import Remade
from decider.errors import InvalidInput
from decider.logbook.attribution import RewardSpec, attribute
from decider_core.caps import Caps
from decider_core.explore import EXPLORE


@dataclass(frozen=True)
class Drawn:
    """Members whose set was drawn at random, n of them."""

    sets: NDArray[np.int16]
    """[M, n] candidates, -1 in empty places."""
    reward: NDArray[np.float64]
    """[n]"""
    reason: NDArray[np.uint8]
    """[K, n] 0 where the candidate could be drawn."""
    caps: Caps
    """The room that there was."""
    features: NDArray[np.float32]
    """[n, d0] in the model's order."""
    keys: NDArray[np.uint64]
    """[n]"""
    catalog: Catalog
    count_shares: NDArray[np.float64]
    """[M + 1] chances of drawing 0, 1, ... messages."""
    seed: int
    """Of the policy's draws."""
    charge: NDArray[np.float32]
    """[K] what a message had to be worth where it was not drawn."""

    @property
    def n_members(self) -> int:
        """How many there are."""
        return self.keys.size


class Outcomes:
    """What came of runs, one an epoch; events are read once, here.

    Parameters
    ----------
    engine
        Reads the log, and makes what was permitted again; it must stay open.
    run_ids
        The runs, in their order.
    reward
        What an event is worth.
    now_micros
        By when the windows are closed.
    until_sequence
        Events that the log took in after this entry came too late.
    """

    def __init__(
        self,
        engine: Engine,
        run_ids: Sequence[str],
        reward: RewardSpec,
        now_micros: int,
        until_sequence: int,
    ) -> None:
        self.run_ids = tuple(run_ids)
        self._engine, self._reward, self._now_micros = engine, reward, now_micros
        # Events that name a decision only: whoever reports to a loop has its decisions' ids.
        frames = [frame.drop("member_id") for frame in engine.events_of_runs(run_ids, until_sequence)]
        self._events = pl.concat(frames) if frames else pl.DataFrame()

    def drawn(self, run_id: str) -> Iterator[Drawn]:
        """The sets that a run drew at random, some at a time; the same again each time.

        Raises
        ------
        InvalidInput
            When a window is open.
        """
        for remade in self._engine.remade(run_id):
            rewards = self._rewards(run_id, remade)
            places = np.flatnonzero(remade.stratum == EXPLORE)
            if places.size:
                yield _drawn(remade, places, rewards[places])

    def _rewards(self, run_id: str, remade: Remade) -> NDArray[np.float64]:
        n = remade.ordinals.size
        ids = pl.Series([f"{run_id}-{ordinal}" for ordinal in remade.ordinals.tolist()])
        if not self._events.height:
            return np.zeros(n)
        decisions = pl.DataFrame(
            {
                "decision_id": ids,
                "member_id": remade.member_ids,
                "decision_time_micros": pl.Series(np.full(n, remade.time_micros)),
                "candidates": pl.Series([[]] * n, dtype=pl.List(pl.String)),
            }
        )
        of_these = self._events.join(decisions.select("decision_id"), on="decision_id", how="semi")
        member_ids = pl.lit(None, dtype=decisions["member_id"].dtype).alias("member_id")
        found = attribute(decisions, of_these.with_columns(member_ids), self._reward, self._now_micros).frame
        if not found["closed"].all():
            raise InvalidInput.of("windows", f"must be closed to be learned from, of run {run_id}", "open")
        return found["reward"].to_numpy()


def _drawn(remade: Remade, places: NDArray[np.intp], reward: NDArray[np.float64]) -> Drawn:
    caps = remade.permitted.caps
    return Drawn(
        np.ascontiguousarray(remade.sets[:, places]),
        reward,
        np.ascontiguousarray(remade.permitted.reason[:, places]),
        Caps(
            caps.channel, caps.topic, caps.room_member[places],
            np.ascontiguousarray(caps.room_channel[:, places]), np.ascontiguousarray(caps.room_topic[:, places]),
            caps.max_messages,
        ),
        np.ascontiguousarray(remade.features[places]),
        remade.keys[places],
        remade.catalog,
        remade.count_shares,
        remade.seed,
        remade.charge,
    )  # fmt: skip
