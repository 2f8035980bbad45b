"""One member's decision laid open: every candidate with its numbers, or the reason that excludes it."""

from __future__ import annotations

import math

import numpy as np

from decider.decision.result import TraceEntry
from decider.decision.stages import Decided, Question
from decider_core import reasons
from decider_core.explore import HOLDOUT


def trace_of(question: Question, decided: Decided, lane: int = 0) -> tuple[TraceEntry, ...]:
    """Every candidate of the catalog, for the member in one lane of a chunk."""
    chosen = [int(index) for index in decided.sets[:, lane] if index >= 0]
    held_out = decided.explored.stratum[lane] == HOLDOUT
    entries = []
    for candidate in question.parts.catalog.candidates:
        k = candidate.index
        code = (
            reasons.HOLDOUT
            if held_out and decided.permitted.reason[k, lane] == 0
            else int(decided.permitted.reason[k, lane])
        )
        place = chosen.index(k) if k in chosen else -1
        gain = decided.gains[place, lane] if place >= 0 else gain_after(question, decided, k, chosen, lane)
        entries.append(
            TraceEntry(
                candidate=candidate.id,
                message=candidate.message,
                type=candidate.type,
                topic=candidate.topic,
                channel=candidate.channel,
                reason=reasons.NAMES[code],
                place=place,
                mean=_number(decided.estimated.mean[k, lane]),
                standard_deviation=_number(decided.estimated.sd[k, lane]),
                value=_number(decided.explored.value[k, lane]),
                gain_after_set=_number(gain),
            )
        )
    return tuple(entries)


def gain_after(
    question: Question, decided: Decided, candidate: int, chosen: list[int], lane: int = 0
) -> np.float32:
    """delta(c | S) in float32, as assembly computes it, for the member in one lane of a chunk."""
    topics = question.parts.catalog.topic
    penalty = np.float32(question.same_topic_penalty)
    same = np.float32(sum(topics[other] == topics[candidate] for other in chosen))
    fatigue = decided.estimated.fatigue[lane] * np.float32(len(chosen))
    return np.float32(decided.explored.value[candidate, lane] - fatigue - penalty * same)


def _number(value: np.float32) -> float | None:
    return None if math.isnan(value) else float(value)
