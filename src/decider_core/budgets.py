"""Prices that meet several budgets at once, such as one per channel, with a bound on what they could miss.

What goes out at prices ``theta`` solves, member by member, ``max_S gain(S) - sum_b theta_b cost_b(S)``. The sum of
these maxima, plus ``sum_b (theta_b - floor) budget_b``, is the Lagrangian dual: no choice of sets that keeps the
budgets is worth more, fractional ones included. So every price vector carries its own certificate.

References
----------
.. [1] Kelso and Crawford, "Job matching, coalition formation, and gross substitutes", Econometrica 50 (1982):
   prices that only rise reach the least ones at which nobody asks for more than there is.
.. [2] Everett, "Generalized Lagrange multiplier method", Operations Research 11 (1963): the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import LARGEST, check_sets
from decider_core.compile import F32, F64, I16, I32, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_range
from decider_core.price import _from_ordered, _to_ordered

_EXACT_ROUNDS: Final = 6
"""Turns in which prices rise to the last bit, after them by twice as much in each; and sweeps back down."""


class Outcome(NamedTuple):
    """What goes out at some prices; those of chunks, or machines, add up."""

    spend: F64
    """f64[n_budgets]: cost of what goes out, by budget."""
    gain: float
    """Sum of the gains of what goes out."""


class BudgetPrices(NamedTuple):
    """One price for each budget, and how good they are."""

    theta: F32
    """f32[n_budgets]: reward per unit of cost."""
    outcome: Outcome
    """What goes out at these prices."""
    bound: float
    """No choice that keeps the budgets has more ``gain - floor*spend``, if each member's set is the best at its
    prices: true without fatigue and penalties, for equal costs within a member's caps; else an estimate."""
    gap: float
    """``(bound - value) / bound`` of the value ``gain - floor*spend`` that is reached; 0 where both are 0."""


def price_for_budgets(
    outcome_at: Callable[[F32], Outcome],
    budgets: F64,
    floor: float = 0.0,
    max_rounds: int = 100,
    near: tuple[F32, F32] | None = None,
) -> BudgetPrices:
    """Return the least prices at which what goes out keeps every budget.

    Parameters
    ----------
    outcome_at
        What goes out at prices f32[n_budgets]: assembled with the price of each candidate's budget, ``tie_cut`` 0,
        and summed by :func:`outcome_of`.
    budgets : f64[n_budgets]
        Cost that may be spent from each; with costs of 1, messages that may go out.
    floor
        The least price, rounded to float32.
    max_rounds
        Times that every price may rise.
    near
        f32[n_budgets] twice, not below the floor: prices between which the least ones are thought to lie, to spare
        calls. The search begins at the lower ones, and tries none beyond the upper ones before it has tried those.

    Raises
    ------
    ContractError
        If a budget is negative or not a number, is exceeded at any price (candidates that cost nothing), or
        prices still rise after `max_rounds`.

    Notes
    -----
    Prices rise in turns, each by bisection to the least float32 at which its own budget is kept while the
    others' stand; what one channel turns away may ask for another, so that the turns are repeated until all are
    kept, after a few turns in coarser steps. Then each is lowered again as far as all budgets allow. Messages of
    exactly equal worth go out together or not at all; what that and the turns leave shows in the gap.
    """
    budgets = check_array("budgets", budgets, np.float64, (None,))
    check_range("budgets", budgets, 0.0, np.inf)
    start = np.float32(check_number("floor", floor, 0.0, LARGEST))
    theta, reach = np.full(budgets.size, start, np.float32), np.full(budgets.size, start, np.float32)
    if near is not None:
        theta, reach = (
            check_array(f"near[{i}]", prices, np.float32, budgets.shape) for i, prices in enumerate(near)
        )
        check_range("near[0]", theta, float(start), LARGEST)
        check_range("near[1]", reach, float(start), np.inf)
    outcome = outcome_at(theta)
    for turn in range(max_rounds):
        exceeded = np.flatnonzero(outcome.spend > budgets)
        if not exceeded.size:
            return certified(*_lowered(outcome_at, theta, outcome, budgets, start), budgets, float(start))
        for b in exceeded:
            if outcome.spend[b] > budgets[b]:
                # Two budgets that ask for the same members would outbid each other by the last bit for ever:
                # later turns leave room for what the other prices will turn away, and rise in coarser steps.
                late = max(turn - _EXACT_ROUNDS, 0)
                excess = outcome.spend[b] - budgets[b]
                goal = max(budgets[b] - excess, 0.0) if late else budgets[b]
                precision = 1 << min(late, 23)
                theta, outcome = _raised(outcome_at, theta, reach, budgets, int(b), goal, precision)
    raise ContractError(f"prices must settle within {max_rounds} rounds, got {theta} still rising")


def certified(theta: F32, outcome: Outcome, budgets: F64, floor: float = 0.0) -> BudgetPrices:
    """Return prices with their certificate.

    Parameters
    ----------
    theta : f32[n_budgets]
        Not below the floor.
    outcome
        What goes out at them; of messages worth exactly their price, any may.
    budgets, floor
        As of :func:`price_for_budgets`.
    """
    # A budget whose price is the floor binds nobody, and may be infinite.
    rise = theta.astype(np.float64) - floor
    unused = np.multiply(rise, budgets - outcome.spend, out=np.zeros(budgets.size), where=rise > 0)
    value = outcome.gain - floor * float(outcome.spend.sum())
    bound = value + float(unused.sum())
    return BudgetPrices(theta, outcome, bound, (bound - value) / bound if bound > 0 else 0.0)


def outcome_of(sets: I16, gains: F32, cost: F32, budget: I32, n_budgets: int) -> Outcome:
    """Return what some members' sets cost, by budget, and gain.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
    gains : f32[max_messages, n_members]
        From :func:`decider_core.assemble.assemble`.
    cost : f32[n_candidates]
    budget : i32[n_candidates]
        The budget that pays for each candidate; -1 for none.
    n_budgets
        Number of budgets.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    gains = check_array("gains", gains, np.float32, sets.shape)
    cost = check_array("cost", cost, np.float32, (None,))
    budget = check_array("budget", budget, np.int32, cost.shape)
    check_range("budget", budget, -1, n_budgets - 1)
    check_sets(sets, cost.size)
    spend = np.zeros(n_budgets)
    gain = _sum_sets(sets, gains, cost, budget, spend)
    return Outcome(spend, gain)


def _raised(
    outcome_at: Callable[[F32], Outcome],
    theta: F32,
    reach: F32,
    budgets: F64,
    b: int,
    goal: float,
    precision: int,
) -> tuple[F32, Outcome]:
    """Return the prices with that of budget b raised until its goal is met, to some units in the last place."""
    # Steps that grow find a price that is high enough: late turns rise by a few units in the last place.
    low, top = _to_ordered(theta[b]), _to_ordered(np.float32(np.inf))
    stop, step = _to_ordered(reach[b]), precision
    while True:
        high = min(low + step, stop if low < stop else top)
        best = _tried(outcome_at, theta, b, high)
        if best[1].spend[b] <= goal:
            break
        if high == top and best[1].spend[b] <= budgets[b]:
            return best
        if high == top:
            raise ContractError(
                f"budgets must cover what goes out at any price as it costs nothing, "
                f"got {budgets[b]} for {best[1].spend[b]} at [{b}]"
            )
        low, step = high, step * 4
    while high - low > precision:
        middle = (low + high) // 2
        tried = _tried(outcome_at, theta, b, middle)
        if tried[1].spend[b] <= goal:
            high, best = middle, tried
        else:
            low = middle
    return best


def _lowered(
    outcome_at: Callable[[F32], Outcome], theta: F32, outcome: Outcome, budgets: F64, floor: np.float32
) -> tuple[F32, Outcome]:
    """Return the prices, in some sweeps each lowered to the least at which all budgets are kept."""
    for _ in range(_EXACT_ROUNDS):
        before = theta
        for b in np.flatnonzero(theta > floor):
            theta, outcome = _lowered_one(outcome_at, theta, outcome, budgets, floor, int(b))
        if np.array_equal(before, theta):
            break
    return theta, outcome


def _lowered_one(
    outcome_at: Callable[[F32], Outcome],
    theta: F32,
    outcome: Outcome,
    budgets: F64,
    floor: np.float32,
    b: int,
) -> tuple[F32, Outcome]:
    low, high = _to_ordered(floor) - 1, _to_ordered(theta[b])
    best, step = (theta, outcome), 1
    while high - low > 1:
        # Downwards in growing steps while it goes, then by bisection.
        middle = max(high - step, (low + high) // 2)
        tried = _tried(outcome_at, theta, b, middle)
        if (tried[1].spend <= budgets).all():
            high, best = middle, tried
            step *= 4
        else:
            low = middle
    return best


def _tried(outcome_at: Callable[[F32], Outcome], theta: F32, b: int, ordered: int) -> tuple[F32, Outcome]:
    tried = theta.copy()
    tried[b] = _from_ordered(ordered)
    return tried, outcome_at(tried)


@kernel
def _sum_sets(sets: I16, gains: F32, cost: F32, budget: I32, spend: F64) -> float:
    gain = 0.0
    for place in range(len(sets)):
        for r in range(sets.shape[1]):
            k = sets[place, r]
            if k >= 0:
                gain += np.float64(gains[place, r])
                if budget[k] >= 0:
                    spend[budget[k]] += np.float64(cost[k])
    return gain
