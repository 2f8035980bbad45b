"""What a run's members were permitted and known by, made again from its parts, beside what was logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.frame import chunk_of_segment
from decider.decision.parts import Parts
from decider.decision.replay import question_of
from decider.decision.stages import Permitted
from decider.decision.steps import gather, permit
from decider.errors import InvalidInput
from decider.logbook.schema import RunRecord
from decider_core.history import LiveSends


@dataclass(frozen=True)
class Remade:
    """Members of a segment who had seen the log up to one entry: n of them."""

    ordinals: NDArray[np.int64]
    """[n] places in the run: the decision's id is ``<run_id>-<ordinal>``."""
    member_ids: pl.Series
    """[n]"""
    stratum: NDArray[np.uint8]
    """[n] index into ``decider.decision.result.STRATA``."""
    sets: NDArray[np.int16]
    """[M, n] as they were logged."""
    time_micros: int
    catalog: Catalog
    count_shares: NDArray[np.float64]
    """[M + 1] of sets drawn at random."""
    seed: int
    """Of the policy's draws."""
    features: NDArray[np.float32]
    """[n, d0] in the model's order."""
    keys: NDArray[np.uint64]
    """[n]"""
    permitted: Permitted
    charge: NDArray[np.float32]
    """[K] what a message that is not drawn has to be worth: price times cost."""


def remade(parts: Parts, run: RunRecord, frame: pl.DataFrame, sends: LiveSends) -> Iterator[Remade]:
    """Make the first two steps of a segment again.

    Raises
    ------
    InvalidInput
        For the run of an experiment, whose cells decide by several policies.
    """
    if run.cells:
        raise InvalidInput.of("run", "must be of one policy, and no experiment's", run.experiment)
    logged = chunk_of_segment(frame, parts.snapshot)
    bound = parts.policy(run.policy)
    for sequence in np.unique(logged.history_sequence).tolist():
        places = np.flatnonzero(logged.history_sequence == sequence)
        question = question_of(parts, run, logged, places, sends, sequence)
        gathered = gather(question)
        yield Remade(
            ordinals=logged.first_ordinal + places,
            member_ids=logged.member_ids.gather(places),
            stratum=logged.stratum[places],
            sets=np.ascontiguousarray(logged.sets[:, places]),
            time_micros=run.decision_time_micros,
            catalog=parts.catalog,
            count_shares=bound.count_shares,
            seed=bound.policy.seed,
            features=gathered.features,
            keys=gathered.keys,
            permitted=permit(question, gathered),
            charge=question.prices * question.costs,
        )
