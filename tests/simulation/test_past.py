from __future__ import annotations

import numpy as np

from decider.simulation.past import live_past
from decider.simulation.truth import true_effects
from tests.simulation.small_batches import drawn_batch
from tests.simulation.small_worlds import small_world


def test_past_sends_go_with_activity() -> None:
    world = small_world(5_000)
    past = live_past(world)
    assert len(past.batches) == world.spec.past_epochs
    assert np.corrcoef(past.state.recent, world.members.level)[0, 1] > 0.3


def test_the_past_is_confounded_and_a_draw_is_not() -> None:
    # The naive difference of 20,000 members is known within 0.01: the past's is off by ten times that, and a
    # randomised epoch's is not off by more than five standard errors.
    world = small_world(20_000)
    past = live_past(world)
    batch = past.batches[-1]
    sent = batch.sets[0] >= 0
    naive = batch.reward[sent].mean() - batch.reward[~sent].mean()
    truth = true_effects(world.epoch(-1), past.state.recent)[batch.sets[0, sent], np.flatnonzero(sent)].mean()
    assert naive > truth + 0.1
    drawn = drawn_batch(world, past.state, 0)
    one = (drawn.sets[0] >= 0) & (drawn.sets[1] < 0)
    none = drawn.sets[0] < 0
    randomised = drawn.reward[one].mean() - drawn.reward[none].mean()
    truth = true_effects(world.epoch(0), past.state.recent)[drawn.sets[0, one], np.flatnonzero(one)].mean()
    assert abs(randomised - truth) < 5 * np.sqrt(0.25 / one.sum() + 0.25 / none.sum())


def test_nobody_gets_in_the_past_what_is_not_allowed() -> None:
    for batch in live_past(small_world(2_000)).batches:
        sent = np.flatnonzero(batch.sets[0] >= 0)
        assert (batch.reason[batch.sets[0, sent], sent] == 0).all()
        assert (batch.sets[1:] == -1).all()
