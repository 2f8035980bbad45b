"""Prices: of a volume against NumPy's partition and HiGHS' linear programme, of several budgets against their bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from decider.bench.case import Case, Effort, Row, row_of
from decider.bench.comparison import Baseline, Comparison
from decider.bench.timing import median_seconds
from decider_core.admission import gain_rates
from decider_core.assemble import assemble
from decider_core.budgets import Outcome, outcome_of, price_for_budgets
from decider_core.caps import Caps
from decider_core.price import price_for_volume

N_CANDIDATES: Final = 32
MAX_MESSAGES: Final = 3
FASTER: Final = 1_000.0
AS_GOOD: Final = 1.0 - 1e-9
NEAR: Final = 0.999
_SHARE: Final = 0.3
_UNEQUAL: Final = (0.5, 1.0, 1.5, 4.0)
_LIMIT_SECONDS: Final = 600.0


def measure(effort: Effort) -> Iterator[Row]:
    """One price among given rates; a volume from values to sets; several budgets at once."""
    n_rates = 100_000 if effort.short else 1_000_000
    for levels in (None, 8):
        yield from quantile(n_rates, levels).rows(effort)
    yield from volume_rows(2_000 if effort.short else 100_000, effort)
    if not effort.short:
        for n_budgets, equal in ((1, False), (4, True), (4, False)):
            yield budgets_row(100_000, n_budgets, equal, effort)


class Instance(NamedTuple):
    """Members whose best sets under budgets are a linear programme: no fatigue, no penalty, caps of their own only."""

    value: NDArray[np.float32]
    """[K, n]"""
    cost: NDArray[np.float32]
    """[K]"""
    budget: NDArray[np.int32]
    """[K] the budget that pays for each candidate."""
    n_budgets: int
    caps: Caps
    keys: NDArray[np.uint64]
    """[n] for ties."""

    def assembled(self, theta: NDArray[np.float32], tie_cut: int = 0) -> tuple[Any, Any]:
        """Sets and gains at a price for each budget."""
        reason, tired = np.zeros(self.value.shape, np.uint8), np.zeros(self.value.shape[1], np.float32)
        prices = np.ascontiguousarray(theta[self.budget])
        return assemble(self.value, reason, tired, 0.0, self.cost, prices, tie_cut, self.keys, self.caps)

    def outcome_at(self, theta: NDArray[np.float32]) -> Outcome:
        """What goes out at these prices."""
        return outcome_of(*self.assembled(theta), self.cost, self.budget, self.n_budgets)

    def some(self) -> NDArray[np.float64]:
        """Budgets of a share of what goes out at no price; the first of several is wide."""
        budgets = np.floor(self.outcome_at(np.zeros(self.n_budgets, np.float32)).spend * _SHARE)
        if self.n_budgets > 1:
            budgets[0] *= 2.0
        return budgets

    def by_volume(self, volume: int) -> Outcome:
        """What goes out under one volume at equal costs: paths, their price, the sets at it."""
        path, gains = self.assembled(np.full(1, -np.inf, np.float32))
        price = price_for_volume(gain_rates(gains, path, self.cost), self.keys, volume)
        sets, gains = self.assembled(np.array([price.theta]), int(price.tie_cut))
        return outcome_of(sets, gains, self.cost, self.budget, 1)

    def by_highs(self, budgets: NDArray[np.float64]) -> tuple[float | None, float]:
        """The optimum of the linear programme by HiGHS' interior point, and seconds; None if it ran out of time."""
        n_candidates, n_members = self.value.shape
        columns = np.arange(n_candidates * n_members)
        member, candidate = columns % n_members, columns // n_members
        at_most = csr_array((np.ones(columns.size), (member, columns)), (n_members, columns.size))
        pays = csr_array(
            (self.cost.astype(float)[candidate], (self.budget[candidate], columns)),
            (self.n_budgets, columns.size),
        )
        room = np.concatenate([np.full(n_members, float(self.caps.max_messages)), budgets])
        rows = vstack([at_most, pays]).tocsr()
        began = time.perf_counter()
        found = linprog(
            -self.value.astype(float).ravel(), rows, room, bounds=(0, 1), method="highs-ipm",
            options={"time_limit": _LIMIT_SECONDS},
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return (-float(found.fun) if found.status == 0 else None), seconds


def instance(n_members: int, n_budgets: int, equal_costs: bool, seed: int = 8) -> Instance:
    """Draw members; candidate k is paid for by budget k modulo their number."""
    g = np.random.default_rng(seed)
    value = g.normal(0.3, 1.0, (N_CANDIDATES, n_members)).astype(np.float32)
    cost = np.ones(N_CANDIDATES, np.float32)
    if not equal_costs:
        cost = g.choice(_UNEQUAL, N_CANDIDATES).astype(np.float32)
    budget = (np.arange(N_CANDIDATES) % n_budgets).astype(np.int32)
    room = np.full(n_members, MAX_MESSAGES, np.int16)
    rooms = np.tile(room, (n_budgets, 1))
    keys = g.integers(0, 1 << 60, n_members).astype(np.uint64) << np.uint64(4)
    return Instance(
        value, cost, budget, n_budgets, Caps(budget, budget, room, rooms, rooms, MAX_MESSAGES), keys
    )


def volume_rows(n_members: int, effort: Effort) -> Iterator[Row]:
    """A volume at equal costs: how much faster than HiGHS, and whether as good."""
    shape = f"volume-m{n_members}-k{N_CANDIDATES}-t1"
    effort.report(f"price {shape}", 0, None)
    members = instance(n_members, 1, equal_costs=True)
    budgets = members.some()
    seconds = median_seconds(lambda: members.by_volume(int(budgets[0])), rounds=effort.rounds(5))[0]
    best, highs_seconds = members.by_highs(budgets)
    against = "HiGHS' linear programme"
    if best is None:
        # Cut off: it would have taken longer, so that the ratio is larger still.
        yield row_of(
            "price", shape, 1.0 / seconds, "solutions/s", f"{against}, cut off", 1.0 / highs_seconds, FASTER
        )
        return
    yield row_of("price", shape, 1.0 / seconds, "solutions/s", against, 1.0 / highs_seconds, FASTER)
    reached = members.by_volume(int(budgets[0])).gain
    yield row_of("price", f"objective-{shape}", reached, "reward", against, best, AS_GOOD)


def budgets_row(n_members: int, n_budgets: int, equal_costs: bool, effort: Effort) -> Row:
    """Several budgets, or unequal costs: the value reached beside the bound that no choice passes."""
    costs = "equal" if equal_costs else "unequal"
    shape = f"budgets{n_budgets}-{costs}-m{n_members}-k{N_CANDIDATES}"
    effort.report(f"price {shape}", 0, None)
    members = instance(n_members, n_budgets, equal_costs)
    found = price_for_budgets(members.outcome_at, members.some())
    return row_of("price", shape, found.outcome.gain, "reward", "the bound of any choice", found.bound, NEAR)


def rates_of(n: int, levels: int | None) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
    """Falling rates of three places, a third of them empty; `levels` to the unit make ties."""
    g = np.random.default_rng(0)
    rates = -np.sort(-g.normal(0.0, 1.0, (MAX_MESSAGES, n)).astype(np.float32), axis=0)
    if levels:
        rates = np.round(rates * levels) / np.float32(levels)
    rates[rates < -0.5] = np.nan
    return rates, np.arange(n, dtype=np.uint64) * np.uint64(16)


def by_partition(
    rates: NDArray[np.float32], keys: NDArray[np.uint64], budget: int
) -> Callable[[], np.float32]:
    """NumPy's way: the rate past the budget, and of those that tie at it the key past what is left."""

    def partition() -> np.float32:
        found = rates[rates > 0]
        place = found.size - 1 - budget
        theta: np.float32 = np.partition(found, place)[place]
        n_tied = budget - np.count_nonzero(found > theta)
        if n_tied:
            tied = (keys | np.arange(len(rates), dtype=np.uint64)[:, None])[rates == theta]
            np.partition(tied, n_tied)
        return theta

    return partition


def quantile(n: int, levels: int | None) -> Comparison:
    """One price among n members' given rates."""
    rates, keys = rates_of(n, levels)
    budget = int(_SHARE * n)
    numpy = Baseline("NumPy partition", by_partition(rates, keys, budget), float(n))
    shape = f"quantile-m{n}-{'ties' if levels else 'distinct'}-t1"
    return Comparison(
        "price", shape, "members/s", lambda: price_for_volume(rates, keys, budget), float(n), (numpy,)
    )


CASE = Case("price", "prices of volumes and budgets, against NumPy, HiGHS and their bound", measure)
