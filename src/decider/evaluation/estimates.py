"""What is found of a judged policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from decider.evaluation.intervals import Estimate
from decider.evaluation.support import Support
from decider.evaluation.thresholds import Thresholds


@dataclass(frozen=True)
class PolicyEstimates:
    """A policy's value per row by several estimators, and that value less the value of sending nothing.

    Parameters
    ----------
    values
        By estimator.
    incremental
        By estimator: the same, less that of the control for everyone, on the same rows and resamples.
    thresholds
        By estimator, of those that have one: what was chosen for the policy, and by which rule.
    support, control_support
        How well the log covers the policy, and the control.
    sample_ratio
        Probability that arms come as unevenly as they did, if the logged propensities are true.
    """

    values: dict[str, Estimate]
    incremental: dict[str, Estimate]
    thresholds: dict[str, Thresholds]
    support: Support
    control_support: Support
    sample_ratio: float


class JudgedPolicy(NamedTuple):
    """What one policy would earn, and what it would use up.

    Parameters
    ----------
    found
        By the reward.
    volume, cost
        Sends and cost per row.
    harm
        By the harm, such as opt-outs, where the rows have one.
    """

    found: PolicyEstimates
    volume: Estimate
    cost: Estimate
    harm: PolicyEstimates | None
