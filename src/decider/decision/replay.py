"""Logged decisions made again from their parts, and held against the log bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.cells import padded
from decider.decision.charges import charge_of
from decider.decision.check import channel_mask, row_of
from decider.decision.chunks import decide_chunk
from decider.decision.frame import chunk_of_segment, segment_frame
from decider.decision.overrides import check_overrides
from decider.decision.parts import Parts
from decider.decision.record import set_entries
from decider.decision.result import ResultChunk
from decider.decision.stages import Decided, Question
from decider.decision.steps import decide
from decider.logbook.schema import DecisionRecord, RunRecord, SetEntry
from decider_core.explore import EXPLOIT
from decider_core.history import LiveSends

ROWS = 2_048
"""Members of a segment that are made again at once."""


class Replayed(NamedTuple):
    """Some logged decisions, made again."""

    n_decisions: int
    different: list[str]
    """Ids of those that did not come out as they were logged."""


def replay(parts: Parts, record: DecisionRecord, sends: LiveSends) -> tuple[Question, Decided]:
    """Make one logged decision again (steps 1 to 6).

    Parameters
    ----------
    parts
        Of the versions that the record names.
    record
        The decision.
    sends
        The history since the snapshot; entries that the decision had not seen are left aside.
    """
    bound = parts.policy(record.policy)
    row = row_of(parts.snapshot, record.member_id)
    pair_names = tuple(bound.model.pair_features) if bound.model else ()
    context = {name: value for name, value in record.context.items() if value is not None}
    question = Question(
        parts=parts,
        bound=bound,
        rows=np.array([row], np.int64),
        time_micros=record.decision_time_micros,
        epoch=record.epoch,
        channel_allowed=_allowed(parts.catalog, record.channels),
        theta=np.float32(record.theta),
        tie_cut=np.uint64(record.tie_cut),
        sends=sends,
        until_sequence=record.history_sequence,
        overrides=check_overrides(
            parts.catalog, parts.snapshot, row, context, record.pair_features, pair_names
        ),
        by_formula=record.propensity_kind == "exact",
        with_propensities=record.propensity_kind != "deferred",
        charge=charge_of(parts.catalog, record.theta, record.budgets),
    )
    return question, decide(question)


def same_decision(record: DecisionRecord, catalog: Catalog, decided: Decided) -> bool:
    """Whether a chunk of one member equals the record bit for bit."""

    def numbers(entries: list[SetEntry]) -> list[list[float]]:
        return [[entry.mean, entry.sd, entry.gain] for entry in entries]

    (entries,) = set_entries(catalog, decided)
    return (
        int(decided.explored.stratum[0]) == record.stratum
        and [entry.candidate for entry in entries] == [entry.candidate for entry in record.messages]
        and np.array_equal(numbers(entries), numbers(record.messages), equal_nan=True)
        and (record.propensity is None or float(decided.propensity[0]) == record.propensity)
    )


def replay_segment(parts: Parts, run: RunRecord, frame: pl.DataFrame, sends: LiveSends) -> Iterator[Replayed]:
    """Make a segment of a run again, some rows at a time.

    Parameters
    ----------
    parts
        Of the versions that the run names.
    run, frame
        The run and one of its segments.
    sends
        The history since the snapshot.
    """
    for start in range(0, frame.height, ROWS):
        logged = chunk_of_segment(frame.slice(start, ROWS), parts.snapshot)
        same = np.zeros(logged.n_members, np.bool_)
        # What replays gave is made by replays again, also where there is a formula now.
        kinds = np.stack([logged.history_sequence, logged.propensity_hits >= 0])
        for sequence, replayed in np.unique(kinds, axis=1).T.tolist():
            places = np.flatnonzero((kinds == [[sequence], [replayed]]).all(axis=0))
            again = decide_chunk(question_of(parts, run, logged, places, sends, sequence), 0)
            same[places] = _same_rows(
                frame[start + places], segment_frame(padded(again, logged.sets.shape[0]))
            )
        different = frame["ordinal"].slice(start, ROWS).filter(pl.Series(~same)).to_list()
        yield Replayed(logged.n_members, [f"{run.run_id}-{ordinal}" for ordinal in different])


def question_of(
    parts: Parts,
    run: RunRecord,
    logged: ResultChunk,
    places: NDArray[np.intp],
    sends: LiveSends,
    sequence: int,
) -> Question:
    """What was asked for the members at `places` of a run's chunk, who had seen the log up to `sequence`."""
    assert run.theta is not None
    assert run.tie_cut is not None
    return Question(
        parts=parts,
        bound=parts.policy(run.policy),
        rows=logged.rows[places],
        time_micros=run.decision_time_micros,
        epoch=run.epoch,
        channel_allowed=_allowed(parts.catalog, run.channels),
        theta=np.float32(run.theta),
        tie_cut=np.uint64(run.tie_cut),
        sends=sends,
        until_sequence=sequence,
        by_formula=not (logged.propensity_hits[places] >= 0).any(),
        with_propensities=_have_propensities(logged, places),
        charge=charge_of(parts.catalog, run.theta, run.budgets),
    )


def _have_propensities(logged: ResultChunk, places: NDArray[np.intp]) -> bool:
    """Whether they were computed, also if not for all: then some had no formula, and the policy no replays."""
    exploit = logged.propensity[places][logged.stratum[places] == EXPLOIT]
    return not exploit.size or not np.isnan(exploit).all()


def _same_rows(logged: pl.DataFrame, again: pl.DataFrame) -> NDArray[np.bool_]:
    """Rows equal in every column but their place in the run and what they had seen; NaN equals NaN."""
    same = np.ones(logged.height, np.bool_)
    for name in logged.columns:
        if name not in ("ordinal", "history_sequence"):
            same &= logged[name].eq_missing(again[name]).to_numpy()
    return same


def _allowed(catalog: Catalog, channels: list[str] | None) -> NDArray[np.uint8]:
    return channel_mask(catalog, tuple(channels) if channels is not None else None)
