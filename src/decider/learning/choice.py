"""Which learner, for which message: the simplest that held-out rows do not speak against.

Learners are fitted without one fold of members after another and judged there by the doubly robust loss, the
squared distance of an effect from the pseudo-outcome whose mean is the effect whatever the nuisances [1]_.

1. For each message, of the learners whose effects vary freely, the one of least loss is found, and of those
   whose loss is within one standard error of the paired difference the simplest is taken. Each message has its
   own choice: the effects of one may go with what members do anyway while another's depend on what they like.
2. Is it supported that effects vary at all? The losses of these choices, summed over the messages, must be
   below those of the first learner (one coefficient a message) by more than a standard error. If not, the
   first learner is taken for all of them, and the facts say so.

The second question is asked of all messages at once, for one message alone seldom has the rows to answer it.

References
----------
.. [1] Kennedy, "Towards optimal doubly robust estimation of heterogeneous causal effects", 2023. Breiman et
       al., "Classification and regression trees", 1984, section 3.4.3 (the rule of one standard error).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation import Logged
from decider.evaluation.intervals import clustered_error
from decider.learning.bases import Base
from decider.learning.dr_learner import ArmPosterior, dr_learner, pseudo_outcome
from decider.learning.folds import fold_of
from decider.learning.meta_learners import prognostic_learner, t_learner, x_learner
from decider.learning.nuisances import cross_fit
from decider.learning.s_learner import better_base, s_learner
from decider.learning.threads import one_thread

ORDER: Final = ("s_learner", "prognostic", "dr_prognostic", "x_learner", "dr_learner", "t_learner", "dr_gbdt")
"""The candidates, the simplest first: one coefficient a message; two; slopes that are pulled to the prognosis, to
zero from both sides, to zero; two lines; and nuisances of another kind."""

_INNER: Final = 1_000_003
"""Added to the seed, so that folds within folds are drawn apart."""


class Choice(NamedTuple):
    """What was chosen.

    Parameters
    ----------
    arms
        The posteriors of the learners chosen, from all rows, in the order of the arms.
    facts
        As JSON values: the learner of each arm, and every learner's held-out loss less the least, with the
        standard error of the difference.
    """

    arms: list[ArmPosterior]
    facts: dict[str, Any]


def choose(
    log: Logged, z: NDArray[np.float32], *, n_folds: int = 5, seed: int = 0, order: tuple[str, ...] = ORDER
) -> Choice:
    """Judge all learners and learn with the ones that are chosen.

    Parameters
    ----------
    log
        n rows.
    z
        float32 of shape [n, d], the first column ones.
    n_folds, seed
        Folds over members, for judging and for nuisances.
    order
        The candidates, the simplest first.
    """
    with one_thread():
        return _choose(log, z, n_folds, seed, order)


def _choose(log: Logged, z: NDArray[np.float32], n_folds: int, seed: int, order: tuple[str, ...]) -> Choice:
    unknown = [name for name in order if name not in ORDER]
    if unknown or not order:
        raise InvalidInput.of("order", f"must be of {list(ORDER)}", list(order))
    fold = fold_of(log.member_keys, n_folds, seed)
    base, base_errors = better_base(log, z, fold, n_folds)
    treated = [code for code in range(log.n_arms) if code != log.control]
    # Judged by pseudo-outcomes that no row's own member had a part in.
    q_hat = cross_fit(log, z, fold, n_folds)
    possible = [(log.propensity[:, code] > 0) & (log.propensity[:, log.control] > 0) for code in treated]
    outcome = np.zeros((log.n_rows, len(treated)))
    for j, code in enumerate(treated):
        rows = np.flatnonzero(possible[j])
        outcome[rows, j] = pseudo_outcome(log.rows(rows), q_hat[rows], code)
    predicted = {name: np.empty((log.n_rows, len(treated))) for name in order}
    for f in range(n_folds):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        learnt = learn_all(log.rows(train), z[train], n_folds, seed + _INNER, base, order)
        for name, arms in learnt.items():
            mean = np.stack([arm.posterior.mean for arm in arms])
            predicted[name][test] = z[test].astype(np.float64) @ mean.T
    whole = learn_all(log, z, n_folds, seed, base, order)
    losses = [
        {name: np.where(possible[j], (outcome[:, j] - predicted[name][:, j]) ** 2, 0.0) for name in order}
        for j in range(len(treated))
    ]
    picked: list[str] = []
    facts: dict[str, dict[str, Any]] = {}
    varying = tuple(name for name in order if name != order[0]) or order
    for j, code in enumerate(treated):
        rows = np.flatnonzero(possible[j])
        name, _ = _simplest({n: losses[j][n][rows] for n in varying}, varying, log.member_keys[rows])
        _, table = _simplest({n: losses[j][n][rows] for n in order}, order, log.member_keys[rows])
        picked.append(name)
        facts[log.arms[code]] = {"learner": name, "losses": table}
    gain = np.sum([losses[j][order[0]] - losses[j][name] for j, name in enumerate(picked)], axis=0)
    supported = _excess(gain, log.member_keys)
    if supported["excess"] <= supported["standard_error"]:
        picked = [order[0]] * len(treated)
        for fact in facts.values():
            fact["learner"] = order[0]
    chosen = [whole[name][j] for j, name in enumerate(picked)]
    return Choice(
        chosen,
        {
            "base": base,
            "base_errors": base_errors,
            "order": list(order),
            "over_simplest": supported,
            "arms": facts,
        },
    )


def learn_one(log: Logged, z: NDArray[np.float32], name: str, n_folds: int, seed: int) -> list[ArmPosterior]:
    """Fit one learner by name, with the base that predicts the reward better where it has a choice."""
    base: Base = "linear"
    if name == "s_learner":
        base, _ = better_base(log, z, fold_of(log.member_keys, n_folds, seed), n_folds)
    return learn_all(log, z, n_folds, seed, base, (name,))[name]


def learn_all(
    log: Logged, z: NDArray[np.float32], n_folds: int, seed: int, base: Base, order: tuple[str, ...]
) -> dict[str, list[ArmPosterior]]:
    """Fit every learner that is named; they share their nuisances."""
    fold = fold_of(log.member_keys, n_folds, seed)
    q_hat = cross_fit(log, z, fold, n_folds)
    learnt = {}
    for name in order:
        if name == "s_learner":
            learnt[name] = s_learner(log, z, base)
        elif name == "prognostic":
            learnt[name] = prognostic_learner(log, z, q_hat, slopes=False)
        elif name == "dr_prognostic":
            learnt[name] = prognostic_learner(log, z, q_hat, slopes=True)
        elif name == "x_learner":
            learnt[name] = x_learner(log, z, q_hat)
        elif name == "t_learner":
            learnt[name] = t_learner(log, z)
        elif name == "dr_learner":
            learnt[name] = dr_learner(log, z, q_hat=q_hat)
        else:
            trees = cross_fit(log, z, fold, n_folds, "gbdt", seed)
            learnt[name] = dr_learner(log, z, q_hat=trees)
    return learnt


def _simplest(
    losses: dict[str, NDArray[np.float64]], order: tuple[str, ...], member_keys: NDArray[np.uint64]
) -> tuple[str, dict[str, dict[str, float]]]:
    """Take the first in `order` whose loss is within a standard error of the least."""
    best = min(order, key=lambda name: float(losses[name].mean()))
    table = {name: _excess(losses[name] - losses[best], member_keys) for name in order}
    # The best is within any error of itself, so there is one.
    chosen = next(name for name in order if table[name]["excess"] <= table[name]["standard_error"])
    return chosen, table


def _excess(apart: NDArray[np.float64], member_keys: NDArray[np.uint64]) -> dict[str, float]:
    mean = float(apart.mean())
    return {"excess": mean, "standard_error": clustered_error(apart - mean, member_keys)}
