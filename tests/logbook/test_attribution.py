"""Rewards equal their definition; open decisions have none; every event is accounted for."""

from __future__ import annotations

import random

import polars as pl
import pytest

from decider import errors
from decider.logbook.attribution import MICROS, Attributed, RewardSpec, attribute
from decider.logbook.schema import EventType

from . import naive_attribution as naive

VISIT = RewardSpec(
    name="visit", weights={EventType.CLICKED: 1.0, EventType.UNSUBSCRIBED: -5.0}, window_seconds=100
)
DECISION = {
    "decision_id": pl.String,
    "member_id": pl.Int64,
    "decision_time_micros": pl.Int64,
    "candidates": pl.List(pl.String),
}
EVENT = {
    "event_id": pl.String,
    "type": pl.String,
    "event_time_micros": pl.Int64,
    "decision_id": pl.String,
    "candidate": pl.String,
    "value": pl.Float64,
    "member_id": pl.Int64,
}


def decisions(*rows: tuple[str, int, int, list[str]]) -> pl.DataFrame:
    return pl.DataFrame([dict(zip(DECISION, row, strict=True)) for row in rows], schema=DECISION)


def events(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(EVENT) | row for row in rows], schema=EVENT)


def of(event_id: str, type_: str, seconds: float, **more: object) -> dict[str, object]:
    time = round(seconds * MICROS)
    return {"event_id": event_id, "type": type_, "event_time_micros": time, "decision_id": "d"} | more


def rewards(outcome: Attributed) -> list[float | None]:
    return outcome.frame["reward"].to_list()


def test_weights_add_up_inside_the_window_only() -> None:
    one = decisions(("d", 7, 1_000 * MICROS, ["m@email"]))
    outcome = attribute(
        one,
        events(
            of("at the start", "clicked", 1_000),
            of("just before", "clicked", 999.999999),
            of("last moment", "unsubscribed", 1_099.999999),
            of("just after", "clicked", 1_100),
            of("other type", "opened", 1_001),
            of("nobody's", "clicked", 1_001, decision_id="other"),
            of("at the start", "clicked", 1_000),
        ),
        VISIT,
        now_micros=1_100 * MICROS,
    )
    assert rewards(outcome) == [-4.0]
    assert outcome[1:] == (2, 2, 1, 1, 1)


def test_open_decision_has_no_reward_yet() -> None:
    one = decisions(("d", 7, 0, ["m@email"]), ("closed", 8, -1, []))
    outcome = attribute(one, events(of("e", "clicked", 5)), VISIT, now_micros=100 * MICROS - 1)
    assert outcome.frame.rows() == [("d", None, False), ("closed", 0.0, True)]


def test_event_without_decision_goes_to_the_latest_that_held_the_candidate() -> None:
    several = decisions(
        ("early", 7, 0, ["m@email", "t@push"]),
        ("late", 7, 10 * MICROS, ["m@email"]),
        ("later", 7, 20 * MICROS, ["t@push"]),
        ("another", 8, 11 * MICROS, ["m@email"]),
    )
    loose = {"decision_id": None, "member_id": 7, "candidate": "m@email"}
    outcome = attribute(several, events(of("e", "clicked", 15, **loose)), VISIT, now_micros=2**60)
    assert rewards(outcome) == [0.0, 1.0, 0.0, 0.0]


def test_value_counts_where_asked() -> None:
    spend = RewardSpec(
        name="spend", weights={EventType.PLAYED: 2.0}, window_seconds=100, use_value=[EventType.PLAYED]
    )
    one = decisions(("d", 7, 0, []))
    outcome = attribute(one, events(of("e", "played", 1, value=1.5)), spend, now_micros=2**60)
    assert rewards(outcome) == [3.0]
    with pytest.raises(errors.InvalidInput, match=r"events\.value must be given .* in event e \(1 events\)"):
        attribute(one, events(of("e", "played", 1)), spend, now_micros=2**60)


@pytest.mark.parametrize("seed", range(20))
def test_against_the_definition(seed: int) -> None:
    draw = random.Random(seed)
    names = ["a@email", "b@email", "c@push"]
    # Times differ, so that "the latest decision" is one decision.
    times = draw.sample(range(200), 30)
    some = decisions(
        *(
            (f"d{i}", draw.randrange(4), times[i] * MICROS, draw.sample(names, draw.randrange(4)))
            for i in range(30)
        )
    )
    rows = []
    for i in range(200):
        named = draw.random() < 0.5
        rows.append(
            of(
                f"e{draw.randrange(150)}" if i % 3 else f"f{i}",
                draw.choice(list(EventType)).value,
                draw.randrange(300),
                decision_id=f"d{draw.randrange(35)}" if named else None,
                member_id=draw.randrange(5),
                candidate=draw.choice(names),
                value=draw.choice([0.5, 2.0, -1.0]),
            )
        )
    spec = RewardSpec(
        name="r",
        weights={EventType.CLICKED: 1.0, EventType.PLAYED: 0.25, EventType.COMPLAINED: -5.0},
        window_seconds=draw.choice([1, 50, 1_000]),
        use_value=[EventType.PLAYED],
    )
    now = draw.randrange(400) * MICROS
    weights = {name.value: weight for name, weight in spec.weights.items()}
    ref = naive.attribute(some.to_dicts(), rows, weights, spec.window_seconds * MICROS, ["played"], now)
    comp = attribute(some, events(*rows), spec, now)
    assert dict(comp.frame.select("decision_id", "reward").rows()) == pytest.approx(ref)
    assert comp.frame["decision_id"].to_list() == some["decision_id"].to_list()
    assert sum(comp[1:]) == len(rows)


def test_double_decision_is_refused() -> None:
    with pytest.raises(errors.InvalidInput, match=r"decisions\.decision_id must not be double, got 'd'"):
        attribute(decisions(("d", 1, 0, []), ("d", 2, 0, [])), events(), VISIT, 0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"weights": {}}, "weights must name at least one"),
        ({"weights": {"bought": 1.0}}, "weights must name one of sent, .*, got 'bought'"),
        ({"weights": {EventType.SENT: float("nan")}}, r"weights\.sent must be finite, got nan"),
        ({"window_seconds": 0}, "window_seconds must be >= 1, got 0"),
        ({"use_value": [EventType.PLAYED]}, "use_value must name a type that has a weight"),
    ],
)
def test_wrong_reward_is_refused(changes: dict[str, object], match: str) -> None:
    fields: dict[str, object] = {"name": "r", "weights": {EventType.CLICKED: 1.0}, "window_seconds": 1}
    with pytest.raises(errors.InvalidInput, match=match):
        RewardSpec(**(fields | changes))  # type: ignore[arg-type]
