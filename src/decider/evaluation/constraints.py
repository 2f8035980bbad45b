"""What a policy uses up: volume and cost, with intervals as its rewards have. Opt-outs are a reward like another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import Estimate
from decider.evaluation.logged import Logged
from decider.evaluation.off_policy import probabilities
from decider.evaluation.rows import Terms
from decider.evaluation.sums import estimates_of

F64 = NDArray[np.float64]


def volume_and_cost(
    policy: NDArray[np.int64] | F64,
    log: Logged,
    cost: F64 | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[Estimate, Estimate]:
    """Give sends and cost per row, had the policy decided; only the draw of members makes them uncertain.

    Parameters
    ----------
    policy
        As in :func:`decider.evaluation.policy_value`.
    log
        Its rows are whom the policy meets.
    cost
        Cost of every arm, float64 of shape [A], >= 0; by default 1 for a message and 0 for none.
    n_resamples, seed
        Of the bootstrap over members.
    """
    found = estimates_of(uses(probabilities(policy, log), log, cost), log.member_keys, n_resamples, seed)
    return found["volume"], found["cost"]


def uses(target: F64, log: Logged, cost: F64 | None = None) -> dict[str, Terms]:
    """Give volume and cost of a policy's probabilities, float64 of shape [n, A], as terms."""
    volume = Terms(((1.0 - target[:, log.control], None),))
    if cost is None:
        # One column, and so one sum of it.
        return {"volume": volume, "cost": volume}
    if cost.dtype != np.float64 or cost.shape != (log.n_arms,) or not (cost >= 0).all():
        raise InvalidInput.of(
            "cost", f"must be float64 of shape ({log.n_arms},), none below 0", cost.tolist()
        )
    return {"volume": volume, "cost": Terms(((target @ cost, None),))}
