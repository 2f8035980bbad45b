"""The price at which a run meets its volume where messages' costs differ: of one pass over its members.

It is the price that bisection finds when everybody is decided at each price it tries
(:func:`decider_core.price_search.price_by_search`). But some members, by their keys, tell first between which prices
it lies; then everybody is valued once, counted at the few prices that bisection tries on its way there, and counted
once and for all where no price in the range changes the set. Only the others are kept, and assembled at all further
prices.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision import few_to_all, sizes
from decider.decision.asking import Members
from decider.decision.between import Between, Near
from decider.decision.charged import Charge
from decider.decision.pricing import RunPrice, volume_left
from decider_core.price import Price
from decider_core.price_search import price_by_search, prices_tried

_PART = 8
"""One in so many members is in a search before that of all, at most."""


@dataclass(frozen=True)
class PerCost:
    """One price for each unit of cost, which limits how many messages go out.

    Parameters
    ----------
    catalog
        K candidates.
    """

    catalog: Catalog

    @property
    def less(self) -> NDArray[np.float64]:
        """[K] nothing is taken off gains."""
        return np.zeros(self.catalog.n_candidates)

    @cached_property
    def alike(self) -> NDArray[np.int32]:
        """[K] one number for candidates that cost the same."""
        return np.unique(self.catalog.cost, return_inverse=True)[1].reshape(-1).astype(np.int32)

    def at(self, prices: NDArray[np.float32], cuts: NDArray[np.uint64] | None = None) -> Charge:
        """The charge at the one price: so a run without budgets assembles."""
        cost: NDArray[np.float32] = self.catalog.cost
        cut = np.uint64(0) if cuts is None else cuts[0]
        return Charge(cost, np.full(cost.size, prices[0], np.float32), np.full(cost.size, cut, np.uint64))

    def spent(self, per_candidate: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many messages go out, [1]."""
        return np.array([per_candidate.sum()], np.float64)


def price_volume(members: Members, volume: int) -> RunPrice:
    """Find the price of a volume, whatever messages cost.

    Parameters
    ----------
    members
        Of the run, or of one cell.
    volume
        At most so many sends.

    Raises
    ------
    InvalidInput
        For a volume below what is drawn at random whatever the price.
    """
    floor = float(np.float32(members.asking.bound.policy.price))
    charges = PerCost(members.asking.parts.catalog)
    n_members = sum(rows.size for rows in members.rows(sizes.SEGMENT))
    near = None
    for n_some in few_to_all.sizes_of_searches(n_members, _PART):
        with closing(_between(members, charges, near, floor, n_some / n_members)) as some:
            near = _near(some, volume * (some.n_members / n_members), floor)
    with closing(_between(members, charges, near, floor)) as everybody:
        n_drawn = int(everybody.drawn.sum())
        price = _search(everybody, volume_left(volume, n_drawn), floor)
    return RunPrice(price.theta, price.tie_cut, n_drawn)


def _between(
    members: Members, charges: PerCost, near: Near | None, floor: float, share: float | None = None
) -> Between:
    if near is None:
        return Between(members, charges, None, share)
    outside = prices_tried(float(near.low[0]), float(near.high[0]), floor)
    return Between(members, charges, near, share, list(outside[:, None]))


def _search(some: Between, left: int, floor: float) -> Price:
    """The least price of so many sends; members are gone through again, once, if it lies out of their range."""
    below, upper = floor, math.inf

    def count_at(theta: float) -> int:
        nonlocal below, upper
        prices = np.array([theta], np.float32)
        if not some.knows(prices):
            # Bisection will not leave what it has come to any more.
            some.move(Near(np.array([below], np.float32), np.array([upper], np.float32)))
        count = int(some.outcome_at(prices).spend[0])
        if count > left:
            below = theta
        else:
            upper = theta
        return count

    return price_by_search(count_at, left, floor)


def _near(some: Between, volume: float, floor: float) -> Near:
    """Prices for some of the members, of as much of the volume as they would get by chance at most and at least."""
    # Sends to different members are independent: their number varies as a count does.
    error = few_to_all.STANDARD_ERRORS * math.sqrt(max(volume, 1.0))
    left = volume - float(some.drawn.sum())
    prices = [_search(some, math.ceil(max(left + error, 0.0)), floor).theta]
    # A volume of a handful for these members says nothing of how high its price is for all.
    prices.append(_search(some, int(left - error), floor).theta if left > error else np.float32(np.inf))
    return Near(np.array([min(prices)]), np.array([max(prices)]))
