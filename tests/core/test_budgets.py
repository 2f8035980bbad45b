import naive_budgets as naive
import numpy as np
import pytest

from decider_core.admission import gain_rates
from decider_core.assemble import Caps, assemble
from decider_core.budgets import Outcome, outcome_of, price_for_budgets
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.price import price_for_volume
from decider_core.price_search import price_by_search


class Members:
    """Members without fatigue, penalty or caps but their own: the programme that HiGHS solves too."""

    def __init__(self, seed, n_members, n_candidates, n_budgets, *, equal_costs, max_messages=2):
        g = np.random.default_rng(seed)
        self.value = g.normal(0.3, 1.0, (n_candidates, n_members)).astype(np.float32)
        self.cost = np.ones(n_candidates, np.float32)
        if not equal_costs:
            self.cost[:] = g.choice([0.5, 1.0, 1.5, 4.0], n_candidates)
        self.budget = (np.arange(n_candidates) % n_budgets).astype(np.int32)
        self.max_messages, self.n_budgets = max_messages, n_budgets
        room = np.full(n_members, max_messages, np.int16)
        self.caps = Caps(self.budget, self.budget, room, *(np.tile(room, (n_budgets, 1)),) * 2, max_messages)
        self.keys = g.integers(0, 1 << 60, n_members).astype(np.uint64) << np.uint64(4)

    def assembled(self, theta, tie_cut=0):
        reason, fatigue = np.zeros(self.value.shape, np.uint8), np.zeros(self.value.shape[1], np.float32)
        price = np.ascontiguousarray(theta[self.budget])
        return assemble(self.value, reason, fatigue, 0.0, self.cost, price, tie_cut, self.keys, self.caps)

    def outcome_at(self, theta):
        return outcome_of(*self.assembled(theta), self.cost, self.budget, self.n_budgets)

    def shares(self, share):
        """Budgets of a share of what goes out at no price, the first one wide."""
        budgets = np.floor(self.outcome_at(np.zeros(self.n_budgets, np.float32)).spend * share)
        budgets[0] = budgets[0] * 2 if self.n_budgets > 1 else budgets[0]
        return budgets

    def programme(self, budgets):
        return self.value, self.cost, self.budget, budgets, self.max_messages


@pytest.mark.parametrize("seed", range(2 if INTERPRETED else 12))
@pytest.mark.parametrize("equal_costs", [True, False])
def test_brute_force_lies_between_value_and_bound(seed, equal_costs):
    members = Members(seed, 4, 4, 2, equal_costs=equal_costs)
    budgets = np.array([2.0, 1.5])
    found = price_for_budgets(members.outcome_at, budgets)
    best = naive.brute_force(*members.programme(budgets))
    assert (found.outcome.spend <= budgets).all()
    assert found.outcome.gain <= best + 1e-9
    assert best <= found.bound + 1e-6


@pytest.mark.parametrize(("n_budgets", "equal_costs"), [(1, True), (1, False), (4, True), (4, False)])
def test_gap_to_highs(n_budgets, equal_costs):
    """Value, whole optimum, linear optimum and bound stand in this order, and close together."""
    n_members = 60 if INTERPRETED else 2000
    members = Members(5, n_members, 8, n_budgets, equal_costs=equal_costs)
    budgets = members.shares(0.4)
    found = price_for_budgets(members.outcome_at, budgets)
    linear, whole = naive.linear(*members.programme(budgets)), naive.whole(*members.programme(budgets))
    assert found.outcome.gain <= whole * (1 + 1e-6)
    assert whole <= linear * (1 + 1e-6)
    assert linear <= found.bound * (1 + 1e-6)
    assert found.gap <= (0.05 if INTERPRETED else 2e-3)
    assert found.bound <= linear * (1 + (0.05 if INTERPRETED else 1e-3))


def test_one_volume_reaches_the_linear_optimum():
    members = Members(8, 60 if INTERPRETED else 3000, 8, 1, equal_costs=True)
    budgets = members.shares(0.3)
    path, gains = members.assembled(np.full(1, -np.inf, np.float32))
    price = price_for_volume(gain_rates(gains, path, members.cost), members.keys, int(budgets[0]))
    sets, gains = members.assembled(np.array([price.theta]), int(price.tie_cut))
    outcome = outcome_of(sets, gains, members.cost, members.budget, 1)
    assert outcome.spend == budgets
    assert outcome.gain == pytest.approx(naive.linear(*members.programme(budgets)), rel=1e-9)


@pytest.mark.parametrize("equal_costs", [True, False])
def test_one_budget_has_the_price_of_the_search(equal_costs):
    members = Members(3, 200, 6, 1, equal_costs=equal_costs)
    budgets = members.shares(0.5)
    found = price_for_budgets(members.outcome_at, budgets)
    searched = price_by_search(
        lambda theta: int(np.ceil(members.outcome_at(np.full(1, theta, np.float32)).spend[0])),
        int(budgets[0]),
    )
    assert found.theta[0] == searched.theta > 0


@pytest.mark.parametrize("seed", range(2 if INTERPRETED else 8))
def test_every_budget_is_kept_and_those_with_a_price_nearly_used(seed):
    members = Members(seed, 300, 6, 3, equal_costs=True)
    budgets = members.shares(0.5)
    found = price_for_budgets(members.outcome_at, budgets)
    spend = members.outcome_at(found.theta).spend
    np.testing.assert_array_equal(spend, found.outcome.spend)
    assert (spend <= budgets).all()
    assert (budgets - spend <= 3)[found.theta > 0].all()


def test_wide_budgets_leave_the_floor():
    members = Members(3, 50, 6, 2, equal_costs=False)
    found = price_for_budgets(members.outcome_at, np.array([np.inf, 1e9]), 0.25)
    assert found.theta.tolist() == [0.25, 0.25]
    assert found.gap == 0.0


def test_outcomes_of_chunks_add_up():
    members = Members(4, 90, 6, 3, equal_costs=False)
    sets, gains = members.assembled(np.zeros(3, np.float32))
    whole = outcome_of(sets, gains, members.cost, members.budget, 3)
    parts = [
        outcome_of(
            np.ascontiguousarray(sets[:, part]), np.ascontiguousarray(gains[:, part]),
            members.cost, members.budget, 3,
        )
        for part in (slice(40), slice(40, 90))
    ]  # fmt: skip
    np.testing.assert_array_equal(whole.spend, parts[0].spend + parts[1].spend)
    assert whole.gain == pytest.approx(parts[0].gain + parts[1].gain)
    unpaid = outcome_of(sets, gains, members.cost, np.full(6, -1, np.int32), 3)
    assert unpaid.spend.tolist() == [0, 0, 0]
    assert unpaid.gain == whole.gain


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda at: price_for_budgets(at, np.array([1.0, -1.0])), r"budgets must be in .* got -1.0 at \[1\]"),
        (lambda at: price_for_budgets(at, np.array([1, 2])), "budgets must have dtype float64"),
        (lambda at: price_for_budgets(at, np.ones(2), -1.0), "floor must be"),
        (lambda at: price_for_budgets(at, np.ones(2), 0.0, 0), "prices must settle within 0 rounds"),
        (
            lambda at: price_for_budgets(at, np.ones(2), 0.5, near=(np.zeros(2, "f4"), np.ones(2, "f4"))),
            r"near\[0\] must be in",
        ),
        (
            lambda _: price_for_budgets(lambda _: Outcome(np.array([3.0]), 1.0), np.array([2.0])),
            r"budgets must cover what goes out at any price as it costs nothing, got 2.0 for 3.0 at \[0\]",
        ),
    ],
)
def test_refuses(call, text):
    with pytest.raises(ContractError, match=text):
        call(Members(0, 20, 4, 2, equal_costs=True).outcome_at)


@pytest.mark.parametrize("width", [1.02, 4.0, np.inf])
@pytest.mark.parametrize("equal_costs", [True, False])
def test_prices_that_lie_near_are_found_with_fewer_calls(equal_costs, width):
    members = Members(6, 60 if INTERPRETED else 2000, 8, 4, equal_costs=equal_costs)
    budgets = members.shares(0.4)
    tried = []

    def counted(theta):
        tried.append(theta)
        return members.outcome_at(theta)

    plain = price_for_budgets(counted, budgets)
    n_plain = len(tried)
    tried.clear()
    low = (plain.theta / np.float32(1.02)).astype(np.float32)
    high = (
        (plain.theta * np.float32(width)).astype(np.float32) if width < np.inf else np.full_like(low, np.inf)
    )
    found = price_for_budgets(counted, budgets, near=(low, high))
    assert (found.outcome.spend <= budgets).all()
    assert found.gap <= plain.gap + (0.05 if INTERPRETED else 1e-3)
    assert len(tried) < n_plain
    if width == 1.02 and equal_costs:
        np.testing.assert_array_equal(found.theta, plain.theta)
        assert (np.array(tried) <= high).all()


def test_prices_that_are_thought_to_lie_elsewhere_are_found_all_the_same():
    members = Members(6, 60 if INTERPRETED else 500, 8, 2, equal_costs=True)
    budgets = members.shares(0.4)
    plain = price_for_budgets(members.outcome_at, budgets)
    for factor in (0.1, 3.0):
        near = (plain.theta * np.float32(factor), plain.theta * np.float32(factor * 1.1))
        found = price_for_budgets(members.outcome_at, budgets, near=near)
        assert (found.outcome.spend <= budgets).all()
        assert found.gap <= plain.gap + (0.2 if INTERPRETED else 5e-3)
