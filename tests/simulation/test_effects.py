from __future__ import annotations

import numpy as np
import pytest

from decider.simulation.effects import EffectLearner
from decider.simulation.learner import Posterior
from decider.simulation.spec import FEATURES
from decider.simulation.state import State
from decider.simulation.truth import true_effects, true_fatigue
from decider.simulation.world import World
from decider_core.score import fatigue, posterior_moments
from tests.simulation.small_batches import drawn_batch
from tests.simulation.small_worlds import lived_in, small_world

D = 1 + len(FEATURES)


def learned(world: World, state: State, n_epochs: int, parents: bool = True) -> Posterior:
    learner = EffectLearner(world.messages, D, 1, parents)
    for number in range(n_epochs):
        posterior = learner.fit(drawn_batch(world, state, number))
    return posterior


def believed(world: World, state: State, posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    z = world.epoch(0).features(state.recent, slice(None))
    return posterior_moments(posterior.packed, z, np.ascontiguousarray(world.affinity[None]))


@pytest.mark.parametrize("parents", [True, False])
def test_effects_are_recovered(parents: bool) -> None:
    # Drift is off, so that there is one truth. Correlation over live pairs, by a wide margin: z-scores of the
    # mean effects stay within 4.5 for all 15 candidates, a false alarm of 1e-4.
    world = small_world(30_000, drift_sd=0.0)
    state = lived_in(world)
    mean, sd = believed(world, state, learned(world, state, 5, parents))
    live = world.epoch(0).live == 0
    truth = true_effects(world.epoch(0), state.recent)
    assert np.corrcoef(mean[live].ravel(), truth[live].ravel())[0, 1] > 0.8
    average = truth[live].mean(axis=1) - mean[live].mean(axis=1)
    # The error of an average is at most the average of the errors.
    assert np.abs(average / sd[live].mean(axis=1)).max() < 4.5
    assert np.sqrt(np.mean((mean[live] - truth[live]) ** 2)) < 2.0 * sd[live].mean()


def test_fatigue_and_cannibalisation_are_recovered_where_they_are_strong() -> None:
    world = small_world(30_000, fatigue=0.05, fatigue_recent=0.0, same_topic=0.06, drift_sd=0.0)
    state = lived_in(world)
    posterior = learned(world, state, 6)
    phi = fatigue(world.epoch(0).features(state.recent, slice(None)), posterior.fatigue)
    assert phi.mean() == pytest.approx(true_fatigue(world.epoch(0), state.recent).mean(), rel=0.4)
    assert posterior.same_topic > 0.0


def test_a_new_message_begins_as_its_type_and_without_parents_as_nothing() -> None:
    world = small_world(20_000, 20, drift_sd=0.0)
    state = State.fresh(world)
    lake = world.messages.ids.index("season-lake@email")
    kin = [world.messages.ids.index(name) for name in ("season-north@email", "season-south@push")]
    mean, sd = believed(world, state, learned(world, state, 3))
    alone, alone_sd = believed(world, state, learned(world, state, 3, parents=False))
    assert mean[lake].mean() > 0.5 * mean[kin].mean()
    # In between the type's own and nothing known: wider than its kin, narrower than a stranger.
    assert sd[kin].mean() < sd[lake].mean() < alone_sd[lake].mean()
    assert alone[lake] == pytest.approx(np.zeros(20_000), abs=1e-6)


def test_streams_forget_and_add_up_in_order() -> None:
    world = small_world(2_000)
    state = lived_in(world)
    one, two = learned(world, state, 3), learned(world, state, 3)
    assert all(np.array_equal(a, b) for a, b in zip(one.packed, two.packed, strict=True))
