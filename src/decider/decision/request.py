"""What a caller asks: one member now, or a run over many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

Scalar = bool | int | float | str


class MemberRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One member, one decision; a struct, as thousands a second are made."""

    member_id: int | str
    """As the snapshot has it."""
    request_id: str
    """Chosen by the caller; a retry with the same id returns the same decision."""
    decision_time_micros: int
    """When the messages would go out, microseconds since the Unix epoch, UTC."""
    policy: str = ""
    """Name of the policy; empty takes the default."""
    epoch: int | None = None
    """The decision window; none takes the policy's window that holds the decision time."""
    channels: tuple[str, ...] | None = None
    """Only these channels; none means all."""
    context: Mapping[str, Scalar] = msgspec.field(default_factory=dict)
    """Member columns (features or attributes) whose snapshot values are overridden."""
    pair_features: Mapping[str, Mapping[str, float]] = msgspec.field(default_factory=dict)
    """Candidate id -> pair feature name -> value; every eligible candidate must have all the model's."""
    dry_run: bool = False
    """Decide, but log nothing and count it nowhere."""
    trace: bool = False
    """Also return every candidate with its value or its exclusion reason."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """At most so many messages on a channel, or so much cost; one of the two."""

    channel: str = ""
    """Of one channel; empty for all channels together, which only a cost can be of: messages of all are a volume."""
    messages: int | None = None
    cost: float | None = None
    """In the catalog's unit."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One bulk pass."""

    request_id: str
    """Chosen by the caller; names the run."""
    decision_time_micros: int
    """One time for the whole run."""
    policy: str = ""
    epoch: int | None = None
    channels: tuple[str, ...] | None = None
    volume: int | None = None
    """At most so many sends in this run; its price is found exactly. Not together with `price`."""
    price: float | None = None
    """Incrementality threshold per unit of cost; none takes the policy's."""
    budgets: tuple[Budget, ...] = ()
    """What may be sent on single channels; each gets a price of its own. Not together with `volume` or `price`."""
    defer_propensities: bool = False
    """Leave exploit propensities out: they can be recomputed from the log."""
    dry_run: bool = False
    resume_token: str = ""
    """The last token received, to go on after a broken stream."""
