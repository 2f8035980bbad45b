"""The price of a volume as its definition has it: everybody decided again at every price that bisection tries."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from decider.decision import sizes
from decider.decision.asking import Members
from decider.decision.parts import BoundPolicy
from decider.decision.pricing import RunPrice
from decider.decision.stages import Question
from decider.decision.steps import decide
from decider_core.explore import EXPLOIT
from decider_core.price_search import price_by_search


def searched_price(members: Members, bound: BoundPolicy, volume: int, cell: int | None) -> RunPrice:
    """The price of a run, or of one cell of its experiment."""
    counts_at = counted(members, bound, cell)
    floor = float(np.float32(bound.policy.price))
    n_drawn = counts_at(floor)[1]
    price = price_by_search(lambda theta: counts_at(theta)[0], volume - n_drawn, floor)
    return RunPrice(price.theta, price.tie_cut, n_drawn)


def counted(members: Members, bound: BoundPolicy, cell: int | None):
    """Gives the sends that a price decides, and those that it does not."""

    @cache
    def counts_at(theta: float) -> tuple[int, int]:
        asking, price = members.asking, RunPrice.at(theta)
        seen = members.observe(np.zeros(0, np.int64))
        questions = []
        for rows in members.rows(sizes.CHUNK):
            mine = rows if cell is None else rows[asking.experiment.codes[rows] == cell]
            question = asking.question(mine, seen, price, with_propensities=False)
            if mine.size:
                questions.append(replace(question, bound=bound))
        each = list(members.pool.map(_counts, questions))
        return sum(n_priced for n_priced, _ in each), sum(n_drawn for _, n_drawn in each)

    return counts_at


def _counts(question: Question) -> tuple[int, int]:
    decided = decide(question)
    priced = (decided.explored.stratum == EXPLOIT) & ~decided.explored.drawn
    return int((decided.sets[:, priced] >= 0).sum()), int((decided.sets[:, ~priced] >= 0).sum())
