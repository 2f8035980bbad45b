"""The price of a run: the incrementality threshold at which its sends meet the volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision.charged import Charge
from decider.decision.parts import BoundPolicy, Parts
from decider.decision.stages import Question
from decider.decision.steps import decide
from decider.errors import InvalidInput
from decider_core.admission import gain_rates
from decider_core.explore import EXPLOIT
from decider_core.price import RateHistogram, price_in_passes, tied_keys
from decider_core.random import tie_keys


class RunPrice(NamedTuple):
    """The price of a run."""

    theta: np.float32
    """Reward per unit of cost."""
    tie_cut: np.uint64
    """Gains exactly at the price are admitted up to this key."""
    n_drawn: int
    """Sends of drawn sets (explore stratum), which no price changes."""
    charge: Charge | None = None
    """What messages must be worth, where the run has budgets; none: `theta` for each unit of their cost."""

    @classmethod
    def at(cls, theta: float) -> RunPrice:
        """A price that was given and not found."""
        return cls(np.float32(theta), np.uint64(0), 0)


class Trial(NamedTuple):
    """What pricing keeps of a chunk that was decided at a trial price."""

    rows: NDArray[np.int64]
    sets: NDArray[np.int16]
    gains: NDArray[np.float32]
    priced: NDArray[np.bool_]
    """[n] members whose set the price decides; the others' is drawn, or they are held out."""

    @property
    def n_drawn(self) -> int:
        """Sends that it does not decide."""
        return int((self.sets[:, ~self.priced] >= 0).sum())


def decide_trial(question: Question) -> Trial:
    """Decide a chunk at a trial price."""
    decided = decide(question)
    priced: NDArray[np.bool_] = (decided.explored.stratum == EXPLOIT) & ~decided.explored.drawn
    return Trial(question.rows, decided.sets, decided.gains, priced)


DecideAt = Callable[[RunPrice], Iterator[Trial]]
"""Decides for all members of a run at a price, chunk by chunk."""


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
    for trial in decide_at(floor):
        n_drawn += trial.n_drawn
        chunk = gain_rates(trial.gains, trial.sets, parts.catalog.cost)
        chunk[:, ~trial.priced] = np.nan
        rates.append(chunk)
        keys.append(tie_keys(bound.policy.seed, epoch, parts.snapshot.keys[trial.rows]))

    def tied(theta: np.float32) -> Iterator[NDArray[np.uint64]]:
        return (tied_keys(*chunk, theta) for chunk in zip(rates, keys, strict=True))

    return priced_by_volume(lambda: rates, tied, volume, n_drawn, floor)


def priced_by_volume(
    rates: Callable[[], Iterable[NDArray[np.float32]]],
    tied: Callable[[np.float32], Iterable[NDArray[np.uint64]]],
    volume: int,
    n_drawn: int,
    floor: RunPrice,
    high: RateHistogram | None = None,
) -> RunPrice:
    """The quantile of the gains that leaves the volume.

    Parameters
    ----------
    rates, tied, high
        As of :func:`decider_core.price.price_in_passes`.
    volume
        At most so many sends, `n_drawn` of which no price changes.
    floor
        The lowest price.
    """
    price = price_in_passes(rates, tied, volume_left(volume, n_drawn), float(floor.theta), high)
    return RunPrice(np.float32(price.theta), np.uint64(price.tie_cut), n_drawn)


def volume_left(volume: int, n_drawn: int) -> int:
    """What is left of a volume for sends that a price decides.

    Raises
    ------
    InvalidInput
        Where more are drawn at random whatever the price.
    """
    if n_drawn > volume:
        rule = f"must leave room for the {n_drawn} sends that are drawn at random whatever the price"
        raise InvalidInput.of("volume", rule, volume)
    return volume - n_drawn
