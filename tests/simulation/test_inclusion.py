from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from decider.simulation.inclusion import counted_inclusion, expected_inclusion
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
        assert found.each[c, 0] == pytest.approx(chance[[c in group for group in groups]].sum())
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
        assert np.array_equal(alone.each[:, 0], found.each[:, member])
        assert alone.pairs[0] == found.pairs[member]


def test_draws_are_counted_with_the_one_that_was_made() -> None:
    made = np.array([[0, -1], [1, -1], [-1, -1]], np.int16)
    other = np.array([[1, 3], [-1, 4], [-1, -1]], np.int16)
    found = counted_inclusion(iter([made, other, other, other]), TOPIC)
    assert found.each[:, 0].tolist() == [0.25, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert found.each[:, 1].tolist() == [0.0, 0.0, 0.0, 0.75, 0.75, 0.0]
    assert found.pairs.tolist() == [0.25, 0.75]
    assert found.same_topic.tolist() == [0.25, 0.75]


def test_few_replays_attenuate_nothing() -> None:
    # One candidate, chance p of being held, effect 1, no noise, three replays: the regression on what is held less
    # what was counted is 1 within 5 standard errors (some 0.003 each); on the replays alone it would be 0.75.
    rng = np.random.default_rng(3)
    p = rng.random(100_000)
    draws = [np.where(rng.random(p.size) < p, 0, -1).astype(np.int16)[None] for _ in range(4)]
    held = (draws[0][0] == 0).astype(np.float64)
    x = held - counted_inclusion(iter(draws), np.zeros(1, np.int32)).each[0]
    y = held - p
    assert (x @ y) / (x @ x) == pytest.approx(1.0, abs=0.015)
    alone = held - np.mean([draw[0] == 0 for draw in draws[1:]], axis=0)
    assert (alone @ y) / (alone @ alone) == pytest.approx(0.75, abs=0.015)
