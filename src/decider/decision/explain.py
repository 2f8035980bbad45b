"""A logged decision computed again: is it the same, what came next, what ended the set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.decision.parts import Parts
from decider.decision.replay import replay, same_decision
from decider.decision.result import Decision, Explanation, TraceEntry
from decider.decision.stages import Decided, Question
from decider.decision.trace import trace_of
from decider.logbook.schema import DecisionRecord
from decider_core.assemble import Caps
from decider_core.explore import EXPLORE, HOLDOUT
from decider_core.history import LiveSends
from decider_core.random import tie_keys


def explain_record(parts: Parts, sends: LiveSends, record: DecisionRecord) -> Explanation:
    """Replay a decision and say what a person asks of it."""
    question, decided = replay(parts, record, sends)
    trace = trace_of(question, decided)
    outside = [
        entry
        for entry in trace
        if entry.reason == "eligible" and entry.place < 0 and entry.gain_after_set is not None
    ]
    runner_up = max(outside, key=lambda entry: entry.gain_after_set or 0.0, default=None)
    return Explanation(
        decision=Decision(record, repeated=True),
        trace=trace,
        reproduced=same_decision(record, parts.catalog, decided),
        runner_up=runner_up,
        distance_to_price=_distance(question, runner_up),
        binding_cap=_binding(question, record, decided, trace),
    )


def _distance(question: Question, runner_up: TraceEntry | None) -> float | None:
    if runner_up is None or runner_up.gain_after_set is None:
        return None
    k = question.parts.catalog.index_of[runner_up.candidate]
    cost = float(question.costs[k])
    gain = runner_up.gain_after_set
    return gain / cost - float(question.prices[k]) if cost > 0.0 else gain


def _binding(
    question: Question, record: DecisionRecord, decided: Decided, trace: tuple[TraceEntry, ...]
) -> str:
    if record.stratum == HOLDOUT:
        return "holdout"
    if record.stratum == EXPLORE or decided.explored.drawn[0]:
        return "drawn"
    index_of = question.parts.catalog.index_of
    chosen = [index_of[entry.candidate] for entry in record.messages]
    worth = _worth(question)
    eligible = (entry for entry in trace if entry.reason == "eligible" and entry.place < 0)
    wanted = [(entry.gain_after_set or 0.0, index_of[entry.candidate]) for entry in eligible]
    for gain, k in sorted(wanted, key=lambda each: float(worth[each[1]]) - each[0]):
        if gain <= worth[k]:
            return "price"
        if cap := _cap_reached(decided.permitted.caps, k, chosen):
            return cap
    return "price" if wanted else "no_candidate"


def _worth(question: Question) -> NDArray[np.float64]:
    """What a message must be worth more than to be sent to the one member that is asked about."""
    prices, costs = question.prices, question.costs.astype(np.float64)
    if question.charge is not None:
        policy, keys = question.bound.policy, question.parts.snapshot.keys[question.rows]
        prices = question.charge.of(tie_keys(policy.seed, question.epoch, keys)[0])
    worth: NDArray[np.float64] = prices.astype(np.float64) * costs
    return worth


def _cap_reached(caps: Caps, candidate: int, chosen: list[int]) -> str:
    channel, topic = caps.channel[candidate], caps.topic[candidate]
    if len(chosen) >= min(caps.max_messages, int(caps.room_member[0])):
        return "member_cap"
    if sum(caps.channel[other] == channel for other in chosen) >= caps.room_channel[channel, 0]:
        return "channel_cap"
    if sum(caps.topic[other] == topic for other in chosen) >= caps.room_topic[topic, 0]:
        return "topic_cap"
    return ""
