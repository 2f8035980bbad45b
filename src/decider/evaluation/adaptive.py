"""Values from logs whose propensities were set by earlier rewards, as a learning policy sets them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import Estimate
from decider.evaluation.logged import Logged
from decider.evaluation.off_policy import probabilities
from decider.evaluation.rows import Terms, arm_rows
from decider.evaluation.sums import estimates_of
from decider.evaluation.support import Limits, support_of


def adaptive_value(
    policy: NDArray[np.int64] | NDArray[np.float64],
    log: Logged,
    batch: NDArray[np.int64],
    q_hat: NDArray[np.float64] | None = None,
    limits: Limits | None = None,
) -> Estimate:
    """Estimate a policy's value by DR with weights that keep the variance of batches alike.

    When propensities depend on earlier rewards, DR has no bias but its usual interval can be wrong: batches with
    small propensities rule the variance, and which ones those are is up to chance. With
    ``h_b = (mean over batch b of sum_a pi(a)^2 / p(a))^(-1/2)`` the estimate is
    ``sum(h (dm + w (r - q))) / sum(h)``, whose studentised error is normal for large logs.

    Parameters
    ----------
    policy
        As in :func:`decider.evaluation.policy_value`.
    log
        The log.
    batch
        The epoch of each row, int64 of shape [n]: within one, propensities do not depend on one another's
        rewards.
    q_hat
        The reward model's value of every arm for each row, learnt on earlier batches; None for IPS.
    limits
        Gates.

    Notes
    -----
    Members must not come back from batch to batch with rewards that depend on one another. The alternative is to
    judge on the explore stratum alone, whose propensities depend on nothing: ``log.rows(explored)``.

    References
    ----------
    .. [1] Zhan, Hadad, Hirshberg, Athey, "Off-policy evaluation via adaptive weighting with data from contextual
           bandits", KDD 2021, section 3 (StableVar); Hadad et al., PNAS 118, 2021.
    """
    if batch.dtype != np.int64 or batch.shape != (log.n_rows,):
        found = f"{batch.dtype} of shape {batch.shape}"
        raise InvalidInput.of("batch", f"must be int64 of shape ({log.n_rows},)", found)
    target = probabilities(policy, log)
    why = support_of(target, log).refusal(limits or Limits())
    if why:
        return Estimate.refuse(why)
    rows = arm_rows(target, log, q_hat)
    score = rows.weight * log.reward
    if q_hat is not None:
        dm, q_logged = rows.model
        score = dm + rows.weight * (log.reward - q_logged)
    spread = np.divide(np.square(target), log.propensity, out=np.zeros_like(target), where=target > 0).sum(
        axis=1
    )
    _, places = np.unique(batch, return_inverse=True)
    stable = 1.0 / np.sqrt(np.bincount(places, weights=spread) / np.bincount(places))
    h = stable[places]
    # No resamples: rows of an adaptive log are not exchangeable.
    return estimates_of({"value": Terms(((h * score, h),))}, log.member_keys, 0, 0)["value"]
