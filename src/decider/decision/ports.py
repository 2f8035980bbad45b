"""What decisions need of the outside: a durable log, and the parts of a past decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.decision.parts import Parts
from decider.errors import Conflict
from decider.logbook.schema import (
    Certificate,
    DecisionRecord,
    EventRecord,
    EventResult,
    HistoryEntry,
    RunRecord,
    SealedSegment,
    SegmentInfo,
    SentSets,
)


class Experiment(Protocol):
    """Who gets which policy. See ``decider.experiments`` for one."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> str: ...  # noqa: D102

    @property
    def cell_names(self) -> tuple[str, ...]:
        """By code; the first is never messaged."""
        ...

    @property
    def cell_policies(self) -> tuple[str, ...]:
        """Names of policies by code; the first is empty."""
        ...

    @property
    def is_evaluation(self) -> bool: ...  # noqa: D102

    @property
    def start_micros(self) -> int: ...  # noqa: D102

    @property
    def end_micros(self) -> int: ...  # noqa: D102

    @property
    def otherwise(self) -> str:
        """Policy of the times before and after; empty refuses them."""
        ...

    def assign(self, member_keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Give the code of each member's cell."""
        ...


class MadeFrom(Protocol):
    """Names the versions that a decision or a run was made from."""

    @property
    def decision_time_micros(self) -> int: ...  # noqa: D102

    @property
    def policy(self) -> str: ...  # noqa: D102

    @property
    def policy_version(self) -> str: ...  # noqa: D102

    @property
    def model_version(self) -> str: ...  # noqa: D102

    @property
    def snapshot_version(self) -> str: ...  # noqa: D102

    @property
    def catalog_version(self) -> str: ...  # noqa: D102


Recall = Callable[[MadeFrom, Parts], Parts]
"""Finds the parts of the versions that a record names, given those in force; NotReady when one is gone."""


class Ticket(Protocol):
    """Something on its way to the disk."""

    @property
    def sequence(self) -> int:
        """Its place in the log."""
        ...

    def wait(self, timeout: float | None = None) -> None:
        """Return once it is durable."""
        ...


class Appended(Protocol):
    """A decision that is in the log, or on its way there."""

    @property
    def record(self) -> DecisionRecord:
        """What is stored: for a retry the earlier record, not the one passed in."""
        ...

    @property
    def is_new(self) -> bool:
        """False for a retry."""
        ...

    @property
    def sequence(self) -> int:
        """Its place in the log."""
        ...

    @property
    def ticket(self) -> Ticket:
        """Tells when it is durable."""
        ...


class Found(Protocol):
    """What the log held of some requests at one moment."""

    @property
    def known(self) -> Mapping[str, Appended]:
        """Their decisions, by run id."""
        ...


class Log(Protocol):
    """A durable log: what it has acknowledged survives a crash. See ``decider.logbook`` for one."""

    @property
    def directory(self) -> Path: ...  # noqa: D102

    @property
    def last_sequence(self) -> int: ...  # noqa: D102

    def find_requests(self, run_ids: Sequence[str]) -> Found: ...  # noqa: D102

    def get_decision(self, decision_id: str) -> DecisionRecord: ...  # noqa: D102

    def single_decisions(self) -> Iterator[DecisionRecord]: ...  # noqa: D102

    def runs(self) -> list[RunRecord]: ...  # noqa: D102

    def run(self, run_id: str) -> RunRecord: ...  # noqa: D102

    def event_frames(  # noqa: D102
        self, since_micros: int, after_sequence: int, until_sequence: int
    ) -> Iterator[pl.DataFrame]: ...

    def has_decision(self, decision_id: str) -> bool: ...  # noqa: D102

    def append_decisions(
        self, records: Sequence[DecisionRecord], found: Any = None, *, awaited: bool = False
    ) -> Sequence[Appended | Conflict]:
        """Queue decisions; what `find_requests` gave spares looking for them again.

        Those that the caller waits for next (`awaited`) need nobody else to make them durable.
        """
        ...

    def append_events(self, events: Sequence[EventRecord]) -> EventResult: ...  # noqa: D102

    def history(self, since_micros: int) -> Iterator[HistoryEntry | SentSets]: ...  # noqa: D102

    def start_run(self, record: RunRecord) -> RunRecord: ...  # noqa: D102

    def set_price(  # noqa: D102
        self,
        run_id: str,
        theta: float,
        tie_cut: int,
        cells: Sequence[tuple[float, int]] = (),
        budgets: Sequence[tuple[float, int]] = (),
        certificate: Certificate | None = None,
    ) -> None: ...

    def seal_segment(self, run_id: str, first_ordinal: int, frame: pl.DataFrame) -> SealedSegment: ...  # noqa: D102

    def commit_segment(self, sealed: SealedSegment) -> Ticket: ...  # noqa: D102

    def discard_segment(self, sealed: SealedSegment) -> None: ...  # noqa: D102

    def segments(self, run_id: str) -> list[SegmentInfo]: ...  # noqa: D102

    def read_segment(self, info: SegmentInfo) -> pl.DataFrame: ...  # noqa: D102

    def finish_run(self, run_id: str, summary: dict[str, object]) -> None: ...  # noqa: D102
