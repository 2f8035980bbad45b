from __future__ import annotations

import numpy as np
import pytest

from decider.simulation.spec import RECENT_UNIT
from decider.simulation.truth import best_sets, response, true_effects, true_fatigue
from decider_core.assemble import Caps, assemble
from tests.simulation import naive_truth as naive
from tests.simulation.small_worlds import lived_in, small_world, some_sets


def test_the_response_is_the_definition() -> None:
    world = small_world(200)
    epoch, recent, sets = world.epoch(3), lived_in(world).recent, some_sets(world)
    seen = response(epoch, recent, sets)
    spec, topic = world.spec, world.messages.topic.tolist()
    z = epoch.features(recent, slice(None))
    for member in range(200):
        tau = [
            naive.effect(epoch.weights[k].tolist(), z[member].tolist(), float(world.affinity[k, member]))
            for k in range(world.messages.n)
        ]
        phi = spec.fatigue + spec.fatigue_recent * float(recent[member]) / RECENT_UNIT
        chosen = [int(c) for c in sets[:, member] if c >= 0]
        ref = naive.incremental(chosen, tau, phi, spec.same_topic, topic)
        organic = float(epoch.organic[member])
        assert seen.expected[member] == pytest.approx(min(1.0, max(0.0, organic + ref)), abs=2e-6)
        assert seen.incremental[member] == pytest.approx(float(seen.expected[member]) - organic, abs=2e-6)
        assert np.nansum(seen.gains[:, member]) == pytest.approx(ref, abs=2e-6)


def test_a_set_can_be_asked_for_some_members_only() -> None:
    world = small_world(50)
    epoch, recent, sets = world.epoch(1), lived_in(world).recent, some_sets(world)
    rows = np.array([3, 40, 7])
    some, everybody = response(epoch, recent, sets[:, rows], rows), response(epoch, recent, sets)
    assert np.array_equal(some.expected, everybody.expected[rows])


def test_the_order_of_a_set_does_not_matter_to_its_worth() -> None:
    world = small_world(80)
    epoch, recent = world.epoch(1), lived_in(world).recent
    sets = np.tile(np.array([[5], [0], [6]], np.int16), 80)
    turned = response(epoch, recent, np.ascontiguousarray(sets[::-1]))
    assert turned.incremental == pytest.approx(response(epoch, recent, sets).incremental, abs=1e-6)


def test_chances_beyond_the_range_are_bounded_and_counted() -> None:
    world = small_world(60, effect=-0.5)
    sets = np.tile(np.array([[0], [2], [4]], np.int16), 60)
    seen = response(world.epoch(0), np.zeros(60, np.float32), sets)
    assert seen.n_bounded == 60
    assert np.array_equal(seen.expected, np.zeros(60))


@pytest.mark.parametrize("price", [0.0, 0.03])
def test_the_best_set_is_the_best_of_all(price: float) -> None:
    world = small_world(40, messages=small_world(1).spec.messages[:5])
    state, epoch = lived_in(world), world.epoch(0)
    reason = state.reasons(epoch, slice(None))
    sets, net = best_sets(epoch, state.recent, reason, price)
    tau, phi = true_effects(epoch, state.recent), true_fatigue(epoch, state.recent)
    topic, rho = world.messages.topic.tolist(), world.spec.same_topic
    for member in range(40):
        eligible = np.flatnonzero(reason[:, member] == 0).tolist()
        ref = naive.best(eligible, tau[:, member].tolist(), float(phi[member]), rho, topic, price, 3)
        chosen = [int(c) for c in sets[:, member] if c >= 0]
        comp = naive.incremental(chosen, tau[:, member].tolist(), float(phi[member]), rho, topic)
        assert net[member] == pytest.approx(ref, abs=1e-6)
        assert comp - price * len(chosen) == pytest.approx(ref, abs=1e-6)
        assert set(chosen) <= set(eligible)


def test_greedy_assembly_by_the_truth_is_all_but_the_best() -> None:
    world = small_world(1_000)
    state, epoch = lived_in(world), world.epoch(2)
    reason = state.reasons(epoch, slice(None))
    _, net = best_sets(epoch, state.recent, reason, 0.03)
    n, k = 1_000, world.messages.n
    room = np.full(n, 3, np.int16)
    caps = Caps(
        world.messages.channel, world.messages.topic, room,
        np.full((4, n), 3, np.int16), np.full((len(world.messages.topics), n), 3, np.int16), 3,
    )  # fmt: skip
    tau, phi = true_effects(epoch, state.recent), true_fatigue(epoch, state.recent)
    price = np.full(k, 0.03, np.float32)
    _, gains = assemble(
        tau,
        reason,
        phi,
        world.spec.same_topic,
        np.ones(k, np.float32),
        price,
        0,
        np.zeros(n, np.uint64),
        caps,
    )
    greedy = np.nansum(gains - price[0], axis=0)
    assert (greedy <= net + 1e-6).all()
    assert greedy.sum() > 0.999 * net.sum()
