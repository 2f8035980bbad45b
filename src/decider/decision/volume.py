"""The price at which a run meets its volume where messages' costs differ: of one pass over its members.

It is the price that bisection finds when everybody is decided at each price it tries
(:func:`decider_core.price_search.price_by_search`). But some members, by their keys, tell first between which prices
it lies; then everybody is valued once, and counted once and for all where no price in the range changes the set. Only
the others are kept, and assembled at all further prices. Bisection also tries prices outside the range, on its way
there: of these it is enough to know that at least, or at most, so many messages go out.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision import few_to_all, sizes
from decider.decision.asking import Members
from decider.decision.between import Between, Near
from decider.decision.charged import Charge, Lanes, one_member
from decider.decision.pricing import RunPrice, volume_left
from decider_core.caps import LARGEST
from decider_core.price import Price
from decider_core.price_search import price_by_search, prices_tried
from decider_core.set_sizes import never_fewer, never_more

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
        with closing(_Sends(members, charges, near, floor, n_some / n_members)) as some:
            near = _near(some, volume * (some.n_members / n_members))
    with closing(_Sends(members, charges, near, floor)) as everybody:
        price = everybody.price_of(volume_left(volume, everybody.n_drawn))
    return RunPrice(price.theta, price.tie_cut, everybody.n_drawn)


class _Sends:
    """How many messages go out at prices in a range, and how many at least or at most at those outside.

    Parameters
    ----------
    members, charges
        Of the run.
    near
        The range; none for all prices.
    floor
        The lowest price.
    share
        Of the members, by their keys; all without.
    """

    def __init__(
        self, members: Members, charges: PerCost, near: Near | None, floor: float, share: float | None = None
    ) -> None:
        outside = np.zeros(0, np.float32)
        if near is not None:
            tried = prices_tried(float(near.low[0]), float(near.high[0]), floor)
            outside = tried[np.isfinite(tried)]
        count = None if near is None else partial(_sends_outside, charges=charges, near=near, prices=outside)
        self._between = Between(members, charges, near, share, count)
        bounds = zip(outside.tolist(), self._between.also.tolist(), strict=True)
        self._floor, self._bounds = floor, dict(bounds)
        self._is_below = {price: near is not None and price < near.low[0] for price in self._bounds}
        self.n_members, self.n_drawn = self._between.n_members, int(self._between.drawn.sum())

    def price_of(self, left: int) -> Price:
        """The least price at which so many go out; members are gone through again, once, where it lies elsewhere."""
        below, upper = self._floor, math.inf

        def count_at(theta: float) -> int:
            nonlocal below, upper
            count = self._count(theta, left, below, upper)
            if count > left:
                below = theta
            else:
                upper = theta
            return count

        return price_by_search(count_at, left, self._floor)

    def close(self) -> None:
        """Let go of what is kept."""
        self._between.close()

    def _count(self, theta: float, left: int, below: float, upper: float) -> int:
        """So many, or a bound that lies on the same side of what is left."""
        if theta == math.inf:
            return 0  # nothing brings more than that for each unit of cost
        if theta in self._bounds and (self._bounds[theta] > left) == self._is_below[theta]:
            return self._bounds[theta]
        prices = np.array([theta], np.float32)
        if not self._between.holds(prices):
            # Bisection does not leave any more what it has come to.
            self._between.move(Near(np.array([below], np.float32), np.array([upper], np.float32)))
        return int(self._between.outcome_at(prices).spend[0])


def _sends_outside(
    lanes: Lanes, sets: NDArray[np.int16], charges: PerCost, near: Near, prices: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Messages that go out at least at each price below a range, at most at each above; `sets` at its low end.

    Whoever is known to get no fewer below, or no more above, is counted there once.
    """
    low, high = charges.at(near.low), charges.at(near.high)
    few = (lanes.value, lanes.fatigue, lanes.same_topic_penalty)
    found = np.zeros(prices.size, np.int64)
    below = prices < near.low[0]
    if below.any():
        bounded = never_fewer(sets, *few, low.cost, low.price, lanes.caps)
        found[below] = _sends(lanes, sets, bounded, charges, prices[below])
    if not below.all():
        sets, _ = lanes.sets_at(high)
        bounded = never_more(sets, lanes.value, lanes.reason, high.cost, high.price, lanes.caps)
        found[~below] = _sends(lanes, sets, bounded, charges, prices[~below])
    return found


def _sends(
    lanes: Lanes,
    sets: NDArray[np.int16],
    bounded: NDArray[np.uint8],
    charges: PerCost,
    prices: NDArray[np.float32],
) -> list[int]:
    """Messages of the sets of those who are bounded, and of the others' sets at each price."""
    others = lanes.of(np.flatnonzero(bounded == 0))
    found = [int(((sets >= 0) & (bounded == 1)).sum())] * prices.size
    if others.n_members:
        for i in range(prices.size):
            found[i] += int((others.sets_at(charges.at(prices[[i]]))[0] >= 0).sum())
    return found


def _near(some: _Sends, volume: float) -> Near:
    """Prices for some of the members, of as much of the volume as they would get by chance at most and at least."""
    # Sends to different members are independent: their number varies as a count does.
    error = few_to_all.STANDARD_ERRORS * math.sqrt(max(volume, 1.0))
    left = volume - some.n_drawn
    low = some.price_of(math.ceil(max(left + error, 0.0))).theta
    # A volume of a handful for these members says nothing of how high its price is for all.
    high = some.price_of(int(left - error)).theta if left > error else np.float32(LARGEST)
    # Where messages that cost nothing leave no other price than infinity, bisection tries all numbers below it.
    ends = np.minimum(np.array([low, high]), np.float32(LARGEST))
    return Near(ends.min(keepdims=True), ends.max(keepdims=True))


def rehearse() -> None:
    """Look at one member beyond two prices, so that no run waits for what that needs compiled."""
    block, one = one_member(), np.ones(1, np.float32)
    sets = np.zeros((1, 1), np.int16)
    never_fewer(sets, block.value, block.fatigue, 0.0, one, one, block.caps)
    never_more(sets, block.value, block.reason, one, one, block.caps)
