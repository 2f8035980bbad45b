"""Whether what was learned chooses better sets than the model that decides, by sets drawn at random.

Two models, each learned without the latest outcomes of one half of the members, choose sets greedily for that half;
so does the model that decides. What each choice would have brought is estimated doubly robustly, and counts for what
is left of it when each message has paid its price::

    v_i = q(x, S) + 1{S_i = S} / p(S_i) * (Y_i - q(x, S_i)),    better_by = mean(v_i(new) - v_i(old))

q is what the model that decides expects of a set, after a mean that the other half of the members tell. p is exact:
the chance of the whole set in the explore stratum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation import Estimate, Limits, LoggedSets, Support
from decider.evaluation.estimators import dr
from decider.evaluation.rows import Rows, less
from decider.evaluation.sets import set_rows
from decider.evaluation.sums import estimates_of
from decider.evaluation.support import OVERLAP
from decider.loop.learn import halves
from decider.loop.outcomes import Drawn, Outcomes
from decider.models import UpliftModel
from decider_core import reasons
from decider_core.assemble import assemble
from decider_core.explore import explore_propensity
from decider_core.gains import path_gains
from decider_core.score import moments_and_fatigue

F64 = NDArray[np.float64]


def better_by(
    outcomes: Outcomes, crossed: Sequence[UpliftModel], old: UpliftModel, limits: Limits | None = None
) -> Estimate:
    """Estimate by how much the new model's sets are worth more than the old one's, a member, prices paid.

    Parameters
    ----------
    outcomes
        The latest ones.
    crossed
        What is learned without those of the first half of the members, and of the second.
    old
        The model that decides; it has seen none of them.
    limits
        Where the draws have less than that for either choice, there is a reason and no number.

    Returns
    -------
    Estimate
        In reward; its error is clustered by member.
    """
    why = _not_alike(crossed[0], old)
    if why:
        return Estimate.refuse(why)
    chunks = [
        _columns(drawn, crossed, old) for run_id in outcomes.run_ids for drawn in outcomes.drawn(run_id)
    ]
    if not chunks:
        return Estimate.refuse("no set was drawn at random")
    rows = _Columns(*(np.concatenate(column) for column in zip(*chunks, strict=True)))
    if not np.isfinite(rows.paid).all():
        return Estimate.refuse("a price is not finite")
    # The mean that sets' effects come on top of, each half's from the other one.
    rest = rows.reward - rows.q_logged - rows.paid
    if not (rows.first.any() and (~rows.first).any()):
        return Estimate.refuse("all members are of one half")
    base = np.where(rows.first, rest[~rows.first].mean(), rest[rows.first].mean())
    log = LoggedSets(rows.reward - rows.paid, rows.propensity, rows.empty, rows.keys)
    choices = {"new": rows.new, "old": rows.old}
    for name, choice in choices.items():
        why = _support(choice, rows).refusal(limits or Limits())
        if why:
            return Estimate.refuse(f"the {name} model's sets: {why}")
    new, old_rows = (_set_against(log, choice, base, rows.q_logged) for choice in choices.values())
    return estimates_of({"dr": less(dr(new), dr(old_rows))}, rows.keys, 0, 0)["dr"]


class _Columns(NamedTuple):
    """Of each member n, and of what each model chooses."""

    reward: F64
    paid: F64
    """Prices of the set that was drawn."""
    propensity: F64
    empty: NDArray[np.bool_]
    keys: NDArray[np.uint64]
    first: NDArray[np.bool_]
    """Whether of the first half of the members."""
    q_logged: F64
    """Effects of the drawn set, less its prices, as the old model has them."""
    new: F64
    """[n, 3] whether the set chosen was drawn, the chance of drawing it, its effects less its prices."""
    old: F64
    """[n, 3] likewise."""


def _not_alike(new: UpliftModel, old: UpliftModel) -> str:
    if old.outcome != "incrementality" or old.pair_features:
        return "the model that decides is of another kind"
    if old.feature_map.feature_names != new.feature_map.feature_names:
        return "the model that decides reads other features"
    return ""


def _columns(drawn: Drawn, crossed: Sequence[UpliftModel], old: UpliftModel) -> _Columns:
    mean, fatigue, old_sets = _chosen(drawn, old)
    first, second = halves(drawn.keys)
    (_, _, new_sets), (_, _, of_second) = (_chosen(drawn, model) for model in crossed)
    new_sets[:, second] = of_second[:, second]
    # In one order, so that the same set has the same bits whoever chose it.
    old_sets, new_sets, drawn_sets = (-np.sort(-sets, axis=0) for sets in (old_sets, new_sets, drawn.sets))

    def effects(sets: NDArray[np.int16]) -> F64:
        gains = path_gains(sets, mean, fatigue, old.same_topic_penalty, drawn.catalog.topic)
        return np.nansum(gains, axis=0, dtype=np.float64) - _prices(sets, drawn)

    def chances(sets: NDArray[np.int16]) -> F64:
        return explore_propensity(sets, drawn.count_shares, drawn.catalog.weight, drawn.reason, drawn.caps)

    def facts(sets: NDArray[np.int16]) -> F64:
        same = (sets == drawn_sets).all(axis=0)
        return np.stack([same.astype(np.float64), chances(sets), effects(sets)], axis=1)

    return _Columns(
        drawn.reward,
        _prices(drawn_sets, drawn),
        chances(drawn_sets),
        np.asarray((drawn_sets < 0).all(axis=0)),
        drawn.keys,
        first,
        effects(drawn_sets),
        facts(new_sets),
        facts(old_sets),
    )


def _chosen(
    drawn: Drawn, model: UpliftModel
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int16]]:
    """The model's effects, fatigue, and greedy sets, as production has them."""
    catalog = drawn.catalog
    bound = model.bind([(each.id, each.message, each.type) for each in catalog.candidates])
    z = model.feature_map.apply(drawn.features)
    mean, _, fatigue = moments_and_fatigue(bound.packed, bound.fatigue, z)
    unknown = (bound.estimable == 0)[:, None] & (drawn.reason == reasons.ELIGIBLE)
    sets, _ = assemble(
        mean, np.where(unknown, np.uint8(reasons.NO_POSTERIOR), drawn.reason), fatigue,
        bound.same_topic_penalty, np.ones(catalog.n_candidates, np.float32), drawn.charge, 0,
        np.zeros(drawn.n_members, np.uint64), drawn.caps,
    )  # fmt: skip
    return mean, fatigue, sets


def _prices(sets: NDArray[np.int16], drawn: Drawn) -> F64:
    each = np.where(sets >= 0, drawn.charge[sets].astype(np.float64), 0.0)
    return np.asarray(each.sum(axis=0))


def _set_against(log: LoggedSets, choice: F64, base: F64, q_logged: F64) -> Rows:
    return set_rows(np.ascontiguousarray(choice[:, 0]), log, base + choice[:, 2], base + q_logged)


def _support(choice: F64, rows: _Columns) -> Support:
    """How well the draws cover what a model chooses."""
    weight, chance = choice[:, 0] / rows.propensity, choice[:, 1]
    total, squares = float(weight.sum()), float(weight @ weight)
    return Support(
        n_rows=len(weight),
        n_unsupported=int((chance == 0.0).sum()),
        n_matched=int((weight > 0.0).sum()),
        matched_members=len(np.unique(rows.keys[weight > 0.0])),
        effective_rows=total * total / squares if squares > 0.0 else 0.0,
        largest_share=float(weight.max()) / total if total > 0.0 else 0.0,
        smallest_propensity=float(chance.min()),
        overlap=float((chance >= OVERLAP).mean()),
    )
