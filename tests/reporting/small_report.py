"""A report with every section, of a small trial whose effects depend on a feature."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from decider.evaluation.policies import best_at_volume, constant, random_at_volume
from decider.experiments import LongTermReadOut, load_experiment, read_out
from decider.experiments.from_feedback import outcomes_of_feedback
from decider.learning import Judging, TrainSpec, train
from decider.logbook import Feedback
from decider.reporting import Report, gather
from decider.reporting.sections.decided import CellView, RunView
from decider.reporting.sections.experiments import experiment_section
from decider.reporting.sections.exploration import Planned
from decider.reporting.sections.posteriors import Version
from tests.cli.experiment_files import TRIAL
from tests.cli.small_house import make_feedback

RUN = RunView(
    run_id="0123456789abcdef01234567",
    policy="fewer",
    n_members=3000,
    n_sends=1000,
    n_explored=60,
    price=None,
    expected_reward=250.0,
    per_candidate={"mens@email": 500, "womens@email": 300, "mens@push": 200},
    per_channel={"email": 800, "push": 200},
    per_count={0: 2100, 1: 800, 2: 100},
    per_stratum={"holdout": 60, "explore": 150, "exploit": 2790},
    planned={
        "holdout": Planned(0.02, 0.0026),
        "explore": Planned(0.049, 0.0039),
        "exploit": Planned(0.931, 0.0046),
    },
    unsent={"price": 1800, "consent": 200, "holdout": 60, "drawn": 40},
    cells=(
        CellView("holdout", "fewer/holdout", 100, 0, None, 0.0, {}, {0: 100}),
        CellView(
            "today",
            "heuristic",
            1500,
            700,
            0.0,
            math.nan,
            {"mens@email": 400, "womens@email": 100, "mens@push": 200},
            {0: 900, 1: 500, 2: 100},
        ),
        CellView(
            "few",
            "thompson",
            1400,
            300,
            0.2,
            150.0,
            {"mens@email": 100, "womens@email": 200},
            {0: 1100, 1: 300},
        ),
    ),
)


def small_report(folder: Path, title: str = "A small trial") -> Report:
    """Import the trial, train two versions, judge three policies, read it as an experiment too."""
    feedback = Feedback.open(make_feedback(folder))
    spec = TrainSpec(reward="visit", learners=("dr_learner",), types={"mens": "clothes", "womens": "clothes"})
    (model,) = train(feedback, spec).models
    other = replace(model, mean=0.9 * model.mean)
    judging = Judging(feedback, TrainSpec(reward="visit", half="held-out"))
    rows = judging.rows
    policies = {
        "mens to all": constant(rows, rows.arms.index("mens")),
        "random at 30%": random_at_volume(rows, 0.3),
        "model at 30%": best_at_volume(rows, judging.predicted(model), 0.3),
    }
    (folder / "experiment.toml").write_text(TRIAL)
    experiment = load_experiment(folder / "experiment.toml")
    found = read_out(experiment, outcomes_of_feedback(experiment, feedback))
    week = found.comparisons[0].effect
    weeks = LongTermReadOut("visit", "mens", (week,) * 4, week, week, week, None, None, ())
    return gather(
        judging,
        policies,
        "model at 30%",
        model,
        title=title,
        facts=[("Feedback", feedback.version)],
        versions=[Version(other, "2026-01-01 00:00"), Version(model, "2026-02-01 00:00")],
        run=RUN,
        opt_outs="spend",
        exchange_rate=0.2,
        today=0.2,
        more=[experiment_section(replace(found, long_term=(weeks,)))],
        n_resamples=100,
    )
