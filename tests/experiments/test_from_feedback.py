"""Experiments read from feedback: arms are cells."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from small_experiments import experiment

from decider.errors import InvalidInput
from decider.experiments import outcomes_of_feedback, read_out
from decider.experiments.spec import Guardrail, Metric
from decider.logbook.feedback import Feedback
from decider.logbook.trial import TrialSpec, import_trial

METRICS = [
    Metric(name="visit", role="primary", covariate="age"),
    Metric(name="spend per visit", column="spend", per_column="visit"),
]


def made(tmp_path: Path, repeated: bool = False) -> tuple[Feedback, pl.DataFrame]:
    g = np.random.default_rng(0)
    n = 2_000
    members = np.arange(n)
    frame = pl.DataFrame(
        {
            "member": members,
            "arm": pl.Series(["today", "few"]).gather(g.integers(0, 2, n)),
            "visit": g.poisson(1.0, n).astype(float),
            "spend": g.gamma(2.0, 1.0, n),
            "left": (g.random(n) < 0.03).astype(float),
            "age": g.normal(size=n),
        }
    )
    if repeated:
        frame = pl.concat([frame, frame])
    frame.write_parquet(tmp_path / "trial.parquet")
    spec = TrialSpec(
        arm="arm", control="today", rewards=["visit", "spend", "left"], features=["age"], shares="uniform",
        member_id="member", repeated=repeated,
    )  # fmt: skip
    return import_trial(tmp_path / "trial.parquet", spec, tmp_path / "feedback"), frame


def asked(**changes):
    return msgspec.structs.replace(
        experiment(), metric=METRICS, guardrail=[Guardrail(name="opt-outs", column="left")], **changes
    )


def test_arms_are_compared(tmp_path):
    feedback, frame = made(tmp_path)
    look = read_out(asked(), outcomes_of_feedback(asked(), feedback))
    means = dict(frame.group_by("arm").agg(pl.col("visit").mean()).iter_rows())
    ratios = dict(frame.group_by("arm").agg(pl.col("spend").sum() / pl.col("visit").sum()).iter_rows())
    visit, spend = (each.effect for each in look.comparisons)
    assert (visit.mean, visit.base_mean) == pytest.approx((means["few"], means["today"]), rel=1e-12)
    assert spend.value == pytest.approx(ratios["few"] - ratios["today"], rel=1e-12)
    assert visit.variance_reduction is not None
    assert look.guardrails[0].harmed == frame.filter(arm="few")["left"].sum()
    assert look.until_micros is None
    assert look.long_term == ()


def test_rows_of_a_member_do_not_make_it_surer(tmp_path):
    (tmp_path / "once").mkdir()
    (tmp_path / "twice").mkdir()
    effects = []
    for folder, repeated in (("once", False), ("twice", True)):
        feedback, _ = made(tmp_path / folder, repeated)
        effects.append(read_out(asked(), outcomes_of_feedback(asked(), feedback)).comparisons[1].effect)
    assert effects[1].standard_error == pytest.approx(effects[0].standard_error, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"holdout": 0.1}, "holdout must be 0 for feedback"),
        ({"metric": [Metric(name="clicks")]}, r"metric\['clicks'\].column must be one of visit, spend, left"),
        ({"metric": [Metric(name="visit", covariate="shoe")]}, "covariate must be one of age, got 'shoe'"),
        ({"metric": [Metric(name="visit", covariate="before")]}, "covariate must name a feature"),
    ],
)
def test_what_feedback_lacks_is_named(tmp_path, changes, text):
    feedback, _ = made(tmp_path)
    with pytest.raises(InvalidInput, match=text):
        outcomes_of_feedback(msgspec.structs.replace(asked(), **changes), feedback)


def test_other_arms_are_refused(tmp_path):
    feedback, _ = made(tmp_path)
    cells = [
        msgspec.structs.replace(cell, name=name) for cell, name in zip(experiment().cell, "ab", strict=True)
    ]
    with pytest.raises(
        InvalidInput, match=r"cell.name must be the arms of the feedback, today, few, got 'a, b'"
    ):
        outcomes_of_feedback(asked(cell=cells, control="a"), feedback)
