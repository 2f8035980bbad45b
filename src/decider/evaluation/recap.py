"""RECAP: how well a model ranks, by the rewards of logged actions weighed by one over their rank.

The paper's text was not at hand: what stands here is the formula as recalled from a talk. With rho the rank of
the logged action under the model's scores (1 is best) and p its propensity::

    recap             sum(r (1/rho) / p) / sum((1/rho) / p)
    recap normalised  the same with 1 / (rho H_K) for 1/rho, H_K = 1 + 1/2 + ... + 1/K, K actions in the row

What it is: the self-normalised value (SNIPS) of the random policy that takes each action with probability
proportional to one over its rank. So it is a metric of rankings, and no estimate of what the greedy policy
would earn: that is under-reported, since the policy it values takes the best action with probability 1/H_K
only (0.44 for 5 actions, 0.15 for 500). Rows with more actions weigh more, by H_K; the normalised form gives
every row the same weight, and is equal to the other where all rows have the same number of actions.

References
----------
.. [1] More et al., "Recap: Designing a more efficient estimator for off-policy evaluation in bandits with
       large action spaces", REVEAL workshop at RecSys 2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.logged import Logged
from decider.evaluation.rows import Terms
from decider_core.random import TIE, hash_string, pair_uniforms, stream_key

# Ties of ranks have nothing to do with ties under a price.
_RANKS = 1


def recap(scores: NDArray[np.float64], log: Logged, *, seed: int = 0) -> Terms:
    """``sum(r (1/rho) / p) / sum((1/rho) / p)``: see the head of this file for what it tells, and what not.

    Parameters
    ----------
    scores
        The model's score of every arm, float64 of shape [n, A], finite; larger is better. Only their order
        counts.
    log
        The log. Arms whose propensity is 0 in a row are not among the row's actions.
    seed
        The seed of the ties.
    """
    rank, _ = ranks(scores, log, seed=seed)
    weight = 1.0 / (rank * log.taken)
    return Terms(((weight * log.reward, weight),))


def recap_normalised(scores: NDArray[np.float64], log: Logged, *, seed: int = 0) -> Terms:
    """RECAP with 1 / (rho H_K) for 1 / rho: every row has the same weight, however many actions it has.

    Parameters are those of :func:`recap`.
    """
    rank, n_actions = ranks(scores, log, seed=seed)
    harmonic = np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, log.n_arms + 1))))
    weight = 1.0 / (rank * harmonic[n_actions] * log.taken)
    return Terms(((weight * log.reward, weight),))


def ranks(
    scores: NDArray[np.float64], log: Logged, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank the logged arm of every row among the arms that were possible there.

    Equal scores are ordered at random by a key of (seed, member, arm): a constant model ranks at random, not
    by the order of the arms.

    Returns
    -------
    rank : int64 of shape [n]
        1 for the best.
    n_actions : int64 of shape [n]
        How many arms were possible.
    """
    if scores.dtype != np.float64 or scores.shape != (log.n_rows, log.n_arms):
        rule = f"must be float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("scores", rule, f"{scores.dtype} of shape {scores.shape}")
    if not np.isfinite(scores).all():
        row, arm = (int(axis[0]) for axis in np.nonzero(~np.isfinite(scores)))
        raise InvalidInput.of("scores", "must be finite", float(scores[row, arm]), f"at row {row}, arm {arm}")
    possible = log.propensity > 0
    places = log.arm[:, None]
    own = np.take_along_axis(scores, places, axis=1)
    ahead = (scores > own) & possible
    equal = (scores == own) & possible
    if equal.sum() > log.n_rows:
        names = np.array([hash_string(arm) for arm in log.arms])
        ties = pair_uniforms(stream_key(seed, TIE, 0, _RANKS), log.member_keys, names).T
        ahead |= equal & (ties < np.take_along_axis(ties, places, axis=1))
    return 1 + ahead.sum(axis=1), possible.sum(axis=1)
