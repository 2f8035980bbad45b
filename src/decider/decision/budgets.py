"""The prices of several budgets in one run, each the least at which its own is kept, and what they could miss.

A search tries hundreds of prices. It is first made for a few thousand of the members, by their keys; then more members
are valued once, between prices that lie some standard errors to either side. Most get the same set at all of them and
are counted there and then; the others are kept, and a search in that range assembles these alone. So on to everybody,
of whom a few in a hundred are kept, for the exact search. One that leaves its range makes it anew, wider: so
ranges are a matter of speed, and never of the prices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.decision import sizes
from decider.decision.asking import Members
from decider.decision.charged import Charge, Lanes
from decider.decision.charges import Charges
from decider.decision.held import Held, Weighed, added, weigh
from decider.decision.pricing import RunPrice
from decider.errors import InvalidInput, Violation
from decider.logbook.schema import Certificate, RunBudget
from decider_core.assemble import Caps
from decider_core.budgets import BudgetPrices, Outcome, certified, price_for_budgets
from decider_core.counts import SentGains, count_gains
from decider_core.random import tie_keys
from decider_core.settled import settled

FIRST = 4_096
"""Members of the first search."""
TIMES = 8
"""As many members are in the next one, and in the one after that, as long as it is a quarter of all at most."""
STANDARD_ERRORS = 4.0
"""How far to either side the exact prices are looked for."""

_KEYS = 2**60
"""Tie keys there are: the multiples of 16 below 2^64."""

Prices = NDArray[np.float32]
T = TypeVar("T")


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
    for n_some in _sizes(n_members):
        with closing(_Between(members, charges, near, n_some / n_members)) as some:
            near = _near(some, amounts * (some.n_members / n_members))
    with closing(_Between(members, charges, near)) as everybody:
        _refuse_below_drawn(charges, amounts, everybody.drawn)
        found = price_for_budgets(everybody.outcome_at, amounts, near=everybody.near)
        cuts = np.zeros(amounts.size, np.uint64)
        # Draws hardly ever tie, and their propensities are those of the price alone.
        if members.asking.bound.policy.kind != "thompson":
            cuts, outcome = _cut_ties(everybody, found, amounts)
            found = certified(found.theta, outcome, amounts)
        drawn = everybody.drawn
    each = zip(budgets, found.theta.tolist(), cuts.tolist(), strict=True)
    return Budgeted(
        RunPrice(np.float32(floor), np.uint64(0), int(drawn.sum()), charges.at(found.theta, cuts)),
        [msgspec.structs.replace(budget, price=price, tie_cut=cut) for budget, price, cut in each],
        Certificate(found.bound, found.gap),
    )


def _cut_ties(
    everybody: _Between, found: BudgetPrices, amounts: NDArray[np.float64]
) -> tuple[NDArray[np.uint64], Outcome]:
    """Let messages worth exactly their price go out to as many members as the budgets allow, one after the other."""
    cuts, outcome = np.zeros(amounts.size, np.uint64), found.outcome
    for b in np.flatnonzero(found.theta > 0).tolist():
        # First all who tie; then bisection, until the budget is used up.
        low, high, middle = 0, _KEYS + 1, _KEYS
        while outcome.spend[b] < amounts[b] and high - low > 1:
            tried = cuts.copy()
            tried[b] = min(middle << 4, 2**64 - 1)
            sent = everybody.outcome_at(found.theta, tried)
            if (sent.spend <= amounts).all():
                cuts, outcome, low = tried, sent, middle
            else:
                high = middle
            middle = (low + high) // 2
    return cuts, outcome


def _sizes(n_members: int) -> list[int]:
    """Members of one search after the other, before that of everybody."""
    found, size = [], FIRST
    while 4 * size <= n_members:
        found.append(size)
        size *= TIMES
    return found


def rehearse() -> None:
    """Look at one member between two prices, so that no run waits for what that needs compiled."""
    nothing, room = np.zeros(1, np.float32), np.ones(1, np.int16)
    place = np.zeros(1, np.int32)
    caps = Caps(place, place, room, room[None], room[None], 1)
    keys = np.zeros(1, np.uint64)
    block = Lanes(np.ones((1, 1), np.float32), np.zeros((1, 1), np.uint8), nothing, 0.0, keys, caps)
    sets, gains = block.sets_at(Charge(nothing, keys))
    settled(sets, block.value, block.reason, block.fatigue, 0.0, nothing, nothing, place, caps)
    count_gains(sets, gains, np.zeros(1))


class _Near(NamedTuple):
    """Prices of budgets, between which the exact ones are thought to lie: [n_budgets] each."""

    low: Prices
    high: Prices

    def widened(self, prices: Prices) -> _Near:
        """Ten times as wide where the prices lie outside, as far as it goes where it is wide already."""
        width = np.where(np.isfinite(self.high), self.high - self.low, 0.0)
        low = np.where(prices < self.low, np.maximum(prices - 10.0 * width, 0.0), self.low)
        low = np.where(low < 0.5 * self.low, 0.0, low)
        high = np.where(prices > self.high, prices + 10.0 * width, self.high)
        high = np.where(high > 2.0 * self.high, np.inf, high)
        return _Near(low.astype(np.float32), high.astype(np.float32))


class _Between:
    """Members, counted for prices in a range: those whose set it does not change once, the others each time.

    Parameters
    ----------
    members, charges
        Of the run.
    near
        The range; without one everybody is counted each time.
    share
        Of the members, by their keys; all without.
    """

    def __init__(
        self, members: Members, charges: Charges, near: _Near | None, share: float | None = None
    ) -> None:
        self.charges, self.near = charges, near
        self._members, self._share = members, share
        self._held = Held(members.directory)
        try:
            self._go_through()
        except BaseException:
            self._held.close()
            raise

    def outcome_at(self, prices: Prices, cuts: NDArray[np.uint64] | None = None) -> Outcome:
        """What goes out at some prices and tie cuts, what is drawn at random included in what is spent."""
        charges, charge = self.charges, self.charges.at(prices, cuts)
        if self.near is not None and not self._holds(charge, self.near):
            below = prices if cuts is None else np.where(cuts > 0, prices * np.float32(0.999), prices)
            self.near = self.near.widened(below).widened(prices)
            if not self._holds(charge, self.near):
                self.near = _Near(np.zeros_like(prices), np.full_like(prices, np.inf))
            self._held.close()
            self._held = Held(self._members.directory)
            self._go_through()
        found = self._held.counts_at(charge, charges.less, self._members.pool)
        sent = self.drawn + self._same.per_candidate + found.per_candidate
        return Outcome(charges.spent(sent), self._same.net + found.net)

    def close(self) -> None:
        self._held.close()

    def _holds(self, charge: Charge, near: _Near) -> bool:
        """Whether a charge lies in a range for everybody, on either side of the cuts."""
        low, high = self.charges.at(near.low).worth, self.charges.at(near.high).worth
        return bool(((charge.of(np.uint64(0)) >= low) & (charge.worth <= high)).all())

    def _go_through(self) -> None:
        """Value everybody once."""
        parts: list[SentGains] = []
        self.n_members, self.drawn = 0, np.zeros(self.charges.less.size, np.int64)
        work = partial(_sorted_out, charges=self.charges, near=self.near)
        for one in _each(self._members, work, self._share):
            self._held.add(one.left)
            parts.append(one.same)
            self.drawn += one.drawn
            self.n_members += one.n_members
        self._held.seal()
        self._same = added(parts, self.drawn.size)


class _SortedOut(NamedTuple):
    same: SentGains
    left: Lanes
    drawn: NDArray[np.int64]
    n_members: int


def _sorted_out(weighed: Weighed, charges: Charges, near: _Near | None) -> _SortedOut:
    """Count whose set is the same at all prices in the range; the others are left."""
    lanes, priced, drawn = weighed
    if near is None:
        everybody = lanes.of(np.flatnonzero(priced))
        return _SortedOut(SentGains(np.zeros_like(drawn), 0.0), everybody, drawn, lanes.n_members)
    low, high = charges.at(near.low), charges.at(near.high)
    sets, gains = lanes.sets_at(low)
    # Nothing is to be looked at, nor counted, of those whose set no price decides.
    sets[:, ~priced] = -1
    same = settled(
        sets, lanes.value, lanes.reason, lanes.fatigue, lanes.same_topic_penalty,
        low.worth, high.worth, charges.alike, lanes.caps,
    )  # fmt: skip
    left = np.flatnonzero(same == 0)
    sets[:, left] = -1
    return _SortedOut(count_gains(sets, gains, charges.less), lanes.of(left), drawn, lanes.n_members)


def _near(some: _Between, amounts: NDArray[np.float64]) -> _Near:
    """Prices for some of the members, of as much of the budgets as they would spend by chance at most and at least."""
    charges = some.charges
    largest = np.zeros(amounts.size)
    np.maximum.at(largest, charges.payer[charges.payer >= 0], charges.unit[charges.payer >= 0])
    drawn = charges.spent(some.drawn)
    left = np.maximum(amounts - drawn, 0.0)
    # Sends to different members are independent: their sum varies as a count does, in units of the largest.
    error = STANDARD_ERRORS * np.sqrt(np.maximum(left, largest) * largest)
    low = price_for_budgets(some.outcome_at, drawn + left + error, near=some.near).theta
    less = drawn + np.maximum(left - error, 0.0)
    far = np.full_like(low, np.inf) if some.near is None else np.maximum(low, some.near.high)
    high = price_for_budgets(some.outcome_at, less, near=(low, far)).theta
    # A budget that pays for a handful of these members says nothing of how high its price is for all.
    high = np.where(left > error, high, np.float32(np.inf))
    return _Near(np.minimum(low, high), np.maximum(low, high))


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
    asking, waiting = members.asking, np.zeros(0, np.int64)
    for rows in members.rows(sizes.SEGMENT):
        keys = tie_keys(asking.bound.policy.seed, asking.epoch, asking.parts.snapshot.keys[rows])
        waiting = np.concatenate([waiting, rows[keys < np.uint64(share * 2.0**64)]])
        while waiting.size >= sizes.CHUNK:
            yield waiting[: sizes.CHUNK]
            waiting = waiting[sizes.CHUNK :]
    if waiting.size:
        yield waiting


def _refuse_below_drawn(charges: Charges, amounts: NDArray[np.float64], drawn: NDArray[np.int64]) -> None:
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
