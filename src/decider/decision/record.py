"""Between a chunk of decisions and their records in the log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.parts import CellOf
from decider.decision.request import MemberRequest
from decider.decision.stages import Decided, Question
from decider.logbook.schema import DecisionRecord, PropensityKind, SetEntry, decision_id


def records_of(
    requests: Sequence[MemberRequest],
    digests: Sequence[str],
    question: Question,
    decided: Decided,
    inclusion: NDArray[np.float64] | None,
) -> list[DecisionRecord]:
    """All that is needed to find, correct by, and repeat each decision of a chunk.

    Parameters
    ----------
    requests, digests
        One for each member of the chunk.
    inclusion
        float64 [M, n] propensity of each chosen message, NaN where it is not computed.
    """
    parts, bound = question.parts, question.bound
    policy, policy_version, draws = bound.policy.name, bound.policy_version, bound.policy.propensity_draws
    model_version, snapshot_version = bound.model_version, parts.snapshot.version
    catalog_version, epoch = parts.catalog.version, question.epoch
    cell = bound.cell or CellOf("", "", "", is_evaluation=False)
    theta, tie_cut, seen = float(question.theta), int(question.tie_cut), question.until_sequence
    # Numbers leave the arrays all at once: one at a time each costs more than its place in a record.
    strata, chances, hits = (
        decided.explored.stratum.tolist(),
        decided.propensity.tolist(),
        decided.hits.tolist(),
    )
    sets = set_entries(parts.catalog, decided, inclusion)
    records = []
    for lane, (request, digest) in enumerate(zip(requests, digests, strict=True)):
        chance: float | None = chances[lane]
        kind: PropensityKind = "replayed" if hits[lane] >= 0 else "exact"
        if chance != chance:  # only NaN differs from itself
            chance, kind = None, "deferred"
        records.append(
            DecisionRecord(
                decision_id=decision_id(request.request_id),
                request_id=request.request_id,
                request_digest=digest,
                ordinal=0,
                member_id=request.member_id,
                decision_time_micros=request.decision_time_micros,
                epoch=epoch,
                policy=policy,
                policy_version=policy_version,
                model_version=model_version,
                snapshot_version=snapshot_version,
                catalog_version=catalog_version,
                stratum=strata[lane],
                theta=theta,
                tie_cut=tie_cut,
                messages=sets[lane],
                propensity=chance,
                propensity_kind=kind,
                propensity_draws=draws if kind == "replayed" else 0,
                propensity_hits=max(hits[lane], 0),
                history_sequence=seen,
                channels=None if request.channels is None else list(request.channels),
                context=dict(request.context),
                pair_features={c: dict(values) for c, values in request.pair_features.items()},
                experiment=cell.experiment,
                experiment_version=cell.version,
                cell=cell.cell,
                evaluation=cell.is_evaluation,
            )
        )
    return records


def set_entries(
    catalog: Catalog, decided: Decided, inclusion: NDArray[np.float64] | None = None
) -> list[list[SetEntry]]:
    """The message sets of a chunk, in order."""
    # One number at a time: most places are empty.
    mean, sd, gain = decided.estimated.mean.item, decided.estimated.sd.item, decided.gains.item
    candidates = catalog.candidates
    sets: list[list[SetEntry]] = []
    for lane, chosen in enumerate(decided.sets.T.tolist()):
        entries = []
        for place, k in enumerate(chosen):
            if k >= 0:
                candidate, chance = candidates[k], None if inclusion is None else inclusion.item(place, lane)
                entries.append(
                    SetEntry(
                        candidate=candidate.id,
                        mean=mean(k, lane),
                        sd=sd(k, lane),
                        gain=gain(place, lane),
                        propensity=chance if chance == chance else None,  # only NaN differs from itself
                        type=candidate.type,
                        topic=candidate.topic,
                    )
                )
        sets.append(entries)
    return sets
