"""Our own log becomes feedback, with its own propensities, and only where these are known."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import polars as pl
import pytest

from decider import errors
from decider.logbook.attribution import RewardSpec, attribute
from decider.logbook.feedback import Feedback
from decider.logbook.logged import assemble_feedback
from decider.logbook.schema import EventType, decision_id
from decider.logbook.store import Logbook

from . import records

VISIT = RewardSpec(name="visit", weights={EventType.CLICKED: 1.0}, window_seconds=3_600)
FEATURES = pl.DataFrame({"member_id": [0, 1, 2, 3, 4, 5], "age": [10, 20, 30, 40, 50, 60], "new": True})
LATE = 100 * records.HOUR


def logged(tmp_path: Path, **of_last: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Five decisions, one of them of the holdout, the last one changed; and what followed."""
    sets = [("mens@email",), (), ("womens@email",), (), ("mens@email",)]
    with Logbook.open(tmp_path / "log") as logbook:
        for place, sent in enumerate(sets):
            changes = dict(of_last) if place == 4 else {}
            stratum = 0 if place == 3 else 1 + place % 2
            record = records.decision(
                f"r{place}", member_id=place, sent=sent, propensity=0.1 * (place + 1), stratum=stratum
            )
            logbook.append_decision(msgspec.structs.replace(record, **changes))
        logbook.append_events(
            [records.event(f"e{place}", decision_id=decision_id(f"r{place}")) for place in (0, 1)]
        )
        decisions = pl.concat(logbook.decision_frames())
        events = pl.concat(logbook.event_frames())
    events = events.with_columns(event_time_micros=pl.lit(records.HOUR + 5))
    return decisions, attribute(decisions, events, VISIT, LATE).frame


def test_log_becomes_feedback(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path)
    assemble_feedback(decisions, {"visit": rewards}, FEATURES, tmp_path / "out")
    feedback = Feedback.open(tmp_path / "out")
    assert feedback.arms == ("nothing", "mens@email", "womens@email")
    assert feedback.control == "nothing"
    frame = feedback.read(["member_id", "arm", "propensity", "y:visit", "x:age", "p:mens@email", "p:nothing"])
    third = decisions["propensity"][2]
    assert frame.rows() == [
        (0, "mens@email", 0.1, 1.0, 10.0, 0.1, None),
        (1, "nothing", 0.2, 1.0, 20.0, None, 0.2),
        (2, "womens@email", third, 0.0, 30.0, None, None),
        (4, "mens@email", 0.5, 0.0, 50.0, 0.5, None),
    ]
    assert feedback.facts["n_left_out"] == {"holdout": 1, "evaluation": 0, "deferred": 0, "open": 0}
    assert feedback.facts["warnings"] == ["feature new is constant: 1.0"]


def test_deferred_propensities_are_refused_or_left_out(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path, propensity=None, propensity_kind="deferred")
    with pytest.raises(errors.InvalidInput, match=r"propensity must not be deferred, .* \(1 decisions\)"):
        assemble_feedback(decisions, {"visit": rewards}, FEATURES, tmp_path / "out")
    feedback = assemble_feedback(
        decisions, {"visit": rewards}, FEATURES, tmp_path / "out", leave_out_deferred=True
    )
    assert feedback.facts["n_left_out"] == {"holdout": 1, "evaluation": 0, "deferred": 1, "open": 0}
    assert feedback.n_rows == 3


def test_open_decisions_are_refused_or_left_out(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path)
    rewards = rewards.with_columns(
        reward=pl.when(pl.col("decision_id") != decision_id("r2")).then("reward"),
    )
    with pytest.raises(errors.InvalidInput, match=r"attributed must be closed, .* \(1 decisions\)"):
        assemble_feedback(decisions, {"visit": rewards}, FEATURES, tmp_path / "out")
    feedback = assemble_feedback(
        decisions, {"visit": rewards}, FEATURES, tmp_path / "out", leave_out_open=True
    )
    assert feedback.facts["n_left_out"] == {"holdout": 1, "evaluation": 0, "deferred": 0, "open": 1}
    assert feedback.arms == ("nothing", "mens@email")
    # Two arms were seen, but a third was possible: the other's propensity is not the rest of it.
    assert feedback.read(["p:nothing"])["p:nothing"].to_list() == [None, 0.2, None]


def test_propensities_of_all_arms(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path)
    taken = decisions["propensity"]
    mens = pl.Series([taken[0], 0.3, 0.3, 0.3, taken[4]])
    nothing = pl.Series([0.5, taken[1], 0.3, 0.3, 0.2])
    womens = (1 - mens - nothing).scatter(2, taken[2])
    mens = mens.scatter(2, 1 - taken[2] - 0.3)
    table = pl.DataFrame(
        {
            "decision_id": decisions["decision_id"],
            "p:mens@email": mens,
            "p:nothing": nothing,
            "p:womens@email": womens,
        }
    )
    feedback = assemble_feedback(
        decisions, {"visit": rewards}, FEATURES, tmp_path / "out", propensities=table
    )
    assert feedback.read(["p:womens@email"]).null_count().item() == 0
    wrong = table.with_columns(pl.col("p:mens@email") + 1e-8, pl.col("p:nothing") - 1e-8)
    with pytest.raises(
        errors.InvalidInput, match="propensities must equal the logged propensity of the arm taken"
    ):
        assemble_feedback(decisions, {"visit": rewards}, FEATURES, tmp_path / "two", propensities=wrong)
    with pytest.raises(
        errors.InvalidInput, match=r"a column for every arm, none for, got \['womens@email'\]"
    ):
        assemble_feedback(
            decisions,
            {"visit": rewards},
            FEATURES,
            tmp_path / "two",
            propensities=table.drop("p:womens@email"),
        )


def test_sets_of_several_messages_are_refused(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path)
    several = decisions.with_columns(candidates=pl.lit(["mens@email", "top@push"], pl.List(pl.String)))
    with pytest.raises(errors.InvalidInput, match=r"candidates must be at most one, .* \(4 decisions\)"):
        assemble_feedback(several, {"visit": rewards}, FEATURES, tmp_path / "out")


@pytest.mark.parametrize(
    ("features", "match"),
    [
        (FEATURES[:4], r"features must hold the member_id of every decision, .* \(1 decisions\)"),
        (FEATURES.drop("member_id"), "features must have decision_id or member_id"),
        (FEATURES.select("member_id"), "features must have at least one feature"),
        (pl.concat([FEATURES, FEATURES[:1]]), r"features\.member_id must not be double, got 0"),
        (FEATURES.with_columns(pl.col("member_id").cast(pl.String)), "must be of type Int64, got 'String'"),
        (FEATURES.with_columns(age=pl.lit(float("nan"))), "x:age must be finite, got nan"),
    ],
)
def test_wrong_features_are_refused(tmp_path: Path, features: pl.DataFrame, match: str) -> None:
    decisions, rewards = logged(tmp_path)
    with pytest.raises(errors.InvalidInput, match=match):
        assemble_feedback(decisions, {"visit": rewards}, features, tmp_path / "out")


def test_features_may_belong_to_the_decision(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path)
    features = decisions.select("decision_id", age=pl.col("sequence") * 2)
    feedback = assemble_feedback(decisions, {"visit": rewards}, features, tmp_path / "out")
    assert feedback.read(["x:age"])["x:age"].to_list() == [2.0, 4.0, 6.0, 10.0]


def test_rewards_must_cover_every_decision(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path)
    with pytest.raises(errors.InvalidInput, match=r"attributed\.visit must hold every decision"):
        assemble_feedback(decisions, {"visit": rewards[:3]}, FEATURES, tmp_path / "out")
    with pytest.raises(errors.InvalidInput, match="attributed must hold at least one reward"):
        assemble_feedback(decisions, {}, FEATURES, tmp_path / "out")
    with pytest.raises(errors.InvalidInput, match="decisions must leave at least one row"):
        assemble_feedback(decisions[3:4], {"visit": rewards}, FEATURES, tmp_path / "out")


def test_evaluation_traffic_is_learnt_from_only_when_asked_for(tmp_path: Path) -> None:
    decisions, rewards = logged(tmp_path, experiment="fewer", cell="few", evaluation=True)
    make = partial(assemble_feedback, decisions, {"visit": rewards}, FEATURES)
    rule = r"decisions.evaluation must be false unless .* got .* \(1 decisions\)"
    with pytest.raises(errors.InvalidInput, match=rule):
        make(tmp_path / "refused")
    without = make(tmp_path / "without", leave_out_evaluation=True)
    assert (without.n_rows, without.facts["n_left_out"]["evaluation"]) == (3, 1)
    assert make(tmp_path / "taken", with_evaluation=True).n_rows == 4
