"""Members counted at any prices of a range, without assembling those again whose set none of them changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from decider.decision import sizes
from decider.decision.asking import Members, regrouped
from decider.decision.charged import Charge, Lanes, one_member
from decider.decision.held import Held, Weighed, added, weigh
from decider.decision.pricing import RunPrice
from decider_core.budgets import Outcome
from decider_core.counts import SentGains, count_gains
from decider_core.random import tie_keys
from decider_core.settled import settled

Prices = NDArray[np.float32]
"""[n_prices]"""
Also = Callable[[Lanes, NDArray[np.int16]], NDArray[np.int64]]
T = TypeVar("T")


class ByPrices(Protocol):
    """What messages of K candidates are charged at the prices that a search tries, and what these must limit."""

    @property
    def less(self) -> NDArray[np.float64]:
        """[K] what is taken off gains that are added up."""

    @property
    def alike(self) -> NDArray[np.int32]:
        """[K] one number for candidates that have the same charge at any prices."""

    def at(self, prices: Prices, cuts: NDArray[np.uint64] | None = None) -> Charge:
        """The charge at prices, which never falls as one rises, and at tie cuts, else at none."""

    def spent(self, per_candidate: NDArray[np.int64]) -> NDArray[np.float64]:
        """What sends take of what each price limits, [n_prices], by how many there are of each candidate."""


class Near(NamedTuple):
    """Prices, between which the exact ones are thought to lie: [n_prices] each."""

    low: Prices
    high: Prices

    def widened(self, prices: Prices) -> Near:
        """Ten times as wide where the prices lie outside, as far as it goes where it is wide already."""
        width = np.where(np.isfinite(self.high), self.high - self.low, 0.0)
        low = np.where(prices < self.low, np.maximum(prices - 10.0 * width, 0.0), self.low)
        low = np.where(low < 0.5 * self.low, 0.0, low)
        high = np.where(prices > self.high, prices + 10.0 * width, self.high)
        high = np.where(high > 2.0 * self.high, np.inf, high)
        return Near(low.astype(np.float32), high.astype(np.float32))


class Between:
    """Members, counted for prices in a range: those whose set it does not change once, the others each time.

    Parameters
    ----------
    members, charges
        Of the run.
    near
        The range; without one everybody is counted each time.
    share
        Of the members, by their keys; all without.
    also
        Told of each chunk and its sets at the low end of the range, while it is valued: what it counts, i64 of one
        length, is added up. Only with a range.
    """

    def __init__(
        self,
        members: Members,
        charges: ByPrices,
        near: Near | None,
        share: float | None = None,
        also: Also | None = None,
    ) -> None:
        self.near = near
        self._charges, self._members, self._share = charges, members, share
        self.n_members = 0
        """So many there were."""
        self.drawn = np.zeros(charges.less.size, np.int64)
        """[K] sends drawn at random, which no price changes."""
        self.also = np.zeros(0, np.int64)
        """What was counted beside."""
        self._held = Held(members.directory)
        try:
            self._go_through(also)
        except BaseException:
            self._held.close()
            raise

    def outcome_at(self, prices: Prices, cuts: NDArray[np.uint64] | None = None) -> Outcome:
        """What goes out at some prices and tie cuts, beside what is drawn at random.

        Outside the range, members are gone through again in a wider one.
        """
        charge = self._charges.at(prices, cuts)
        if self.near is not None and not self._holds(charge, self.near):
            below = prices if cuts is None else np.where(cuts > 0, prices * np.float32(0.999), prices)
            wider = self.near.widened(below).widened(prices)
            whole = Near(np.zeros_like(prices), np.full_like(prices, np.inf))
            self.move(wider if self._holds(charge, wider) else whole)
        found = self._held.counts_at(charge, self._charges.less, self._members.pool)
        # What is left of a budget is the same difference: so it is kept to the last bit, whatever costs are.
        sent = self.drawn + self._same.per_candidate + found.per_candidate
        spent = self._charges.spent(sent) - self._charges.spent(self.drawn)
        return Outcome(spent, self._same.net + found.net)

    def holds(self, prices: Prices) -> bool:
        """Whether what goes out at some prices can be told without going through the members again."""
        return self.near is None or self._holds(self._charges.at(prices), self.near)

    def move(self, near: Near) -> None:
        """Go through the members again, for another range."""
        self.near = near
        self._held.close()
        self._held = Held(self._members.directory)
        self._go_through(None)

    def close(self) -> None:
        """Let go of what is kept."""
        self._held.close()

    def _holds(self, charge: Charge, near: Near) -> bool:
        """Whether a charge lies in a range for everybody, on either side of the cuts."""
        low, high = self._charges.at(near.low).price, self._charges.at(near.high).price
        return bool(((charge.of(np.uint64(0)) >= low) & (charge.price <= high)).all())

    def _go_through(self, also: Also | None) -> None:
        """Value everybody once."""
        parts: list[SentGains] = []
        beside: list[NDArray[np.int64]] = []
        self.n_members, self.drawn = 0, np.zeros_like(self.drawn)
        work = partial(_sorted_out, charges=self._charges, near=self.near, also=also)
        for one in _each(self._members, work, self._share):
            self._held.add(one.left)
            parts.append(one.same)
            beside.append(one.also)
            self.drawn += one.drawn
            self.n_members += one.n_members
        self._held.seal()
        self._same = added(parts, self.drawn.size)
        if also is not None:
            self.also = np.sum(beside, axis=0)


class _SortedOut(NamedTuple):
    same: SentGains
    left: Lanes
    also: NDArray[np.int64]
    drawn: NDArray[np.int64]
    n_members: int


def _sorted_out(weighed: Weighed, charges: ByPrices, near: Near | None, also: Also | None) -> _SortedOut:
    """Count whose set is the same at all prices in the range; the others are left."""
    (lanes, priced, drawn), beside = weighed, np.zeros(0, np.int64)
    if near is None:
        everybody = lanes.of(np.flatnonzero(priced))
        return _SortedOut(SentGains(np.zeros_like(drawn), 0.0), everybody, beside, drawn, lanes.n_members)
    low, high = charges.at(near.low), charges.at(near.high)
    sets, gains = lanes.sets_at(low)
    if also is not None:
        beside = also(lanes, sets)
    same = settled(
        sets, lanes.value, lanes.reason, lanes.fatigue, lanes.same_topic_penalty,
        low.cost, low.price, high.price, charges.alike, lanes.caps,
    )  # fmt: skip
    left = np.flatnonzero(same == 0)
    sets[:, left] = -1
    counted = count_gains(sets, gains, charges.less)
    return _SortedOut(counted, lanes.of(left), beside, drawn, lanes.n_members)


def _each(members: Members, work: Callable[[Weighed], T], share: float | None = None) -> Iterator[T]:
    """Value all members, or a share of them by their keys, chunk by chunk, and give what `work` makes of each."""
    asking, price = members.asking, RunPrice.at(members.asking.bound.policy.price)
    seen = members.observe(np.zeros(0, np.int64))
    under_way: deque[Future[T]] = deque()
    for rows in _chunks(members, share):
        question = asking.question(rows, seen, price, with_propensities=False)
        under_way.append(members.pool.submit(lambda question: work(weigh(question)), question))
        if len(under_way) > sizes.CHUNKS_AHEAD:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _chunks(members: Members, share: float | None) -> Iterator[NDArray[np.int64]]:
    if share is None:
        yield from members.rows(sizes.CHUNK)
        return
    asking = members.asking

    def some() -> Iterator[NDArray[np.int64]]:
        for rows in members.rows(sizes.SEGMENT):
            keys = tie_keys(asking.bound.policy.seed, asking.epoch, asking.parts.snapshot.keys[rows])
            yield rows[keys < np.uint64(share * 2.0**64)]

    yield from regrouped(some(), sizes.CHUNK)


def rehearse() -> None:
    """Look at one member between two prices, so that no run waits for what that needs compiled."""
    block, one = one_member(), np.ones(1, np.float32)
    charge = Charge(one, np.zeros(1, np.float32), np.zeros(1, np.uint64))
    sets, gains = block.sets_at(charge)
    settled(
        sets,
        block.value,
        block.reason,
        block.fatigue,
        0.0,
        one,
        charge.price,
        charge.price,
        block.caps.channel,
        block.caps,
    )
    count_gains(sets, gains, np.zeros(1))
