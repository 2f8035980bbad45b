"""From the decision room to the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from decider.decision.result import (
    STRATA,
    Decision,
    Explanation,
    ResultChunk,
    RunSummary,
    SpentBudget,
    TraceEntry,
)
from decider.logbook.schema import RunBudget, RunRecord, SetEntry
from decider.service.ports import Candidate
from decider.v1 import budget_pb2, decision_pb2, decision_service_pb2, member_pb2, run_pb2
from decider_core.reasons import NAMES

STRATUM_VALUES = [decision_pb2.Stratum.Value(f"STRATUM_{name.upper()}") for name in STRATA]
KIND_VALUES = {
    kind: decision_pb2.PropensityKind.Value(f"PROPENSITY_KIND_{kind.upper()}")
    for kind in ("exact", "replayed", "deferred")
}
_REASONS = {name: decision_pb2.Eligibility.Value(f"ELIGIBILITY_{name.upper()}") for name in NAMES}
_CAPS = {
    name.removeprefix("BINDING_CAP_").lower(): value
    for name, value in decision_pb2.BindingCap.items()
    if value
}


def decision_message(decision: Decision, dry_run: bool = False) -> decision_pb2.Decision:
    """The answer of Decide."""
    record = decision.record
    return decision_pb2.Decision(
        decision_id="" if dry_run else record.decision_id,
        member_id=member_id_message(record.member_id),
        messages=[chosen_message(entry) for entry in record.messages],
        stratum=STRATUM_VALUES[record.stratum],
        price=record.theta,
        propensity=record.propensity,
        propensity_kind=KIND_VALUES[record.propensity_kind],
        propensity_draws=record.propensity_draws,
        propensity_hits=record.propensity_hits,
        policy=record.policy,
        policy_version=record.policy_version,
        model_version=record.model_version,
        snapshot_version=record.snapshot_version,
        catalog_version=record.catalog_version,
        epoch=record.epoch,
        decision_time=time_message(record.decision_time_micros),
        already_decided=decision.repeated,
        history_sequence=record.history_sequence,
        trace=_trace(decision.trace or ()),
        budgets=[_priced(budget) for budget in record.budgets],
    )


def chosen_message(entry: SetEntry) -> decision_pb2.ChosenMessage:
    """One place of a decision's set."""
    message, _, channel = entry.candidate.rpartition("@")
    return decision_pb2.ChosenMessage(
        candidate=entry.candidate,
        message=message,
        type=entry.type,
        topic=entry.topic,
        channel=channel,
        expected_incrementality=entry.mean,
        standard_deviation=entry.sd,
        propensity=entry.propensity,
        marginal_gain=entry.gain,
    )


def explanation_message(explanation: Explanation) -> decision_pb2.Explanation:
    """The answer of ExplainDecision."""
    runner_up = explanation.runner_up
    return decision_pb2.Explanation(
        decision=decision_message(explanation.decision),
        trace=_trace(explanation.trace),
        reproduced=explanation.reproduced,
        runner_up=None if runner_up is None else _entry(runner_up),
        distance_to_price=explanation.distance_to_price,
        binding_cap=_CAPS[explanation.binding_cap],
    )


def member_id_message(member_id: int | str) -> member_pb2.MemberId:
    """A member's id, of either kind."""
    if isinstance(member_id, str):
        return member_pb2.MemberId(text=member_id)
    return member_pb2.MemberId(number=member_id)


def time_message(micros: int) -> Timestamp:
    """A time, given in microseconds since the Unix epoch."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def started_message(record: RunRecord) -> decision_service_pb2.BatchDecideResponse:
    """The first answer of a batch."""
    return decision_service_pb2.BatchDecideResponse(
        started=run_pb2.RunStarted(
            run_id=record.run_id,
            policy=record.policy,
            policy_version=record.policy_version,
            model_version=record.model_version,
            snapshot_version=record.snapshot_version,
            catalog_version=record.catalog_version,
            epoch=record.epoch,
            candidates=record.candidates,
            price=record.theta,
            budgets=[] if record.theta is None else [_priced(budget) for budget in record.budgets],
        )
    )


def progress_message(progress: tuple[str, int, int | None]) -> decision_service_pb2.BatchDecideResponse:
    """How far a batch is."""
    phase, n_done, n_total = progress
    return decision_service_pb2.BatchDecideResponse(
        progress=run_pb2.RunProgress(
            phase=run_pb2.RunPhase.Value(f"RUN_PHASE_{phase.upper()}"), done_count=n_done, total_count=n_total
        )
    )


def priced_message(record: RunRecord) -> decision_service_pb2.BatchDecideResponse:
    """The price that was found, or those of budgets."""
    assert record.theta is not None
    assert record.tie_cut is not None
    return decision_service_pb2.BatchDecideResponse(
        priced=run_pb2.RunPriced(
            price=record.theta,
            tie_cut=record.tie_cut,
            budgets=[_priced(budget) for budget in record.budgets],
            bound=record.bound,
            gap=record.gap,
        )
    )


def rows_message(
    chunk: ResultChunk, candidates: Sequence[Candidate], run_id: str
) -> decision_service_pb2.BatchDecideResponse:
    """Decisions in plain form."""
    decisions = []
    for lane in range(chunk.n_members):
        member_id = chunk.member_ids[lane]
        propensity, hits = float(chunk.propensity[lane]), int(chunk.propensity_hits[lane])
        places = [(place, int(k)) for place, k in enumerate(chunk.sets[:, lane]) if k >= 0]
        decisions.append(
            run_pb2.MemberDecision(
                decision_id=f"{run_id}-{chunk.first_ordinal + lane}",
                member_id=member_id_message(member_id if isinstance(member_id, str) else int(member_id)),
                stratum=STRATUM_VALUES[chunk.stratum[lane]],
                messages=[
                    decision_pb2.ChosenMessage(
                        candidate=candidates[k].id,
                        message=candidates[k].message,
                        type=candidates[k].type,
                        topic=candidates[k].topic,
                        channel=candidates[k].channel,
                        expected_incrementality=float(chunk.mean[place, lane]),
                        standard_deviation=float(chunk.sd[place, lane]),
                        marginal_gain=float(chunk.gains[place, lane]),
                    )
                    for place, k in places
                ],
                propensity=None if math.isnan(propensity) else propensity,
                propensity_hits=None if hits < 0 else hits,
            )
        )
    rows = run_pb2.ResultRows(
        decisions=decisions, first_ordinal=chunk.first_ordinal, resume_token=chunk.resume_token
    )
    return decision_service_pb2.BatchDecideResponse(rows=rows)


def summary_message(summary: RunSummary) -> decision_service_pb2.BatchDecideResponse:
    """What a batch did."""

    def counts(pairs: Iterable[tuple[str, int]]) -> list[run_pb2.NamedCount]:
        return [run_pb2.NamedCount(name=name, count=count) for name, count in pairs]

    return decision_service_pb2.BatchDecideResponse(
        summary=run_pb2.RunSummary(
            run_id=summary.run_id,
            member_count=summary.n_members,
            messaged_member_count=summary.n_messaged,
            volume=summary.volume,
            volume_explore=summary.volume_explore,
            price=summary.price,
            tie_cut=summary.tie_cut,
            expected_incremental_reward=summary.expected_incremental_reward,
            cost=summary.cost,
            per_message=counts(summary.per_message.items()),
            per_channel=counts(summary.per_channel.items()),
            per_set_size=summary.per_count,
            per_stratum=counts(summary.per_stratum.items()),
            budgets=[_priced(budget, budget.spent) for budget in summary.budgets],
            bound=summary.bound,
            gap=summary.gap,
        )
    )


def _priced(budget: RunBudget | SpentBudget, spent: float | None = None) -> budget_pb2.PricedBudget:
    assert budget.price is not None
    message = budget_pb2.Budget(channel=budget.channel)
    if budget.unit == "messages":
        message.messages = int(budget.amount)
    else:
        message.cost = budget.amount
    return budget_pb2.PricedBudget(budget=message, price=budget.price, spent=spent, tie_cut=budget.tie_cut)


def _trace(entries: Iterable[TraceEntry]) -> list[decision_pb2.TraceEntry]:
    return [_entry(entry) for entry in entries]


def _entry(entry: TraceEntry) -> decision_pb2.TraceEntry:
    return decision_pb2.TraceEntry(
        candidate=entry.candidate,
        message=entry.message,
        type=entry.type,
        topic=entry.topic,
        channel=entry.channel,
        eligibility=_REASONS[entry.reason],
        place=entry.place if entry.place >= 0 else None,
        expected_incrementality=entry.mean,
        standard_deviation=entry.standard_deviation,
        value=entry.value,
        gain_after_set=entry.gain_after_set,
    )
