"""Small worlds for tests, and states that are not empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from decider.simulation.past import live_past
from decider.simulation.spec import default_world
from decider.simulation.state import State
from decider.simulation.world import World, make_world


def small_world(n_members: int = 500, n_epochs: int = 6, seed: int = 3, **changes: object) -> World:
    return make_world(replace(default_world(n_members, n_epochs, seed), **changes))  # type: ignore[arg-type]


def lived_in(world: World) -> State:
    return live_past(world).state


def some_sets(world: World, seed: int = 0) -> NDArray[np.int16]:
    """Random sets of 0 to 3 different candidates, whoever may get them."""
    rng = np.random.default_rng(seed)
    sets = np.full((3, world.spec.n_members), -1, np.int16)
    for member in range(world.spec.n_members):
        size = int(rng.integers(0, 4))
        sets[:size, member] = rng.permutation(world.messages.n)[:size]
    return sets
