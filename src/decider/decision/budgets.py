"""The prices of several budgets in one run, each the least at which its own is kept, and what they could miss.

A search tries hundreds of prices. It is first made for a few thousand of the members, by their keys; then more members
are valued once, between prices that lie some standard errors to either side. Most get the same set at all of them and
are counted there and then; the others are kept, and a search in that range assembles these alone. So on to everybody,
of whom a few in a hundred are kept, for the exact search. One that leaves its range makes it anew, wider: so
ranges are a matter of speed, and of the prices only where two budgets outbid each other by the last bits.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.decision import few_to_all, sizes
from decider.decision.asking import Members
from decider.decision.between import Between, Near
from decider.decision.charges import Charges
from decider.decision.pricing import RunPrice
from decider.errors import InvalidInput, Violation
from decider.logbook.schema import Certificate, RunBudget
from decider_core.budgets import BudgetPrices, Outcome, certified, price_for_budgets

_PART = 4
"""One in so many members is in a search before that of all, at most: each tries hundreds of prices."""
_KEYS = 2**60
"""Tie keys there are: the multiples of 16 below 2^64."""


class Budgeted(NamedTuple):
    """Prices of budgets."""

    price: RunPrice
    budgets: list[RunBudget]
    certificate: Certificate


def price_budgets(members: Members, budgets: list[RunBudget], floor: float) -> Budgeted:
    """Find the prices of budgets.

    Parameters
    ----------
    members
        Of the run.
    budgets
        In the order of the catalog's channels, so that the order in which they were asked for changes nothing.
    floor
        The run's own price, per unit of cost.

    Raises
    ------
    InvalidInput
        For budgets below what is drawn at random whatever the price.
    """
    charges = Charges(members.asking.parts.catalog, floor, budgets)
    amounts = np.array([budget.amount for budget in budgets])
    n_members = sum(rows.size for rows in members.rows(sizes.SEGMENT))
    near = None
    for n_some in few_to_all.sizes_of_searches(n_members, _PART):
        with closing(Between(members, charges, near, n_some / n_members)) as some:
            near = _near(some, charges, amounts * (some.n_members / n_members))
    with closing(Between(members, charges, near)) as everybody:
        left = _left(charges, amounts, everybody.drawn)
        found = price_for_budgets(everybody.outcome_at, left, near=everybody.near)
        cuts = np.zeros(amounts.size, np.uint64)
        # Draws hardly ever tie, and their propensities are those of the price alone.
        if members.asking.bound.policy.kind != "thompson":
            cuts, outcome = _cut_ties(everybody, found, left)
            found = certified(found.theta, outcome, left)
        drawn = everybody.drawn
    each = zip(budgets, found.theta.tolist(), cuts.tolist(), strict=True)
    return Budgeted(
        RunPrice(np.float32(floor), np.uint64(0), int(drawn.sum()), charges.at(found.theta, cuts)),
        [msgspec.structs.replace(budget, price=price, tie_cut=cut) for budget, price, cut in each],
        Certificate(found.bound, found.gap),
    )


def _cut_ties(
    everybody: Between, found: BudgetPrices, budgets: NDArray[np.float64]
) -> tuple[NDArray[np.uint64], Outcome]:
    """Let messages worth exactly their price go out to as many members as the budgets allow, one after the other."""
    cuts, outcome = np.zeros(budgets.size, np.uint64), found.outcome
    for b in np.flatnonzero(found.theta > 0).tolist():
        # First all who tie; then bisection, until the budget is used up.
        low, high, middle = 0, _KEYS + 1, _KEYS
        while outcome.spend[b] < budgets[b] and high - low > 1:
            tried = cuts.copy()
            tried[b] = min(middle << 4, 2**64 - 1)
            sent = everybody.outcome_at(found.theta, tried)
            if (sent.spend <= budgets).all():
                cuts, outcome, low = tried, sent, middle
            else:
                high = middle
            middle = (low + high) // 2
    return cuts, outcome


def _near(some: Between, charges: Charges, amounts: NDArray[np.float64]) -> Near:
    """Prices for some of the members, of as much of the budgets as they would spend by chance at most and at least."""
    largest = np.zeros(amounts.size)
    np.maximum.at(largest, charges.payer[charges.payer >= 0], charges.unit[charges.payer >= 0])
    left = np.maximum(amounts - charges.spent(some.drawn), 0.0)
    # Sends to different members are independent: their sum varies as a count does, in units of the largest.
    error = few_to_all.STANDARD_ERRORS * np.sqrt(np.maximum(left, largest) * largest)
    low = price_for_budgets(some.outcome_at, left + error, near=some.near).theta
    less = np.maximum(left - error, 0.0)
    far = np.full_like(low, np.inf) if some.near is None else np.maximum(low, some.near.high)
    high = price_for_budgets(some.outcome_at, less, near=(low, far)).theta
    # A budget that pays for a handful of these members says nothing of how high its price is for all.
    high = np.where(left > error, high, np.float32(np.inf))
    return Near(np.minimum(low, high), np.maximum(low, high))


def _left(charges: Charges, amounts: NDArray[np.float64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is left of budgets after what is drawn at random; refused where that is more than there is."""
    spent = charges.spent(drawn)
    found = []
    for place in np.flatnonzero(spent > amounts).tolist():
        budget, name = charges.budgets[place], charges.budgets[place].channel
        what = "messages" if budget.unit == "messages" else "in cost of messages"
        rule = (
            f"must leave room for the {spent[place]:.15g} {what} that are drawn at random whatever the price"
        )
        field = f"budgets[{name!r}]" if name else "budgets"
        found.append(Violation(field, f"{rule}, got {budget.amount:.15g}"))
    if found:
        raise InvalidInput(found)
    return amounts - spent
