"""The price of a run: the incrementality threshold at which its sends meet the volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision.parts import BoundPolicy, Parts
from decider.decision.stages import Decided
from decider.errors import InvalidInput
from decider_core.assemble import gain_rates
from decider_core.explore import EXPLOIT
from decider_core.price import price_by_search, price_for_volume
from decider_core.random import tie_keys


class RunPrice(NamedTuple):
    """The price of a run."""

    theta: np.float32
    """Reward per unit of cost."""
    tie_cut: np.uint64
    """Gains exactly at the price are admitted up to this key."""
    n_drawn: int
    """Sends of drawn sets (explore stratum), which no price changes."""


DecideAt = Callable[[RunPrice], Iterator[tuple[NDArray[np.int64], Decided]]]
"""Steps 1 to 6 for all members of a run at a price, chunk by chunk, with the chunk's rows."""


def price_rates(
    decide_at: DecideAt, parts: Parts, bound: BoundPolicy, epoch: int, volume: int, floor: RunPrice
) -> RunPrice:
    """Exact price in one pass, where all candidates cost the same.

    At equal costs the order of assembly does not depend on the price, and gains fall from place to place: so
    the sends at any price are the marginal gains above it, and the price is their quantile.

    Parameters
    ----------
    decide_at
        Makes the decisions at a price.
    parts, bound, epoch
        What they are made from.
    volume
        At most so many sends.
    floor
        The lowest price, from the policy.
    """
    if parts.catalog.cost[0] <= 0.0:
        raise InvalidInput.of(
            "volume", "needs a cost per message: at cost 0 no price limits the sends", volume
        )
    rates, keys, n_drawn = [], [], 0
    for rows, decided in decide_at(floor):
        priced = _priced(decided)
        n_drawn += int((decided.sets[:, ~priced] >= 0).sum())
        chunk = gain_rates(decided.gains, decided.sets, parts.catalog.cost)
        chunk[:, ~priced] = np.nan
        rates.append(chunk)
        keys.append(tie_keys(bound.policy.seed, epoch, parts.snapshot.keys[rows]))
    budget = _left(volume, n_drawn)
    price = price_for_volume(rates, keys, budget, float(floor.theta))
    return RunPrice(np.float32(price.theta), np.uint64(price.tie_cut), n_drawn)


def search_price(
    decide_at: DecideAt, parts: Parts, bound: BoundPolicy, epoch: int, volume: int, floor: RunPrice
) -> RunPrice:
    """Smallest price that keeps the volume, where costs differ: bisection, one pass over the members each.

    Parameters are those of :func:`price_rates`.
    """
    n_drawn = 0

    def count_at(theta: float) -> int:
        nonlocal n_drawn
        count, n_drawn = 0, 0
        for _, decided in decide_at(RunPrice(np.float32(theta), np.uint64(0), 0)):
            priced = _priced(decided)
            count += int((decided.sets[:, priced] >= 0).sum())
            n_drawn += int((decided.sets[:, ~priced] >= 0).sum())
        return count

    count_at(float(floor.theta))
    price = price_by_search(count_at, _left(volume, n_drawn), float(floor.theta))
    return RunPrice(np.float32(price.theta), np.uint64(price.tie_cut), n_drawn)


def _priced(decided: Decided) -> NDArray[np.bool_]:
    """Members whose set the price decides."""
    priced: NDArray[np.bool_] = (decided.explored.stratum == EXPLOIT) & ~decided.explored.drawn
    return priced


def _left(volume: int, n_drawn: int) -> int:
    if n_drawn > volume:
        rule = f"must leave room for the {n_drawn} sends that are drawn at random whatever the price"
        raise InvalidInput.of("volume", rule, volume)
    return volume - n_drawn
