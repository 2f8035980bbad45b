"""Between a chunk of one member, its record in the log, and the messages it answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.request import MemberRequest
from decider.decision.result import ChosenMessage
from decider.decision.stages import Decided, Question
from decider.logbook.schema import DecisionRecord, PropensityKind, SetEntry, decision_id


def record_of(
    request: MemberRequest,
    digest: str,
    question: Question,
    decided: Decided,
    inclusion: NDArray[np.float64] | None,
) -> DecisionRecord:
    """All that is needed to find, correct by, and repeat the decision of a chunk of one member.

    Parameters
    ----------
    inclusion
        float64 [n_chosen] propensity of each chosen message; none where it is not computed.
    """
    parts, bound = question.parts, question.bound
    propensity, hits = float(decided.propensity[0]), int(decided.hits[0])
    kind: PropensityKind = "deferred" if np.isnan(propensity) else "replayed" if hits >= 0 else "exact"
    return DecisionRecord(
        decision_id=decision_id(request.request_id),
        request_id=request.request_id,
        request_digest=digest,
        ordinal=0,
        member_id=request.member_id,
        decision_time_micros=request.decision_time_micros,
        epoch=question.epoch,
        policy=bound.policy.name,
        policy_version=bound.policy.version,
        model_version=bound.model_version,
        snapshot_version=parts.snapshot.version,
        catalog_version=parts.catalog.version,
        stratum=int(decided.explored.stratum[0]),
        theta=float(question.theta),
        tie_cut=int(question.tie_cut),
        messages=set_entries(parts.catalog, decided, inclusion),
        propensity=None if kind == "deferred" else propensity,
        propensity_kind=kind,
        propensity_draws=bound.policy.propensity_draws if kind == "replayed" else 0,
        propensity_hits=max(hits, 0),
        history_sequence=question.until_sequence,
        channels=None if request.channels is None else list(request.channels),
        context=dict(request.context),
        pair_features={candidate: dict(values) for candidate, values in request.pair_features.items()},
    )


def set_entries(catalog: Catalog, decided: Decided, inclusion: NDArray[np.float64] | None) -> list[SetEntry]:
    """The message set of a chunk of one member, in order."""
    chosen = [catalog.candidates[k] for k in decided.sets[:, 0] if k >= 0]
    return [
        SetEntry(
            candidate=candidate.id,
            mean=float(decided.estimated.mean[candidate.index, 0]),
            sd=float(decided.estimated.sd[candidate.index, 0]),
            gain=float(decided.gains[place, 0]),
            propensity=None if inclusion is None else float(inclusion[place]),
            type=candidate.type,
            topic=candidate.topic,
        )
        for place, candidate in enumerate(chosen)
    ]


def chosen_messages(record: DecisionRecord) -> tuple[ChosenMessage, ...]:
    """The record's message set as it is answered."""
    messages = []
    for entry in record.messages:
        message, _, channel = entry.candidate.rpartition("@")
        messages.append(
            ChosenMessage(
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
        )
    return tuple(messages)
