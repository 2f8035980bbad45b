from __future__ import annotations

import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.simulation.outcomes import draw_outcomes
from decider.simulation.spec import WORLDS, MessageSpec, default_world
from tests.simulation.small_worlds import small_world


def test_a_member_is_the_same_in_a_world_of_any_size() -> None:
    small, large = small_world(97), small_world(1_500)
    for number in (-2, 0, 5):
        a, b = small.epoch(number), large.epoch(number)
        assert np.array_equal(a.z_fresh, b.z_fresh[:97])
        assert np.array_equal(a.organic, b.organic[:97])
        assert np.array_equal(a.tau_fresh, b.tau_fresh[:, :97])
        few = draw_outcomes(a, a.organic)
        many = draw_outcomes(b, b.organic)
        assert np.array_equal(few.reward, many.reward[:97])
        assert np.array_equal(few.delay, many.delay[:97])
    assert np.array_equal(small.members.consent, large.members.consent[:97])


def test_the_seed_makes_the_world() -> None:
    world, again, other = small_world(seed=3), small_world(seed=3), small_world(seed=4)
    assert np.array_equal(world.weights, again.weights)
    assert np.array_equal(world.epoch(2).tau_fresh, again.epoch(2).tau_fresh)
    assert not np.array_equal(world.weights, other.weights)
    assert not np.array_equal(world.members.level, other.members.level)


def test_features_have_mean_0_and_variance_1() -> None:
    # 20,000 members: six standard errors, so a false alarm has probability below 1e-7.
    world = small_world(20_000)
    z = world.epoch(4).z_fresh[:, 1:-1]
    assert np.abs(z.mean(axis=0)).max() < 6 / np.sqrt(20_000)
    assert np.abs(z.var(axis=0) - 1.0).max() < 6 * np.sqrt(2 / 20_000)


def test_messages_appear_and_expire() -> None:
    late = MessageSpec("late", "top_10", "late", ("email",), appears=3)
    brief = MessageSpec("brief", "top_10", "brief", ("push", "sms"), expires=2)
    world = small_world(10, messages=(late, brief))
    assert world.messages.ids == ("late@email", "brief@push", "brief@sms")
    live = [(world.epoch(number).live == 0).tolist() for number in range(4)]
    assert live == [[False, True, True], [False, True, True], [False, False, False], [True, False, False]]


def test_a_candidate_keeps_its_weights_when_the_catalog_around_it_changes() -> None:
    world = small_world(10)
    fewer = small_world(10, messages=world.spec.messages[2:5])
    for k, name in enumerate(fewer.messages.ids):
        assert np.array_equal(fewer.weights[:, k], world.weights[:, world.messages.ids.index(name)])


def test_effects_drift() -> None:
    still, moving = small_world(5, drift_sd=0.0), small_world(5, drift_sd=0.01)
    assert np.array_equal(still.weights[0], still.weights[-1])
    assert np.array_equal(still.weights[0], moving.weights[0])
    assert not np.array_equal(moving.weights[0], moving.weights[-1])


def test_who_watches_anyway_has_less_to_gain_in_the_default_world_and_more_in_the_other() -> None:
    for name, sign in (("default", -1.0), ("proportional", 1.0)):
        # Specifications name themselves: that is what the command line goes by.
        assert WORLDS[name]().name == name
        spec = WORLDS[name](4_000, 2, 1)
        epoch = small_world(4_000, 2, 1, activity_effect=spec.activity_effect).epoch(0)
        assert sign * np.corrcoef(epoch.organic, epoch.tau_fresh.mean(axis=0))[0, 1] > 0.3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_members": 0}, "n_members must be in"),
        ({"n_epochs": 0}, "n_epochs must be in"),
        ({"seed": -1}, "seed must be in"),
        ({"organic_high": 1.5}, "organic_high must be <= 1, got 1.5"),
        ({"effect": float("nan")}, "effect must be finite, got nan"),
        ({"drift_sd": -0.1}, "drift_sd must be >= 0"),
        ({"consent": (0.5,)}, "consent must hold 4 shares"),
        ({"delay_shares": (0.5, 0.4)}, "delay_shares must be shares that sum to 1"),
        ({"fatigue": -0.01}, "fatigue must be >= 0"),
        ({"messages": ()}, "messages must be at least one"),
        ({"messages": (MessageSpec("a", "rumour", "a", ("email",)),)}, "messages must have known types"),
    ],
)
def test_a_world_that_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        small_world(**changes)  # type: ignore[arg-type]


def test_the_default_is_what_the_issue_asks() -> None:
    spec = default_world()
    assert (spec.n_members, spec.n_epochs, spec.window_epochs) == (100_000, 30, 2)
