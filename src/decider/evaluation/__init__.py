"""What a policy is worth, from logs alone, with its uncertainty or a refusal."""

from decider.evaluation.effects import ArmEffect, AverageEffects, arm_effects, average_effects
from decider.evaluation.intervals import Estimate, Interval
from decider.evaluation.logged import FeedbackTable, Logged, member_keys_of, read_logged
from decider.evaluation.off_policy import PolicyValue, policy_value
from decider.evaluation.support import Limits, PropensityCheck, Support, check_propensities, support_of

__all__ = [
    "ArmEffect",
    "AverageEffects",
    "Estimate",
    "FeedbackTable",
    "Interval",
    "Limits",
    "Logged",
    "PolicyValue",
    "PropensityCheck",
    "Support",
    "arm_effects",
    "average_effects",
    "check_propensities",
    "member_keys_of",
    "policy_value",
    "read_logged",
    "support_of",
]
