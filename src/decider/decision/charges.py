"""What a message must be worth under budgets: the run's price of its cost, and the price of the budget that pays it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.decision.charged import Charge
from decider.decision.request import RunRequest
from decider.errors import InvalidInput, UnknownName, Violation
from decider.logbook.schema import RunBudget


def run_budgets(catalog: Catalog, request: RunRequest) -> list[RunBudget]:
    """The budgets of a request in the order of the catalog's channels, without their prices.

    Raises
    ------
    UnknownName
        For a channel that the catalog does not have.
    InvalidInput
        For one that the request does not allow.
    """
    allowed = catalog.channel_names if request.channels is None else request.channels
    unknown, barred = [], []
    for place, budget in enumerate(request.budgets):
        field, name = f"budgets[{place}].channel", budget.channel
        if name and name not in catalog.channel_names:
            rule = f"must be one of {', '.join(catalog.channel_names)}"
            unknown.append(Violation(field, f"{rule}, got {name!r}"))
        elif name and name not in allowed:
            rule = f"must be one of the run's channels {', '.join(allowed)}"
            barred.append(Violation(field, f"{rule}, got {name!r}"))
    if unknown:
        raise UnknownName(unknown)
    if barred:
        raise InvalidInput(barred)
    found = [
        RunBudget(channel=budget.channel, unit="messages", amount=float(budget.messages))
        if budget.messages is not None
        else RunBudget(channel=budget.channel, unit="cost", amount=float(budget.cost or 0.0))
        for budget in request.budgets
    ]
    names = ("", *catalog.channel_names)
    return sorted(found, key=lambda budget: names.index(budget.channel))


@dataclass(frozen=True)
class Charges:
    """What budgets take for each candidate, at any prices of theirs.

    Parameters
    ----------
    catalog
        K candidates.
    theta
        The run's own price, reward per unit of cost.
    budgets
        Of the run; each candidate is paid for by one of them, or by none.
    """

    catalog: Catalog
    theta: float
    budgets: Sequence[RunBudget]

    @cached_property
    def less(self) -> NDArray[np.float64]:
        """[K] what a message must be worth to the run's own price."""
        return float(np.float32(self.theta)) * self.catalog.cost.astype(np.float64)

    @cached_property
    def payer(self) -> NDArray[np.int64]:
        """[K] place of the budget that pays for each candidate, -1 where none does."""
        payer = np.full(self.catalog.n_candidates, -1, np.int64)
        for place, budget in enumerate(self.budgets):
            channel = self.catalog.channel_names.index(budget.channel) if budget.channel else None
            payer[self.catalog.channel == channel if budget.channel else slice(None)] = place
        return payer

    @cached_property
    def unit(self) -> NDArray[np.float64]:
        """[K] what a message takes from its budget; 0 where none pays."""
        by_cost = np.array([budget.unit == "cost" for budget in self.budgets] + [False])[self.payer]
        unit = np.where(by_cost, self.catalog.cost.astype(np.float64), 1.0)
        return np.where(self.payer >= 0, unit, 0.0)

    @cached_property
    def alike(self) -> NDArray[np.int32]:
        """[K] one number for candidates that have the same charge at any prices."""
        kinds = np.stack([self.payer, self.unit, self.less], axis=1)
        return np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)

    def at(self, prices: NDArray[np.float32], cuts: NDArray[np.uint64] | None = None) -> Charge:
        """The charge at prices [n_budgets], which never falls as a price rises; and at tie cuts, else at none.

        Added up in float64 and rounded once: so it is the same wherever it is computed.
        """
        of_budget = np.append(prices.astype(np.float64), 0.0)[self.payer]
        charge = self.less + np.multiply(
            of_budget, self.unit, out=np.zeros(self.unit.size), where=self.unit > 0
        )
        of_payer = np.zeros(len(self.budgets) + 1, np.uint64)
        if cuts is not None:
            of_payer[:-1] = cuts
        worth, own = charge.astype(np.float32), self.less.astype(np.float32)
        # What is worth no more than the run's own price asks never goes out.
        cuts = np.where(worth > own, of_payer[self.payer], np.uint64(0))
        return Charge(np.ones_like(worth), worth, cuts)

    def spent(self, per_candidate: NDArray[np.int64]) -> NDArray[np.float64]:
        """What sends take from each budget, [n_budgets], by how many there are of each candidate."""
        paid = self.payer >= 0
        taken = per_candidate[paid] * self.unit[paid]
        return np.bincount(self.payer[paid], taken, len(self.budgets)).astype(np.float64)


def charge_of(catalog: Catalog, theta: float, budgets: Sequence[RunBudget]) -> Charge | None:
    """What messages must be worth at the prices of budgets; none where there are no budgets."""
    if not budgets:
        return None
    prices = [budget.price for budget in budgets]
    assert None not in prices
    cuts = np.array([budget.tie_cut for budget in budgets], np.uint64)
    return Charges(catalog, theta, budgets).at(np.array(prices, np.float32), cuts)
