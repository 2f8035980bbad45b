"""A bulk pass: many members under one policy, at one time and one price; durable before it is answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.decision import sizes
from decider.decision.ahead import Ahead
from decider.decision.asking import Asking, Members
from decider.decision.cells import run_cells, same_cells
from decider.decision.charges import charge_of
from decider.decision.check import check_request, digest_of
from decider.decision.finding import Found, find_prices
from decider.decision.parts import Parts
from decider.decision.pricing import RunPrice
from decider.decision.request import RunRequest
from decider.decision.result import ResultChunk, RunSummary
from decider.decision.run_checks import new_rows, refuse_token, resume_at
from decider.decision.segments import Desk, Segments
from decider.decision.tally import Tally
from decider.errors import InvalidInput
from decider.logbook.schema import RunRecord, SegmentInfo, run_id_of


class Run:
    """One bulk pass, from its header to its summary.

    Members come by :meth:`add` (or are the whole snapshot); decisions come back from `add` as soon as a
    segment of them is full and durable, the rest from :meth:`finish`. With a volume or budgets, the first pass only
    finds the price, and every decision comes from `finish`, at the exact one. A run whose
    request id is known goes on where its log ends: what is durable is answered from the log.
    """

    def __init__(self, desk: Desk, request: RunRequest, whole_snapshot: bool) -> None:
        check_request(request)
        self._desk, self._request, self._whole = desk, request, whole_snapshot
        self._asking = Asking.of(desk.parts, request)
        self.run_id = run_id_of(request.request_id)
        self._seen = np.zeros(desk.parts.snapshot.n_members, np.bool_)
        self._waiting: list[NDArray[np.int64]] = []
        self._n_added = self._n_decided = 0
        self._is_open = not request.dry_run
        self._answer_from = resume_at(request, self.run_id)
        self._price: RunPrice | None = None
        self._ahead: Ahead | None = None
        if request.volume is None and not request.budgets:
            own = self._asking.bound.policy.price
            self._price = RunPrice.at(own if request.price is None else request.price)
        self.record = self._record()
        self._logged = {} if request.dry_run else self._open()
        ends = [info.first_ordinal + info.n_rows for info in self._logged.values()]
        if self._answer_from and self._answer_from not in ends:
            refuse_token(request)
        self._tally = Tally(desk.parts.catalog, self._asking.max_messages)

    @property
    def is_open(self) -> bool:
        """Whether it may still log decisions."""
        return self._is_open

    @property
    def parts(self) -> Parts:
        """The parts that every decision of the run is made from."""
        return self._desk.parts

    @property
    def n_total(self) -> int | None:
        """Members of the run; none while they are still coming."""
        return self._desk.parts.snapshot.n_members if self._whole else None

    def progress(self) -> tuple[str, int, int | None]:
        """Return the phase (`pricing` or `deciding`), members done in it, members in all when known."""
        known = self.n_total
        if self._price is None:
            return "pricing", self._n_added, known
        return "deciding", self._n_decided, known

    def add(
        self, member_ids: NDArray[np.int64] | Sequence[str], field: str = "member_ids"
    ) -> list[ResultChunk]:
        """Take members in; return what became durable.

        Raises
        ------
        InvalidInput
            For an empty chunk, unknown members, and members that came before; nothing of the chunk is taken.
        """
        if self._whole:
            rule = "must not be sent: the run takes the whole snapshot"
            raise InvalidInput.of(field, rule, len(member_ids))
        rows = new_rows(self._desk.parts.snapshot, member_ids, self._seen, field)
        self._seen[rows] = True
        self._waiting.append(rows)
        self._n_added += rows.size
        if self._price is None or sum(part.size for part in self._waiting) < sizes.SEGMENT:
            return []
        waiting = np.concatenate(self._waiting)
        n_full = waiting.size // sizes.SEGMENT * sizes.SEGMENT
        self._waiting = [waiting[n_full:]]
        return list(self._decide(waiting[at : at + sizes.SEGMENT] for at in range(0, n_full, sizes.SEGMENT)))

    def finish(self) -> Iterator[ResultChunk]:
        """Decide what is left and close the run; afterwards `summary` is there."""
        if self._whole:
            self._n_added = self._desk.parts.snapshot.n_members
        if self._n_added == 0:
            raise InvalidInput.of("members", "must not be empty: the run got no member at all", 0)
        self._waiting = [np.concatenate(self._waiting)] if self._waiting else []
        try:
            if self._price is None:
                found = find_prices(self._members())
                self._ahead = found.ahead
                self._set_price(found)
            yield from self._decide(self._left(sizes.SEGMENT))
        finally:
            if self._ahead is not None:
                self._ahead.close()
        if not self._request.dry_run:
            self._desk.log.finish_run(self.run_id, self.summary.as_dict())
        self._is_open = False

    @property
    def summary(self) -> RunSummary:
        """Counts and sums over all members answered so far."""
        price = self._price or RunPrice.at(np.nan)
        return self._tally.summary(self.record, price)

    def close(self) -> None:
        """Abandon the run; what is durable stays, and a run with the same request goes on from there."""
        self._waiting.clear()
        self._is_open = False

    def _record(self) -> RunRecord:
        parts, request, bound = self._desk.parts, self._request, self._asking.bound
        policy, experiment, cell = bound.policy, self._asking.experiment, bound.cell
        return RunRecord(
            run_id=self.run_id,
            request_id=request.request_id,
            request_digest=digest_of(request, whole_snapshot=self._whole),
            decision_time_micros=request.decision_time_micros,
            epoch=self._asking.epoch,
            policy=policy.name if experiment is None else experiment.name,
            policy_version=bound.policy_version if experiment is None else experiment.version,
            model_version=bound.model_version if experiment is None else "",
            snapshot_version=parts.snapshot.version,
            catalog_version=parts.catalog.version,
            candidates=[candidate.id for candidate in parts.catalog.candidates],
            types=[candidate.type for candidate in parts.catalog.candidates],
            topics=[candidate.topic for candidate in parts.catalog.candidates],
            channels=None if request.channels is None else list(request.channels),
            theta=None if self._price is None else float(self._price.theta),
            tie_cut=None if self._price is None else int(self._price.tie_cut),
            budgets=self._asking.budgets,
            propensity_draws=policy.propensity_draws,
            history_sequence=self._desk.exposure.last_sequence,
            experiment="" if cell is None else cell.experiment,
            experiment_version="" if cell is None else cell.version,
            evaluation=cell is not None and cell.is_evaluation,
            cells=[] if experiment is None else run_cells(experiment, request),
            request={"volume": request.volume, "price": request.price, "whole_snapshot": self._whole},
        )

    def _open(self) -> dict[int, SegmentInfo]:
        """Enter the run in the log, or find it there with what it already decided."""
        stored = self._desk.log.start_run(self.record)
        for name in ("policy_version", "model_version", "snapshot_version", "catalog_version"):
            if getattr(stored, name) != getattr(self.record, name):
                rule = f"began under {name} {getattr(stored, name)}, which is not in force any more"
                raise InvalidInput.of("request_id", rule, self._request.request_id)
        if not same_cells(stored.cells, self.record.cells):
            rule = "began under other policies of its cells, which are not in force any more"
            raise InvalidInput.of("request_id", rule, self._request.request_id)
        self.record = stored
        if stored.theta is not None and stored.tie_cut is not None:
            charge = charge_of(self.parts.catalog, stored.theta, stored.budgets)
            self._price = RunPrice(np.float32(stored.theta), np.uint64(stored.tie_cut), 0, charge)
        return {info.first_ordinal: info for info in self._desk.log.segments(self.run_id)}

    def _left(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows that are still to be decided, `size` at a time."""
        if self._whole:
            n_members = self._desk.parts.snapshot.n_members
            for at in range(0, n_members, size):
                yield np.arange(at, min(at + size, n_members), dtype=np.int64)
            return
        for rows in self._waiting:
            for at in range(0, rows.size, size):
                yield rows[at : at + size]

    def _members(self) -> Members:
        """What pricing goes through."""
        desk = self._desk
        observe = partial(desk.observe, record=self.record)
        return Members(self._asking, self._left, observe, desk.pool, desk.log.directory)

    def _set_price(self, found: Found) -> None:
        theta, tie_cut = float(found.price.theta), int(found.price.tie_cut)
        prices = [(float(each.theta), int(each.tie_cut)) for each in found.of_cells]
        budgets = list(found.budgets)
        bound, gap = found.certificate or (None, None)
        if not self._request.dry_run:
            of_budgets = [(each.price, each.tie_cut) for each in budgets if each.price is not None]
            self._desk.log.set_price(self.run_id, theta, tie_cut, prices, of_budgets, found.certificate)
        cells = [
            msgspec.structs.replace(cell, theta=cell_theta, tie_cut=cell_cut)
            for cell, (cell_theta, cell_cut) in zip(self.record.cells, prices, strict=True)
        ]
        self.record = msgspec.structs.replace(
            self.record, theta=theta, tie_cut=tie_cut, cells=cells, budgets=budgets, bound=bound, gap=gap
        )
        self._price = found.price

    def _decide(self, segments: Iterator[NDArray[np.int64]]) -> Iterator[ResultChunk]:
        """Decide segments, and answer those that the client does not know yet."""
        assert self._price is not None
        deciding = Segments(self._desk, self._asking, self.record, self._price, self._logged, self._ahead)
        for chunk in deciding.decided(segments, self._n_decided):
            self._n_decided += chunk.n_members
            self._tally.add(chunk)
            if self._n_decided > self._answer_from:
                token = "" if self._request.dry_run else f"{self.run_id}:{self._n_decided}"
                yield replace(chunk, resume_token=token)
