"""Chunks of a run: decide one, put several together, put single members in anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.decision.result import ResultChunk
from decider.decision.stages import Question
from decider.decision.steps import decide
from decider_core.gains import path_moments

_BY_MEMBER = ("stratum", "propensity", "propensity_hits", "expected", "history_sequence", "cells")
_BY_PLACE = ("sets", "mean", "sd", "gains", "mean_gains")


def decide_ahead(question: Question, first_ordinal: int) -> ResultChunk:
    """Decide at the lowest price, with what a cut at a higher one needs."""
    return decide_chunk(question, first_ordinal, with_mean_gains=True)


def decide_chunk(question: Question, first_ordinal: int, with_mean_gains: bool = False) -> ResultChunk:
    """Decide for the members of `question` and keep what is logged and answered."""
    decided, parts = decide(question), question.parts
    sets, estimated = decided.sets, decided.estimated
    path = path_moments(
        sets,
        estimated.mean,
        estimated.sd,
        estimated.fatigue,
        question.same_topic_penalty,
        parts.catalog.topic,
        with_gains=with_mean_gains,
    )
    return ResultChunk(
        first_ordinal=first_ordinal,
        rows=question.rows,
        member_ids=parts.snapshot.ids(question.rows),
        stratum=decided.explored.stratum,
        sets=sets,
        mean=path.mean,
        sd=path.sd,
        gains=decided.gains,
        propensity=decided.propensity,
        propensity_hits=decided.hits,
        expected=path.total,
        history_sequence=np.full(question.rows.size, question.until_sequence, np.int64),
        mean_gains=path.gain,
    )


def joined(chunks: list[ResultChunk]) -> ResultChunk:
    """Chunks that follow each other, as one."""
    if len(chunks) == 1:
        return chunks[0]
    by_member: dict[str, Any] = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in _BY_MEMBER
        if getattr(chunks[0], name) is not None
    }
    by_place: dict[str, Any] = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks], axis=1)
        for name in _BY_PLACE
        if getattr(chunks[0], name) is not None
    }
    rows = np.concatenate([chunk.rows for chunk in chunks])
    member_ids = pl.concat([chunk.member_ids for chunk in chunks])
    return replace(chunks[0], rows=rows, member_ids=member_ids, **by_member, **by_place)


def replaced(chunk: ResultChunk, places: NDArray[np.int64], again: ResultChunk) -> ResultChunk:
    """The chunk with the members at `places` as they were decided again."""
    names = [name for name in (*_BY_MEMBER, *_BY_PLACE) if getattr(chunk, name) is not None]
    changed: dict[str, Any] = {name: getattr(chunk, name).copy() for name in names}
    for name, array in changed.items():
        array[..., places] = getattr(again, name)
    return replace(chunk, **changed)
