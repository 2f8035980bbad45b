"""What an experiment is: its cells, metrics, guardrails and dates, and who is in which cell."""

from __future__ import annotations

import datetime
import hashlib
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.logbook.schema import EventType
from decider_core.random import CELL, hash_string, stream_key, uniforms
from decider_core.random import HOLDOUT as HELD_OUT

HOLDOUT = "holdout"
"""Name of the cell that is never messaged; its code is 0."""
BEFORE = "before"
"""As a metric's covariate: the metric itself, before the experiment."""
WEEK_MICROS = 7 * 86_400_000_000

Role = Literal["primary", "secondary"]


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to treat members."""

    name: str
    policy: str
    """Name of the policy that decides for its members."""
    share: float
    """Share of the members outside the holdout."""


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number of each member, compared between cells."""

    name: str
    role: Role = "secondary"
    """Choices rest on primary metrics, whose levels share alpha; secondary ones explain."""
    events: dict[EventType, float] = {}
    """Worth of one event, by its type; added up from the member's first decision on."""
    use_value: list[EventType] = []
    """Types whose worth is multiplied by the event's value."""
    per: dict[EventType, float] = {}
    """What it is divided by, likewise (a ratio of sums over members); empty: by members."""
    column: str = ""
    """In feedback: the reward; empty takes the metric's name."""
    per_column: str = ""
    """In feedback: the reward that it is divided by; empty: by rows."""
    covariate: str = ""
    """CUPED: ``before`` for the metric itself before the start (logbook), or a feature (feedback)."""


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Members who were harmed: when a cell has too many of them it must stop."""

    name: str
    events: list[EventType] = []
    """A member counts once, at the first event of these types."""
    column: str = ""
    """In feedback: a reward that is 0 for members who were not harmed; empty takes the guardrail's name."""
    allowed_increase: float = 0.0
    """How many more than the control's are borne, relative to it: 0.1 is a tenth more."""
    alpha: float = 0.01
    """Probability of ever stopping a cell that keeps to it; shared among the cells."""


class LongTerm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long-term effects are read, and when they are held against the short-term ones."""

    metric: str
    """Read week after week."""
    short_weeks: int = 4
    """Weeks that the short-term effect is taken over; surrogates are theirs too."""
    late_weeks: int = 2
    """The latest weeks, whose effect is held against the short-term one."""
    surrogates: list[str] = []
    """Metrics whose sums over the short weeks foretell the outcome, once history has taught how."""


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An experiment. All of it is fixed before it starts; :attr:`version` tells when something was not."""

    name: str
    """What requests call it, in the place of a policy's name."""
    salt: str
    """Key of the assignment. Another salt is another assignment, unrelated to this one."""
    start: datetime.datetime
    end: datetime.datetime
    control: str
    """The cell that the others are compared with."""
    cell: list[Cell]
    decision: datetime.datetime | None = None
    """When the choice between the cells is due; none: at the end."""
    holdout: float = 0.0
    """Share of members that are never messaged."""
    holdout_salt: str = "holdout"
    """Its key. The same members stay out in every experiment with this key."""
    otherwise: str = ""
    """Policy of requests before the start and after the end; empty refuses them."""
    traffic: Literal["evaluation", "training"] = "evaluation"
    """Whether its decisions may be learnt from; of evaluation traffic only when told to."""
    alpha: float = 0.05
    """Probability of a false alarm on the primary metrics, over all looks together."""
    sample_ratio_alpha: float = 0.001
    """Probability of a false alarm of each sample-ratio test, over all looks together."""
    planned_members: int = 10_000
    """Members of two cells together, at which intervals are to be narrowest."""
    first_look: int = 500
    """Members of each cell before the first look."""
    before_days: int = 28
    """How far before the start covariates reach."""
    metric: list[Metric] = []
    guardrail: list[Guardrail] = []
    long_term: LongTerm | None = None

    @property
    def version(self) -> str:
        """Hash of the content."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()
        return f"sha256:{digest[:16]}"

    @property
    def cell_names(self) -> tuple[str, ...]:
        """Names by code: the holdout's first."""
        return (HOLDOUT, *(cell.name for cell in self.cell))

    @property
    def cell_policies(self) -> tuple[str, ...]:
        """Names of policies by code; the holdout has none."""
        return ("", *(cell.policy for cell in self.cell))

    @property
    def is_evaluation(self) -> bool:
        """Whether its decisions are made to compare cells, and not to be learnt from."""
        return self.traffic == "evaluation"

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of all members by code; they sum to 1."""
        return (self.holdout, *((1.0 - self.holdout) * cell.share for cell in self.cell))

    @property
    def start_micros(self) -> int:
        """Start, in microseconds since the Unix epoch."""
        return _micros(self.start)

    @property
    def end_micros(self) -> int:
        """End, likewise; it is not part of the experiment."""
        return _micros(self.end)

    @property
    def decision_micros(self) -> int:
        """When the choice is due."""
        return _micros(self.decision or self.end)

    def assign(self, member_keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Give the code of each member's cell; 0 is the holdout.

        Parameters
        ----------
        member_keys
            uint64 of shape [n].

        Notes
        -----
        The holdout has a salt of its own, so it lasts from experiment to experiment; among the others the cells
        are drawn without regard to it. A member keeps the cell for good: no date and no batch enters.
        """
        stays_out = uniforms(_stream(self.holdout_salt, HELD_OUT), member_keys) < self.holdout
        # The last end is 1 but for rounding.
        ends = np.cumsum([cell.share for cell in self.cell])[:-1]
        cells = 1 + np.searchsorted(ends, uniforms(_stream(self.salt, CELL), member_keys), side="right")
        return np.where(stays_out, 0, cells).astype(np.uint8)

    def code(self, cell: str) -> int:
        """The code of a cell."""
        return self.cell_names.index(cell)


def _stream(salt: str, stream: int) -> np.uint64:
    return stream_key(int(hash_string(salt)), stream)


def _micros(time: datetime.datetime) -> int:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (time - epoch) // datetime.timedelta(microseconds=1)
