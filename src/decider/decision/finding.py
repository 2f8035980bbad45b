"""How a run finds its price, before anything of it is logged: its passes over the members, and which it needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from decider.decision import sizes
from decider.decision.ahead import Ahead
from decider.decision.asking import Asking, Members
from decider.decision.budgets import price_budgets
from decider.decision.cells import cell_volumes
from decider.decision.chunks import decide_ahead, joined
from decider.decision.exposure import Seen
from decider.decision.pricing import RunPrice, Trial, decide_trial, price_rates
from decider.decision.result import ResultChunk
from decider.decision.volume import price_volume
from decider.logbook.schema import Certificate, RunBudget


class Found(NamedTuple):
    """What was found of a run's price."""

    price: RunPrice
    of_cells: list[RunPrice]
    """One for each cell, where it runs an experiment."""
    ahead: Ahead | None = None
    """Every member decided already, to be cut at the price; where that can be."""
    budgets: Sequence[RunBudget] = ()
    """With their prices, where it has budgets."""
    certificate: Certificate | None = None
    """How good those are."""


def find_prices(members: Members) -> Found:
    """Find the price at which a run meets its volume or budgets, and that of each cell of an experiment.

    Each cell has its members' part of the volume: a common one would let the policy that promises most take
    the others' sends, and what one cell does would depend on the others.
    """
    asking = members.asking
    if asking.budgets:
        found = price_budgets(members, asking.budgets, asking.bound.policy.price)
        return Found(found.price, [], None, found.budgets, found.certificate)
    assert asking.request.volume is not None
    if asking.experiment is None:
        if can_be_cut(asking):
            return _price_ahead(members)
        return Found(_find_price(members, asking.request.volume), [])
    policies, codes = asking.experiment.bound, asking.experiment.codes
    volumes = cell_volumes(asking.request.volume, len(policies), codes, members.rows(sizes.SEGMENT))
    prices = [
        RunPrice.at(bound.policy.price) if volume is None else _find_price(members.of_cell(code), volume)
        for code, (bound, volume) in enumerate(zip(policies, volumes, strict=True))
    ]
    return Found(prices[-1], prices)


def can_be_cut(asking: Asking) -> bool:
    """Whether a set at the price is the beginning of the set at the lowest, its propensity the same."""
    costs, kind = asking.parts.catalog.cost, asking.bound.policy.kind
    by_draws = kind == "thompson" and not asking.request.defer_propensities
    return bool((costs == costs[0]).all() and costs[0] > 0.0 and kind != "epsilon_greedy" and not by_draws)


def _find_price(members: Members, volume: int) -> RunPrice:
    """The first pass over members, of a run or a cell: values alone, no propensity, and from them the price."""
    asking, costs = members.asking, members.asking.parts.catalog.cost
    if (costs != costs[0]).any():
        return price_volume(members, volume)
    seen = members.observe(np.zeros(0, np.int64))

    def decide_at(price: RunPrice) -> Iterator[Trial]:
        # A bounded number under way: a chunk that waits to be counted holds all its pairs.
        under_way: deque[Future[Trial]] = deque()
        for rows in members.rows(sizes.CHUNK):
            question = asking.question(rows, seen, price, with_propensities=False)
            under_way.append(members.pool.submit(decide_trial, question))
            if len(under_way) > sizes.CHUNKS_AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    floor = RunPrice.at(asking.bound.policy.price)
    return price_rates(decide_at, asking.parts, asking.bound, asking.epoch, volume, floor)


def _price_ahead(members: Members) -> Found:
    """Decide everything at the lowest price, keep it on disk, and find the price."""
    asking, volume = members.asking, members.asking.request.volume
    assert volume is not None
    floor = RunPrice.at(asking.bound.policy.price)
    ahead = Ahead(members.directory, asking.parts, asking.bound, asking.epoch, floor)
    try:
        _decide_all(members, floor, ahead)
        price = ahead.price(volume, lambda: members.rows(sizes.SEGMENT))
    except BaseException:
        ahead.close()
        raise
    return Found(price, [], ahead)


def _decide_all(members: Members, floor: RunPrice, ahead: Ahead) -> None:
    under_way: deque[tuple[Seen, list[Future[ResultChunk]]]] = deque()

    def keep(seen: Seen, chunks: list[Future[ResultChunk]]) -> None:
        ahead.add(joined([future.result() for future in chunks]), seen)

    ordinal = 0
    for rows in members.rows(sizes.SEGMENT):
        seen = members.observe(rows)
        chunks = []
        for at in range(0, rows.size, sizes.CHUNK):
            # At a trial price no propensity is computed: none that a cut may keep depends on the price.
            question = members.asking.question(
                rows[at : at + sizes.CHUNK], seen, floor, with_propensities=False
            )
            chunks.append(members.pool.submit(decide_ahead, question, ordinal + at))
        under_way.append((seen, chunks))
        ordinal += rows.size
        if len(under_way) > sizes.AHEAD:
            keep(*under_way.popleft())
    while under_way:
        keep(*under_way.popleft())
