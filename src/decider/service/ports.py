"""What the service needs of the rooms below, and no more: the engine, a run of it, the model registry.

``decider.decision.engine.Engine`` and ``decider.models.Registry`` have these forms; so have the tests' fakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decider.decision.policy import PolicySet
from decider.decision.request import MemberRequest, RunRequest
from decider.decision.result import Decision, Explanation, ResultChunk, RunSummary
from decider.decision.together import Outcome
from decider.logbook.schema import EventRecord, EventResult, RunRecord
from decider.models import UpliftModel

MemberIds = NDArray[np.int64] | list[str]


class Candidate(Protocol):
    """A message on a channel."""

    @property
    def id(self) -> str: ...  # noqa: D102

    @property
    def message(self) -> str: ...  # noqa: D102

    @property
    def type(self) -> str: ...  # noqa: D102

    @property
    def topic(self) -> str: ...  # noqa: D102

    @property
    def channel(self) -> str: ...  # noqa: D102


class Catalog(Protocol):
    """What can be said."""

    @property
    def version(self) -> str: ...  # noqa: D102

    @property
    def candidates(self) -> Sequence[Candidate]: ...  # noqa: D102


class Snapshot(Protocol):
    """To whom."""

    @property
    def version(self) -> str: ...  # noqa: D102


class Parts(Protocol):
    """What decisions are made from."""

    @property
    def catalog(self) -> Catalog: ...  # noqa: D102

    @property
    def snapshot(self) -> Snapshot: ...  # noqa: D102

    @property
    def policies(self) -> PolicySet: ...  # noqa: D102

    @property
    def models(self) -> Mapping[str, UpliftModel]: ...  # noqa: D102


class Run(Protocol):
    """One bulk pass under way."""

    @property
    def record(self) -> RunRecord:
        """What its decisions have in common; `theta` is none while a volume's price is not known."""
        ...

    @property
    def parts(self) -> Parts:
        """What all its decisions are made from."""
        ...

    @property
    def summary(self) -> RunSummary:
        """What it did; after `finish` is used up."""
        ...

    def add(self, member_ids: MemberIds, field: str = ...) -> list[ResultChunk]:
        """Take in members; results come at once unless a price must be found first."""
        ...

    def finish(self) -> Iterator[ResultChunk]:
        """All members are in: the results that are left."""
        ...

    def progress(self) -> tuple[str, int, int | None]:
        """Phase (``pricing`` or ``deciding``), members done in it, members in all when known."""
        ...

    def close(self) -> None:
        """Let go of what is held; what is durable stays."""
        ...


class Engine(Protocol):
    """Makes decisions."""

    @property
    def parts(self) -> Parts: ...  # noqa: D102

    def decide(self, request: MemberRequest) -> Decision: ...  # noqa: D102

    def decide_together(self, requests: Sequence[MemberRequest]) -> list[Outcome]: ...  # noqa: D102

    def explain(self, decision_id: str) -> Explanation: ...  # noqa: D102

    def start_run(self, request: RunRequest, whole_snapshot: bool) -> Run: ...  # noqa: D102

    def record_events(self, events: Sequence[EventRecord]) -> EventResult: ...  # noqa: D102

    def reload(self) -> Parts: ...  # noqa: D102


class Registry(Protocol):
    """Keeps the models and which version of each is current."""

    def names(self) -> list[str]: ...  # noqa: D102

    def versions(self, name: str) -> list[str]: ...  # noqa: D102

    def current(self, name: str) -> str: ...  # noqa: D102

    def load(self, name: str, version: str | None = None) -> UpliftModel: ...  # noqa: D102

    def publish(self, model: UpliftModel, who: str = "") -> str: ...  # noqa: D102

    def roll_back(self, name: str, who: str = "") -> str: ...  # noqa: D102
