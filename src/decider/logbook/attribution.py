"""Attribution: which events follow from which decision, and what reward they add up to.

A decision's reward is the sum of the weights of the events inside its window::

    Y = sum over events e of the decision with 0 <= t_e - t_decision < window of weight(e) [* value(e)]

An event counts for the decision that it names; an event that names a member and a candidate counts for that
member's latest decision that held the candidate, if the event falls into its window.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import polars as pl

from decider import errors
from decider.logbook.schema import EventType

MICROS = 1_000_000


class RewardSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reward is made of, such as a visit for +1 and an unsubscription for -5.

    >>> RewardSpec(name="visit", weights={"clicked": 1.0, "unsubscribed": -5.0}, window_seconds=14 * 86_400)
    """

    name: str
    weights: dict[EventType, float]
    """Reward of one event, by its type; types that are not named add nothing."""
    window_seconds: int
    """Events count from the decision on until this long after it, the end left out."""
    use_value: list[EventType] = []
    """Types whose weight is multiplied by the event's value."""

    def __post_init__(self) -> None:
        """Refuse a specification that means nothing."""
        wrong = []
        if not self.name:
            wrong.append(errors.Violation("name", "must not be empty, got ''"))
        if not self.weights:
            wrong.append(errors.Violation("weights", "must name at least one event type, got {}"))
        if self.window_seconds < 1:
            wrong.append(errors.Violation("window_seconds", f"must be >= 1, got {self.window_seconds}"))
        for event_type, weight in self.weights.items():
            if event_type not in EventType.__members__.values():
                known = ", ".join(EventType)
                wrong.append(errors.Violation("weights", f"must name one of {known}, got {event_type!r}"))
            if not math.isfinite(weight):
                wrong.append(errors.Violation(f"weights.{event_type}", f"must be finite, got {weight}"))
        wrong += [
            errors.Violation("use_value", f"must name a type that has a weight, got {event_type!r}")
            for event_type in self.use_value
            if event_type not in self.weights
        ]
        if wrong:
            raise errors.InvalidInput(wrong)


class Attributed(NamedTuple):
    """Rewards, and what became of every event."""

    frame: pl.DataFrame
    """``decision_id, reward f64 (null while open), closed bool``, one row a decision, in their order."""
    n_counted: int
    """Events inside the window of their decision."""
    n_outside: int
    """Weighted events of a known decision, before it or after its window."""
    n_unmatched: int
    """Weighted events that belong to no decision given."""
    n_unweighted: int
    """Events of types that the reward does not name."""
    n_duplicate: int
    """Repetitions of an event id."""


def attribute(decisions: pl.DataFrame, events: pl.DataFrame, spec: RewardSpec, now_micros: int) -> Attributed:
    """Join decisions to their events.

    Parameters
    ----------
    decisions
        As :meth:`Logbook.decision_frames` yields: needs ``decision_id, member_id, decision_time_micros,
        candidates``.
    events
        As :meth:`Logbook.event_frames` yields.
    spec
        The reward.
    now_micros
        A decision whose window ends after this is open: more may come, so its reward is null.

    Raises
    ------
    errors.InvalidInput
        A decision id is double, or an event whose value counts has none.
    """
    if decisions["decision_id"].is_duplicated().any():
        double = decisions.filter(pl.col("decision_id").is_duplicated())["decision_id"][0]
        raise errors.InvalidInput.of("decisions.decision_id", "must not be double", double)
    once = events.unique("event_id", keep="first", maintain_order=True)
    weighted = once.filter(pl.col("type").is_in([str(name) for name in spec.weights]))
    rewards = _event_rewards(weighted, spec)
    matched = pl.concat([_named(rewards, decisions), _found(rewards, decisions, spec)])
    age = pl.col("event_time_micros") - pl.col("decision_time_micros")
    counted = matched.filter((age >= 0) & (age < spec.window_seconds * MICROS))
    sums = counted.group_by("decision_id").agg(pl.col("event_reward").sum())
    closed = pl.col("decision_time_micros") + spec.window_seconds * MICROS <= now_micros
    frame = (
        decisions.select("decision_id", closed.alias("closed"))
        .join(sums, on="decision_id", how="left", maintain_order="left")
        .select(
            "decision_id",
            pl.when("closed").then(pl.col("event_reward").fill_null(0.0)).alias("reward"),
            "closed",
        )
    )
    return Attributed(
        frame=frame,
        n_counted=counted.height,
        n_outside=matched.height - counted.height,
        n_unmatched=weighted.height - matched.height,
        n_unweighted=once.height - weighted.height,
        n_duplicate=events.height - once.height,
    )


def _event_rewards(events: pl.DataFrame, spec: RewardSpec) -> pl.DataFrame:
    valued = [str(name) for name in spec.use_value]
    lacking = events.filter(pl.col("type").is_in(valued) & pl.col("value").is_null())
    if lacking.height:
        place = f"in event {lacking['event_id'][0]} ({lacking.height} events)"
        raise errors.InvalidInput.of(
            "events.value", "must be given where use_value names the type", None, place
        )
    weight = pl.col("type").replace_strict(
        [str(name) for name in spec.weights], list(spec.weights.values()), return_dtype=pl.Float64
    )
    scale = pl.when(pl.col("type").is_in(valued)).then(pl.col("value")).otherwise(1.0)
    return events.with_columns((weight * scale).alias("event_reward"))


_MATCHED = ["decision_id", "decision_time_micros", "event_id", "event_time_micros", "event_reward"]


def _named(events: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    times = decisions.select("decision_id", "decision_time_micros")
    return events.join(times, on="decision_id", how="inner").select(_MATCHED)


def _found(events: pl.DataFrame, decisions: pl.DataFrame, spec: RewardSpec) -> pl.DataFrame:
    """Match events that name a member and a candidate to the latest decision before them that held it."""
    loose = events.filter(pl.col("decision_id").is_null()).drop("decision_id")
    if loose["member_id"].dtype != decisions["member_id"].dtype:
        # The ids of another kind of member: none of these decisions is theirs.
        loose = loose.clear().with_columns(pl.col("member_id").cast(decisions["member_id"].dtype))
    held = decisions.select(
        "decision_id", "member_id", "decision_time_micros", pl.col("candidates").alias("candidate")
    ).explode("candidate", empty_as_null=False)
    return (
        loose.join(held, on=["member_id", "candidate"], how="inner")
        .filter(pl.col("decision_time_micros") <= pl.col("event_time_micros"))
        .sort("decision_time_micros", maintain_order=True)
        .unique("event_id", keep="last")
        .select(_MATCHED)
    )
