"""What a loop is told: its names, its times, its reward, its gates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from decider.errors import InvalidInput, Violation
from decider.logbook.attribution import RewardSpec


class Gates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model must pass before it is published; one that does not leaves the old one deciding."""

    rows: int = 200
    """The least number of decisions drawn at random whose windows are closed."""
    largest_sd: float = 1.0
    """The largest standard deviation that the average effect of any message may have, in reward."""
    no_worse: bool = True
    """Whether a model is refused whose sets an off-policy estimate finds to be worth less than those of the one that
    decides: by sets drawn at random, when the whole 95 % interval lies below zero. Where there are too few of them to
    tell, it passes."""


class LoopSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A loop; see ``examples/loop.toml``."""

    name: str
    """Request ids are ``<name>-<epoch>``: two loops of one name are one loop."""
    server: str
    """Address of the running service."""
    policy: str
    model: str
    """The model that the policy decides by; the loop publishes it."""
    reward: RewardSpec
    first: dt.datetime
    """Decision time of epoch 0."""
    epoch_seconds: int
    keep: float = 0.98
    """Share of what was learned that still counts an epoch later."""
    volume: int | None = None
    """At most so many sends an epoch; none sends what is worth the policy's price."""
    prior_sd: float = 0.05
    """Of every coefficient before anything is learned, in reward."""
    patience_seconds: float = 60.0
    """How long a server out of reach is waited for."""
    gates: Gates = Gates()

    def __post_init__(self) -> None:
        """Refuse a specification that means nothing."""
        wrong = [
            Violation(field, f"{rule}, got {getattr(self, field)!r}")
            for field, rule, holds in (
                ("name", "must not be empty", bool(self.name)),
                ("first", "must have a time zone, such as Z", self.first.tzinfo is not None),
                ("epoch_seconds", "must be >= 1", self.epoch_seconds >= 1),
                ("keep", "must be in (0, 1]", 0.0 < self.keep <= 1.0),
                ("prior_sd", "must be > 0", self.prior_sd > 0.0),
                ("patience_seconds", "must be >= 0", self.patience_seconds >= 0.0),
            )
            if not holds
        ]
        if wrong:
            raise InvalidInput(wrong)

    def time_of(self, epoch: int) -> dt.datetime:
        """When an epoch is decided."""
        return self.first + dt.timedelta(seconds=epoch * self.epoch_seconds)

    def request_of(self, epoch: int) -> str:
        """The request id of an epoch's run."""
        return f"{self.name}-{epoch}"

    def closed_by(self, time: dt.datetime) -> int:
        """How many epochs have closed windows at a time."""
        open_since = (time - self.first).total_seconds() - self.reward.window_seconds
        return max(0, int(open_since // self.epoch_seconds) + 1) if open_since >= 0 else 0


def load_loop(path: Path) -> LoopSpec:
    """Read a loop's file.

    Raises
    ------
    InvalidInput
        Naming the file, the field and the rule.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=LoopSpec)
    except OSError as error:
        raise InvalidInput.of("loop", f"must be a readable file ({error.strerror})", str(path)) from error
    except msgspec.DecodeError as error:
        raise InvalidInput.of("loop", f"must be a loop's TOML: {error}", str(path)) from error
