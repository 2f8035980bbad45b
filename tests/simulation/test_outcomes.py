from __future__ import annotations

import numpy as np
import pytest

from decider.simulation.outcomes import draw_outcomes
from tests.simulation.small_worlds import small_world

N = 40_000


def test_members_watch_as_often_as_the_truth_says() -> None:
    # Within five standard errors in ten groups: a false alarm has probability below 1e-5.
    world = small_world(N)
    epoch = world.epoch(2)
    reward = draw_outcomes(epoch, epoch.organic).reward
    group = np.argsort(np.argsort(epoch.organic)) * 10 // N
    for each in range(10):
        rows = group == each
        chance = float(epoch.organic[rows].mean())
        error = np.sqrt(chance * (1 - chance) / rows.sum())
        assert abs(reward[rows].mean() - chance) < 5 * error


def test_outcomes_are_late_and_an_open_window_shows_too_few() -> None:
    world = small_world(N, delay_shares=(0.5, 0.3, 0.2))
    outcomes = draw_outcomes(world.epoch(1), np.ones(N, np.float32))
    shown = [outcomes.seen(now).mean() for now in range(4)]
    assert shown[0] == 0.0
    # Five standard errors of a share of 40,000.
    assert shown[1:3] == pytest.approx([0.5, 0.8], abs=5 * 0.5 / np.sqrt(N))
    assert shown[3] == 1.0
    assert np.array_equal(outcomes.seen(1 + world.spec.window_epochs), outcomes.reward)


def test_a_die_is_the_same_under_every_policy() -> None:
    epoch = small_world(500).epoch(0)
    low = draw_outcomes(epoch, np.full(500, 0.3, np.float32))
    high = draw_outcomes(epoch, np.full(500, 0.4, np.float32))
    assert (high.reward >= low.reward).all()
    assert high.reward.sum() > low.reward.sum()
