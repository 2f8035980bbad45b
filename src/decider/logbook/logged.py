"""Feedback from our own log: decisions of one message or none, with their logged propensities and rewards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from decider import errors
from decider.logbook.cells import constant_warnings, numeric, refuse_rows
from decider.logbook.feedback import Fact, Feedback, seal_feedback
from decider.logbook.propensities import SUM_TOLERANCE, propensity_columns

NOTHING = "nothing"
"""The arm of a decision that sends nothing."""
_HOLDOUT = 0


def assemble_feedback(
    decisions: pl.DataFrame,
    attributed: Mapping[str, pl.DataFrame],
    features: pl.DataFrame,
    out: Path | str,
    *,
    propensities: pl.DataFrame | None = None,
    leave_out_deferred: bool = False,
    leave_out_open: bool = False,
    leave_out_evaluation: bool = False,
    with_evaluation: bool = False,
) -> Feedback:
    """Make logged decisions into the same feedback that a trial gives.

    The arms are the candidates and ``nothing``. Decisions of the holdout are left out: there nothing was
    chosen. Facts tell how many rows were left out and why.

    Parameters
    ----------
    decisions
        As :meth:`Logbook.decision_frames` yields, with at most one message each.
    attributed
        For each reward the frame of :func:`attribute`.
    features
        ``decision_id`` or ``member_id``, and the numeric features; every decision must find its row.
    out
        Directory to make; it must not exist.
    propensities
        ``decision_id`` and ``p:<arm>`` for every arm; without it only the propensity of the arm taken is
        known, and the other columns are null.
    leave_out_deferred
        Leave out decisions whose propensity was deferred, instead of refusing all.
    leave_out_open
        Leave out decisions whose attribution window is still open, instead of refusing all.
    leave_out_evaluation
        Leave out decisions that were made to compare an experiment's cells, instead of refusing all.
    with_evaluation
        Take them in. Whoever learns from one cell what another one is judged by has no experiment any more.

    Raises
    ------
    errors.InvalidInput
        Names what cannot be used and how many rows it is. Decisions of several messages are always refused:
        without them the propensities of the others would be wrong.
    errors.Conflict
        `out` exists.
    """
    if not attributed:
        raise errors.InvalidInput.of("attributed", "must hold at least one reward", {})
    chosen = decisions.filter(pl.col("stratum") != _HOLDOUT)
    left_out: dict[str, int | float] = {"holdout": decisions.height - chosen.height}
    if not with_evaluation:
        chosen, left_out["evaluation"] = _without(
            chosen,
            pl.col("evaluation"),
            "decisions.evaluation",
            "must be false unless evaluation traffic is asked for",
            leave_out_evaluation,
        )
    _refuse(chosen.filter(pl.col("candidates").list.len() > 1), "candidates", "must be at most one")
    chosen, left_out["deferred"] = _without(
        chosen, pl.col("propensity").is_null(), "propensity", "must not be deferred", leave_out_deferred
    )
    for name, frame in attributed.items():
        rewards = frame.select(
            "decision_id", pl.col("reward").alias(f"y:{name}"), pl.lit(True).alias("found")
        )
        chosen = chosen.join(rewards, on="decision_id", how="left", maintain_order="left")
        _refuse(chosen.filter(pl.col("found").is_null()), f"attributed.{name}", "must hold every decision")
        chosen = chosen.drop("found")
    is_open = pl.any_horizontal(pl.col(f"y:{name}").is_null() for name in attributed)
    chosen, left_out["open"] = _without(chosen, is_open, "attributed", "must be closed", leave_out_open)
    if not chosen.height:
        raise errors.InvalidInput.of("decisions", "must leave at least one row", 0)
    columns = _features(chosen, features)
    arm = chosen.select(pl.col("candidates").list.first().fill_null(NOTHING).alias("arm")).to_series()
    arms = _arms(arm, propensities)
    facts: dict[str, Fact] = {
        "kind": "log",
        "n_read": decisions.height,
        "n_left_out": left_out,
        "n_members": chosen["member_id"].n_unique(),
        "n_by_arm": {name: int((arm == name).sum()) for name in arms},
        "policies": sorted(chosen["policy"].unique().to_list()),
        "warnings": constant_warnings(columns),
    }
    chances = _propensities(chosen, arm, arms, propensities)
    values = [numeric(chosen[f"y:{name}"], f"y:{name}", pl.Float64) for name in attributed]
    return seal_feedback(
        pl.DataFrame([chosen["member_id"], arm, *chances, *values, *columns]),
        out,
        arms=arms,
        control=NOTHING,
        rewards=list(attributed),
        feature_names=[column.name.removeprefix("x:") for column in columns],
        facts=facts,
    )


def _without(
    frame: pl.DataFrame, which: pl.Expr, field: str, rule: str, leave_out: bool
) -> tuple[pl.DataFrame, int]:
    found = frame.filter(which)
    if not leave_out:
        _refuse(found, field, rule)
    return frame.filter(~which), found.height


def _refuse(found: pl.DataFrame, field: str, rule: str) -> None:
    if found.height:
        place = f"({found.height} decisions)"
        raise errors.InvalidInput.of(field, f"{rule}, decision", found["decision_id"][0], place)


def _features(chosen: pl.DataFrame, features: pl.DataFrame) -> list[pl.Series]:
    key = "decision_id" if "decision_id" in features.columns else "member_id"
    if key not in features.columns:
        raise errors.InvalidInput.of("features", "must have decision_id or member_id", features.columns)
    names = [name for name in features.columns if name not in ("decision_id", "member_id")]
    if not names:
        raise errors.InvalidInput.of("features", "must have at least one feature", features.columns)
    refuse_rows(f"features.{key}", "must not be double", features[key], features[key].is_duplicated())
    if features[key].dtype != chosen[key].dtype:
        rule = f"must be of type {chosen[key].dtype}"
        raise errors.InvalidInput.of(f"features.{key}", rule, str(features[key].dtype))
    columns = features.select(key, pl.lit(True).alias("found"), pl.col(names).name.prefix("x:"))
    joined = chosen.select("decision_id", *{key} - {"decision_id"}).join(
        columns, on=key, how="left", maintain_order="left"
    )
    _refuse(joined.filter(pl.col("found").is_null()), "features", f"must hold the {key} of every decision")
    return [numeric(joined[f"x:{name}"], f"x:{name}", pl.Float32) for name in names]


def _arms(arm: pl.Series, propensities: pl.DataFrame | None) -> list[str]:
    found = set(arm.unique().to_list())
    if propensities is not None:
        given = {name.removeprefix("p:") for name in propensities.columns if name.startswith("p:")}
        if not found | {NOTHING} <= given:
            missing = sorted((found | {NOTHING}) - given)
            raise errors.InvalidInput.of(
                "propensities", "must have a column for every arm, none for", missing
            )
        found |= given
    return [NOTHING, *sorted(found - {NOTHING})]


def _propensities(
    chosen: pl.DataFrame, arm: pl.Series, arms: list[str], propensities: pl.DataFrame | None
) -> list[pl.Series]:
    if propensities is None:
        # Even where two arms were seen the other's is not the rest of it: a third may never have been drawn.
        table = chosen.select("propensity", arm)
        return table.select(
            "propensity",
            *(pl.when(pl.col("arm") == name).then("propensity").alias(f"p:{name}") for name in arms),
        ).get_columns()
    by_arm = {name: f"p:{name}" for name in arms}
    refuse_rows(
        "propensities.decision_id",
        "must not be double",
        propensities["decision_id"],
        propensities["decision_id"].is_duplicated(),
    )
    joined = chosen.select("decision_id").join(
        propensities, on="decision_id", how="left", maintain_order="left"
    )
    columns = propensity_columns(joined, arm, arms, None, by_arm)
    apart = (columns[0] - chosen["propensity"]).abs() > SUM_TOLERANCE
    refuse_rows("propensities", "must equal the logged propensity of the arm taken", columns[0], apart)
    return columns
