"""Sets under charges and tie cuts: each member as if alone, at the charge that its key makes."""

from __future__ import annotations

import numpy as np

from decider.decision.charged import Charge, Lanes
from decider.decision.charges import Charges, charge_of
from decider.logbook.schema import RunBudget
from decider_core.assemble import Caps, assemble
from tests.decision.world import World


def lanes_of(seed: int, n_members: int = 40) -> Lanes:
    g, n_candidates, n_places = np.random.default_rng(seed), 7, 3
    value = (g.integers(-2, 6, (n_candidates, n_members)) / 4).astype(np.float32)
    caps = Caps(
        g.integers(0, 2, n_candidates).astype(np.int32),
        g.integers(0, 3, n_candidates).astype(np.int32),
        g.integers(0, n_places + 1, n_members).astype(np.int16),
        g.integers(0, n_places + 1, (2, n_members)).astype(np.int16),
        g.integers(0, n_places + 1, (3, n_members)).astype(np.int16),
        n_places,
    )
    return Lanes(
        value,
        (g.random(value.shape) < 0.2).astype(np.uint8),
        (g.integers(0, 2, n_members) / 4).astype(np.float32),
        0.25,
        g.integers(0, 1 << 60, n_members).astype(np.uint64) << np.uint64(4),
        caps,
    )


def test_each_member_is_assembled_at_the_charge_of_its_key() -> None:
    """Values and charges are coarse, so that many are equal; every cut parts the members elsewhere."""
    n_at_charge = 0
    for seed in range(20):
        lanes, g = lanes_of(seed), np.random.default_rng(seed)
        n_candidates = len(lanes.value)
        worth = g.choice([0.25, 0.5, 0.75], n_candidates).astype(np.float32)
        cuts = g.choice(np.array([0, 1 << 62, 1 << 63, (1 << 64) - 1], np.uint64), n_candidates)
        sets, gains = lanes.sets_at(Charge(np.ones_like(worth), worth, cuts))
        for i, key in enumerate(lanes.ties):
            own = lanes.of(np.array([i]))
            admitted = np.where(key < cuts, np.nextafter(worth, np.float32(-1.0)), worth)
            alone = assemble(
                own.value, own.reason, own.fatigue, own.same_topic_penalty, np.ones_like(worth), admitted, 0,
                own.ties, own.caps,
            )  # fmt: skip
            np.testing.assert_array_equal(sets[:, i], alone[0][:, 0])
            np.testing.assert_array_equal(gains[:, i], alone[1][:, 0])
            held = sets[:, i][sets[:, i] >= 0]
            at_charge = gains[: held.size, i] == worth[held]
            assert (key < cuts[held[at_charge]]).all()
            n_at_charge += int(at_charge.sum())
    assert n_at_charge > 20


def test_a_charge_adds_the_price_of_the_budget_to_the_own_price(world: World) -> None:
    catalog = world.parts.catalog
    push = np.array([candidate.channel == "push" for candidate in catalog.candidates])
    budgets = [
        RunBudget(channel="email", unit="messages", amount=9.0, price=0.5),
        RunBudget(channel="push", unit="cost", amount=9.0, price=0.25, tie_cut=7),
    ]
    charge = charge_of(catalog, 0.125, budgets)
    assert charge is not None
    # Every message costs 1.
    np.testing.assert_array_equal(charge.price, np.where(push, 0.375, 0.625))
    np.testing.assert_array_equal(charge.cuts, np.where(push, 7, 0))
    assert charge_of(catalog, 0.125, []) is None


def test_what_no_price_adds_to_is_not_cut(world: World) -> None:
    """A message that is worth what its cost alone asks for never goes out, whatever the key."""
    budgets = [RunBudget(channel="push", unit="messages", amount=0.0)]
    charges = Charges(world.parts.catalog, 1.0, budgets)
    tiny = charges.at(np.array([1e-12], np.float32), np.array([2**64 - 1], np.uint64))
    np.testing.assert_array_equal(tiny.price, np.ones_like(tiny.price))
    assert not tiny.cuts.any()


def test_spending_counts_what_each_budget_pays(world: World) -> None:
    catalog = world.parts.catalog
    sent = np.arange(1, catalog.n_candidates + 1)
    push = np.array([candidate.channel == "push" for candidate in catalog.candidates])
    one = Charges(catalog, 0.0, [RunBudget(channel="push", unit="messages", amount=0.0)])
    assert one.spent(sent).tolist() == [sent[push].sum()]
    whole = Charges(catalog, 0.0, [RunBudget(channel="", unit="cost", amount=0.0)])
    assert whole.spent(sent).tolist() == [sent.sum()]
    np.testing.assert_array_equal(one.alike[push], one.alike[push][0])
    assert (one.alike[~push] != one.alike[push][0]).all()
