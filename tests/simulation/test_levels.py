from __future__ import annotations

import numpy as np

from decider.simulation.levels import LevelLearner
from decider.simulation.past import live_past
from decider.simulation.spec import FEATURES
from decider.simulation.truth import true_effects
from decider_core.score import posterior_moments
from tests.simulation.small_worlds import small_world


def test_levels_are_who_watches_after_a_message_and_not_what_it_causes() -> None:
    world = small_world(20_000)
    past = live_past(world)
    learner = LevelLearner(world.messages.n, 1 + len(FEATURES), 1)
    for batch in past.batches:
        posterior = learner.fit(batch)
    epoch = world.epoch(0)
    z, u = epoch.features(past.state.recent, slice(None)), np.ascontiguousarray(world.affinity[None])
    mean, _ = posterior_moments(posterior.packed, z, u)
    tau = true_effects(epoch, past.state.recent)
    live = epoch.live == 0
    level = (epoch.organic + tau)[live]
    assert np.corrcoef(mean[live].ravel(), level.ravel())[0, 1] > 0.9
    assert np.corrcoef(mean[live].ravel(), tau[live].ravel())[0, 1] < 0.1
    # A candidate without data is like all.
    unseen = mean[~live].mean(axis=0)
    assert np.corrcoef(unseen, mean[live].mean(axis=0))[0, 1] > 0.95
