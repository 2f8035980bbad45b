"""Requests for single members that came at the same time, decided as chunks and logged in one transaction.

A chunk costs hardly more than one member, and what a member gets does not depend on who else is in it
(invariant 1): so whatever waits is decided together. Two requests for one member are decided one after the
other, so that the second sees what the first one sends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.decision.check import channel_mask, check_request, digest_of, row_of, rows_of
from decider.decision.exposure import Exposure, Seen
from decider.decision.inclusion import inclusion_propensities
from decider.decision.overrides import Overrides, check_overrides
from decider.decision.parts import BoundPolicy, Parts
from decider.decision.ports import Appended, Found, Log, Ticket
from decider.decision.record import records_of
from decider.decision.request import MemberRequest
from decider.decision.result import Decision, TraceEntry
from decider.decision.stages import Question
from decider.decision.steps import decide
from decider.decision.trace import trace_of
from decider.errors import Conflict
from decider.logbook.schema import DecisionRecord, run_id_of


@dataclass(frozen=True)
class InForce:
    """What decisions are made from and counted in; replaced as a whole on reload."""

    parts: Parts
    exposure: Exposure


@dataclass(slots=True)
class Outcome:
    """What came of a request: a decision, or an error."""

    decision: Decision | None = None
    error: Exception | None = None
    ticket: Ticket | None = None
    """Tells when the decision is durable: nobody may hear of it before. None when it is not logged."""

    def wait(self) -> Decision:
        """The decision, once it is durable.

        Raises
        ------
        Exception
            The error.
        """
        if self.ticket is not None:
            self.ticket.wait()
        if self.decision is None:
            assert self.error is not None
            raise self.error
        return self.decision


@dataclass(slots=True)
class _Asked:
    """A request on its way."""

    place: int
    request: MemberRequest
    digest: str
    run_id: str
    row: int = -1
    bound: BoundPolicy | None = None
    overrides: Overrides | None = None


class Together:
    """Decides requests that came at the same time.

    Parameters
    ----------
    log
        Where decisions become durable.
    in_force
        Gives what decisions are made from now.
    """

    def __init__(self, log: Log, in_force: Callable[[], InForce]) -> None:
        self._log, self._in_force = log, in_force

    def decide(self, requests: Sequence[MemberRequest]) -> list[Outcome]:
        """Decide and queue for the log; one outcome for each request, whatever becomes of the others.

        May be called by several threads at once.
        """
        outcomes: dict[int, Outcome] = {}
        waiting = []
        for place, request in enumerate(requests):
            try:
                check_request(request)
                waiting.append(_Asked(place, request, digest_of(request), run_id_of(request.request_id)))
            except Exception as error:  # whatever it is, it is this request's alone
                outcomes[place] = Outcome(error=error)
        while waiting:
            waiting = self._round(waiting, outcomes)
        return [outcomes[place] for place in range(len(requests))]

    def _round(self, waiting: list[_Asked], outcomes: dict[int, Outcome]) -> list[_Asked]:
        """Decide what can be decided side by side; what is left for the next round."""
        state = self._in_force()
        try:
            found = self._log.find_requests([asked.run_id for asked in waiting if not asked.request.dry_run])
        except Exception as error:  # the log cannot be read: nobody can be answered
            outcomes.update((asked.place, Outcome(error=error)) for asked in waiting)
            return []
        fresh = []
        for asked in waiting:
            known = None if asked.request.dry_run else found.known.get(asked.run_id)
            if known is None:
                fresh.append(asked)
            else:
                outcomes[asked.place] = _repeated(known, asked)
        groups: dict[object, list[_Asked]] = {}
        left, rows, run_ids = [], set(), set()
        for asked in _bound(state.parts, fresh, outcomes):
            if not asked.request.dry_run:
                if asked.row in rows or asked.run_id in run_ids:
                    left.append(asked)
                    continue
                rows.add(asked.row)
                run_ids.add(asked.run_id)
            groups.setdefault(_kind(state.parts, asked), []).append(asked)
        for group in groups.values():
            left += self._group(state, group, found, outcomes)
        return left

    def _group(
        self, state: InForce, group: list[_Asked], found: Found, outcomes: dict[int, Outcome]
    ) -> list[_Asked]:
        """Decide members of one kind as a chunk; who was sent something meanwhile is left over."""
        try:
            return self._chunk(state, group, found, outcomes)
        except Exception as error:  # one request's fault must not be the others'
            if len(group) == 1:
                outcomes[group[0].place] = Outcome(error=error)
                return []
        return [left for asked in group for left in self._group(state, [asked], found, outcomes)]

    def _chunk(
        self, state: InForce, group: list[_Asked], found: Found, outcomes: dict[int, Outcome]
    ) -> list[_Asked]:
        parts, exposure = state.parts, state.exposure
        rows = np.array([asked.row for asked in group], np.int64)
        times = np.array([asked.request.decision_time_micros for asked in group], np.int64)
        seen = exposure.observe(rows, parts.catalog)
        question = _question(parts, group[0], rows, times, seen)
        decided = decide(question)
        requests = [asked.request for asked in group]
        digests = [asked.digest for asked in group]
        inclusion = inclusion_propensities(question, decided)
        records = records_of(requests, digests, question, decided, inclusion)
        traces = [
            trace_of(question, decided, lane) if request.trace else None
            for lane, request in enumerate(requests)
        ]
        logged = [lane for lane, request in enumerate(requests) if not request.dry_run]
        left = []
        if logged:
            with exposure.reserving:
                if self._in_force() is not state:
                    return group
                changed = exposure.changed(rows, seen).tolist()
                if changed:
                    left = [group[lane] for lane in logged if lane in changed]
                    logged = [lane for lane in logged if lane not in changed]
                appended = self._log.append_decisions([records[lane] for lane in logged], found, awaited=True)
                _enter(exposure, parts, rows, decided.sets, times, logged, appended)
            for lane, outcome in zip(logged, appended, strict=True):
                outcomes[group[lane].place] = _logged(outcome, records[lane], group[lane], traces[lane])
        for lane, request in enumerate(requests):
            if request.dry_run:
                outcomes[group[lane].place] = Outcome(Decision(records[lane], trace=traces[lane]))
        return left


def _bound(parts: Parts, fresh: list[_Asked], outcomes: dict[int, Outcome]) -> list[_Asked]:
    """Find each request's member and policy, and check its overrides."""
    bound = []
    rows = rows_of(parts.snapshot, [asked.request.member_id for asked in fresh])
    for asked, row in zip(fresh, rows, strict=True):
        request = asked.request
        try:
            asked.row = row if row >= 0 else row_of(parts.snapshot, request.member_id)
            asked.bound = parts.policy_for(request.policy, asked.row, request.decision_time_micros)
            asked.overrides = None
            if request.context or request.pair_features:
                model = asked.bound.model
                pair_names = tuple(model.pair_features) if model else ()
                asked.overrides = check_overrides(
                    parts.catalog,
                    parts.snapshot,
                    asked.row,
                    request.context,
                    request.pair_features,
                    pair_names,
                )
            bound.append(asked)
        except Exception as error:  # whatever it is, it is this request's alone
            outcomes[asked.place] = Outcome(error=error)
    return bound


def _kind(parts: Parts, asked: _Asked) -> object:
    """What requests of one chunk have in common: policy, epoch, channels, live messages, quiet hours."""
    request, bound = asked.request, asked.bound
    assert bound is not None
    if asked.overrides is not None:
        return asked.place
    time_micros = request.decision_time_micros
    live = bisect_right(parts.catalog.validity_edges, time_micros)
    return bound.policy.name, bound.cell, _epoch(asked), request.channels, live, time_micros // 60_000_000


def _epoch(asked: _Asked) -> int:
    assert asked.bound is not None
    given = asked.request.epoch
    return asked.bound.policy.epoch_of(asked.request.decision_time_micros) if given is None else given


def _question(
    parts: Parts, first: _Asked, rows: NDArray[np.int64], times: NDArray[np.int64], seen: Seen
) -> Question:
    bound, request = first.bound, first.request
    assert bound is not None
    return Question(
        parts=parts,
        bound=bound,
        rows=rows,
        time_micros=request.decision_time_micros,
        epoch=_epoch(first),
        channel_allowed=channel_mask(parts.catalog, request.channels),
        theta=np.float32(bound.policy.price),
        tie_cut=np.uint64(0),
        sends=seen.sends,
        until_sequence=seen.until_sequence,
        overrides=first.overrides,
        times_micros=times,
        with_inclusion=True,
    )


def _enter(
    exposure: Exposure,
    parts: Parts,
    rows: NDArray[np.int64],
    sets: NDArray[np.int16],
    times: NDArray[np.int64],
    logged: list[int],
    appended: Sequence[Appended | Conflict],
) -> None:
    """Count the sends of decisions that are new in the log."""
    new = [
        (lane, entry.sequence)
        for lane, entry in zip(logged, appended, strict=True)
        if not isinstance(entry, Conflict) and entry.is_new
    ]
    if new:
        sequences = np.array([sequence for _, sequence in new], np.int64)
        if len(new) < rows.size:
            lanes = np.array([lane for lane, _ in new], np.int64)
            rows, sets, times = rows[lanes], sets[:, lanes], times[lanes]
        exposure.add_sets(rows, sets, parts.catalog, times, sequences)


def _logged(
    entry: Appended | Conflict,
    record: DecisionRecord,
    asked: _Asked,
    trace: tuple[TraceEntry, ...] | None,
) -> Outcome:
    if isinstance(entry, Conflict):
        return Outcome(error=entry)
    if not entry.is_new:
        return _repeated(entry, asked)
    return Outcome(Decision(record, trace=trace), ticket=entry.ticket)


def _repeated(known: Appended, asked: _Asked) -> Outcome:
    """The stored decision for a retry; refused when the retry asks for something else."""
    if known.record.request_digest != asked.digest:
        return Outcome(error=Conflict("request_id", asked.request.request_id))
    return Outcome(Decision(known.record, repeated=True), ticket=known.ticket)
