"""One look: levels, roles, what is warned of."""

from __future__ import annotations

import numpy as np
import pytest
from small_experiments import experiment, outcomes

from decider.experiments import MetricColumns, read_out
from decider.experiments.spec import Cell, Metric


def made_up(n=3_000, seed=0, n_cells=3):
    g = np.random.default_rng(seed)
    return g.integers(1, n_cells, n).astype(np.uint8), g.poisson(3.0, n).astype(float)


def test_primary_metrics_share_alpha():
    wide = experiment(
        cell=[Cell(name=name, policy=name, share=0.25) for name in ("today", "few", "none", "many")],
        metric=[Metric(name="plays", role="primary"), Metric(name="clicks per delivered")],
        control="today",
    )
    cells, plays = made_up(n_cells=5)
    look = read_out(wide, outcomes(cells, plays))
    levels = {(each.metric, each.cell): each.effect.level for each in look.comparisons}
    assert levels["plays", "few"] == pytest.approx(1 - 0.05 / 3)
    assert levels["clicks per delivered", "few"] == pytest.approx(0.95)
    assert look.members == tuple(np.bincount(cells, minlength=5))


def test_the_holdout_is_compared_with_too_and_never_primary():
    cells, plays = made_up()
    cells[::20] = 0
    look = read_out(experiment(holdout=0.05, first_look=50), outcomes(cells, plays))
    pairs = [(each.cell, each.against, each.role) for each in look.comparisons if each.metric == "plays"]
    assert pairs == [
        ("few", "today", "primary"),
        ("today", "holdout", "secondary"),
        ("few", "holdout", "secondary"),
    ]


def test_a_ratio_and_a_covariate_are_told_by_their_columns():
    cells, plays = made_up()
    seen = outcomes(cells, plays)
    seen.metrics["clicks per delivered"] = MetricColumns(plays, plays + 1.0, plays)
    effects = {each.metric: each.effect for each in read_out(experiment(), seen).comparisons}
    assert effects["clicks per delivered"].variance_reduction > 0.5
    assert effects["clicks per delivered"].mean < 1.0
    assert effects["plays"].variance_reduction is None


def test_warnings_come_from_what_is_wrong():
    cells = np.repeat(np.array([1, 2], np.uint8), [4_000, 2_000])
    look = read_out(experiment(), outcomes(cells, np.arange(6_000.0)))
    (warning,) = look.warnings
    assert warning.startswith("sample ratio: triggered members are not shared out as planned")
