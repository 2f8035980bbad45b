from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from decider.simulation.inclusion import expected_inclusion
from decider_core.caps import Caps
from decider_core.explore import explore_propensity
from tests.simulation.small_worlds import small_world

SHARES = (0.25, 0.45, 0.2, 0.1)
TOPIC = np.array([0, 0, 1, 2, 2, 2], np.int32)


@pytest.mark.parametrize("who", [(0, 1, 2, 3, 4, 5), (0, 1, 3), (2, 5), (4,), ()])
def test_expectations_are_those_of_all_sets_that_can_be_drawn(who: tuple[int, ...]) -> None:
    groups = [group for size in range(4) for group in combinations(who, size)]
    n = len(groups)
    sets = np.full((3, n), -1, np.int16)
    for lane, group in enumerate(groups):
        sets[: len(group), lane] = group
    reason = np.ones((6, n), np.uint8)
    reason[list(who)] = 0
    room = np.full(n, 3, np.int16)
    caps = Caps(np.zeros(6, np.int32), TOPIC, room, room[None].copy(), np.full((3, n), 3, np.int16), 3)
    chance = explore_propensity(sets, np.array(SHARES), np.ones(6), reason, caps)
    assert chance.sum() == pytest.approx(1.0)
    found = expected_inclusion(reason[:, :1] == 0, TOPIC, SHARES)
    for c in who:
        assert found.each[0] == pytest.approx(chance[[c in group for group in groups]].sum())
    pairs = [len(group) * (len(group) - 1) / 2 for group in groups]
    same = [sum(TOPIC[a] == TOPIC[b] for a, b in combinations(group, 2)) for group in groups]
    assert found.pairs[0] == pytest.approx(chance @ pairs)
    assert found.same_topic[0] == pytest.approx(chance @ same)


def test_members_differ_in_who_is_eligible() -> None:
    world = small_world(30)
    eligible = np.random.default_rng(1).random((world.messages.n, 30)) < 0.5
    found = expected_inclusion(eligible, world.messages.topic, SHARES)
    for member in range(30):
        alone = expected_inclusion(eligible[:, member : member + 1], world.messages.topic, SHARES)
        assert (alone.each[0], alone.pairs[0]) == (found.each[member], found.pairs[member])
