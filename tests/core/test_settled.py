from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.assemble import assemble
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.counts import count_gains
from decider_core.settled import settled
from tests.core.naive_assemble import feasible, gain
from tests.core.test_assemble import instance


class Between:
    """An instance with a charge for every candidate, of two budgets and none, known to lie between two bounds."""

    def __init__(self, seed, coarse, width):
        g = np.random.default_rng(seed)
        self.case = instance(seed, n_members=8, coarse=coarse)
        n_candidates = len(self.case["cost"])
        self.budget = g.integers(-1, 2, n_candidates)
        self.unit = np.where(self.budget == 1, g.choice([0.0, 0.5, 1.0, 2.0], n_candidates), 1.0)
        self.base = g.choice([0.0, 0.25], n_candidates)
        rows = np.stack([self.budget, self.unit, self.base], axis=1)
        self.alike = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)
        self.prices = np.sort(g.choice([0.0, 0.25, 0.5, 1.0, 1.25], (2, 2)) * width, axis=0)
        self.g = g

    def charge(self, prices):
        paid = np.where(self.budget >= 0, np.append(prices, 0.0)[self.budget], 0.0) * self.unit
        return (self.base + paid).astype(np.float32)

    def sets_at(self, prices):
        terms = {"cost": np.ones(len(self.base), np.float32), "price": self.charge(prices), "tie_cut": 0}
        return assemble(**self.case | terms)[0]

    def settled(self):
        names = ("value", "reason", "fatigue", "same_topic_penalty", "caps")
        low, high = (self.charge(prices) for prices in self.prices)
        of_case = {name: self.case[name] for name in names}
        sets, each = self.sets_at(self.prices[0]), np.ones(len(self.base), np.float32)
        return settled(sets, cost=each, low=low, high=high, alike=self.alike, **of_case)

    def naive(self):
        """Every message of the set is admitted at its highest charge and beats, there, who has room at their lowest."""
        case, caps = self.case, self.case["caps"]
        sets, (low, high) = self.sets_at(self.prices[0]), (self.charge(prices) for prices in self.prices)
        rooms = caps.channel, caps.topic, caps.room_member, caps.room_channel, caps.room_topic
        found = np.ones(sets.shape[1], np.uint8)
        for i in range(sets.shape[1]):
            chosen = []
            for c in sets[:, i][sets[:, i] >= 0].tolist():

                def delta(k, i=i, chosen=chosen):
                    value, tired = case["value"][k, i], case["fatigue"][i]
                    return gain(value, tired, case["same_topic_penalty"], k, chosen, caps.topic)

                rivals = [
                    k
                    for k in range(len(low))
                    if self.alike[k] != self.alike[c]
                    and feasible(k, i, chosen, case["reason"], *rooms)
                    and delta(k) > low[k]
                ]
                stays = delta(c) > high[c] and all(delta(c) - high[c] > delta(k) - low[k] for k in rivals)
                found[i] &= stays
                chosen.append(c)
        return found


@settings(deadline=None, max_examples=30 if INTERPRETED else 300)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.01, 0.2, 1.0]))
def test_settled_sets_are_the_same_at_every_price_between(seed, coarse, width):
    between = Between(seed, coarse, width)
    found = between.settled()
    np.testing.assert_array_equal(found, between.naive())
    low, high = between.prices
    first = between.sets_at(low)
    for share in ([1.0, 1.0], [1.0, 0.0], [0.0, 1.0], *between.g.random((6, 2))):
        again = between.sets_at(low + (high - low) * share)
        np.testing.assert_array_equal(again[:, found == 1], first[:, found == 1])


class OwnCosts:
    """An instance whose candidates cost this and that, or nothing, at one price for each unit between two."""

    def __init__(self, seed, coarse, n_steps):
        g = np.random.default_rng(seed)
        self.case = instance(seed, n_members=40, coarse=coarse)
        scale = g.choice([1.0, 0.01, 3.0])
        self.case["cost"] = (g.choice([0.0, 0.01, 0.3, 0.7, 1.0], 7) * scale).astype(np.float32)
        self.alike = np.unique(self.case["cost"], return_inverse=True)[1].reshape(-1).astype(np.int32)
        low = np.float32(g.choice([0.0, 1e-3, 0.25, g.random(), g.random() / scale]))
        # Or just below the rate of some message, which goes out no more beyond.
        k, r = g.integers(0, 7), g.integers(0, 40)
        if n_steps <= 30 and self.case["cost"][k] > 0 and self.case["value"][k, r] > 0:
            low = np.nextafter(self.case["value"][k, r] / self.case["cost"][k], np.float32(0.0))
        self.prices = low + np.arange(n_steps) * np.spacing(low)  # every float32 between two
        if n_steps > 100:
            self.prices = low + np.linspace(0.0, g.choice([0.01, 0.2, np.inf]), 60)[1:]
        self.prices = np.unique(self.prices.astype(np.float32))

    def sets_at(self, price):
        return assemble(**self.case | {"price": np.full(7, price, np.float32), "tie_cut": 0})[0]

    def settled(self):
        names = ("value", "reason", "fatigue", "same_topic_penalty", "cost", "caps")
        low, high = (np.full(7, price, np.float32) for price in (self.prices[0], self.prices[-1]))
        return settled(
            self.sets_at(low[0]), low=low, high=high, alike=self.alike, **{n: self.case[n] for n in names}
        )


@pytest.mark.filterwarnings("ignore:invalid value")  # inf times 0, in the steps to an infinite price
@settings(deadline=None, max_examples=10 if INTERPRETED else 300)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([1, 2, 30, 1000]))
def test_settled_sets_are_the_same_at_every_price_of_costs_between(seed, coarse, n_steps):
    own = OwnCosts(seed, coarse, n_steps)
    own.prices = own.prices[~np.isnan(own.prices)]
    found, first = own.settled(), own.sets_at(own.prices[0])
    for price in own.prices:
        np.testing.assert_array_equal(own.sets_at(price)[:, found == 1], first[:, found == 1])


def test_between_two_float32_of_a_price_most_are_settled_and_those_who_change_are_not():
    n_settled = n_changed = 0
    for seed in range(100):
        own = OwnCosts(seed, coarse=seed % 2 == 0, n_steps=2)
        found = own.settled()
        changed = (own.sets_at(own.prices[0]) != own.sets_at(own.prices[-1])).any(axis=0)
        assert not found[changed].any()
        n_settled += int(found.sum())
        n_changed += int(changed.sum())
    assert n_settled > 100 * 40 * 0.7
    assert n_changed > 20


def test_at_one_price_all_but_ties_are_settled():
    n_settled = 0
    for seed in range(20):
        between = Between(seed, coarse=False, width=1.0)
        between.prices[1] = between.prices[0]
        n_settled += int(between.settled().sum())
    assert n_settled == 20 * 8


def test_an_infinite_price_settles_only_whom_it_leaves_without_the_message():
    n_of_first = 0
    for seed in range(10):
        between = Between(seed, coarse=False, width=0.2)
        between.prices[1, 0] = np.inf
        of_first = (np.append(between.budget, -1)[between.sets_at(between.prices[0])] == 0).any(axis=0)
        n_of_first += int(of_first.sum())
        assert not between.settled()[of_first].any()
    assert n_of_first > 0


def test_gains_are_counted_less_what_is_charged():
    sets = np.array([[0, 2, -1], [1, -1, -1]], np.int16)
    gains = np.array([[0.5, 2.0, np.nan], [0.25, np.nan, np.nan]], np.float32)
    counted = count_gains(sets, gains, np.array([0.125, 0.0, 1.0]))
    assert counted.per_candidate.tolist() == [1, 1, 1]
    assert counted.net == 0.375 + 0.25 + 1.0


def test_what_does_not_fit_is_refused():
    between = Between(0, coarse=True, width=1.0)
    between.prices = np.array([[1.0, 1.0], [0.5, 0.5]])
    with pytest.raises(ContractError, match="high must be at least low"):
        between.settled()
    between.prices, between.alike = between.prices[::-1], between.alike[:-1]
    with pytest.raises(ContractError, match="alike"):
        between.settled()
