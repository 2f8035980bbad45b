"""What a policy is worth, from logs alone, with its uncertainty or a refusal."""

from decider.evaluation.adaptive import adaptive_value
from decider.evaluation.constraints import volume_and_cost
from decider.evaluation.effects import ArmEffect, AverageEffects, arm_effects, average_effects
from decider.evaluation.estimates import JudgedPolicy, PolicyEstimates
from decider.evaluation.estimators import ESTIMATORS
from decider.evaluation.frontier import (
    Frontier,
    FrontierPoint,
    FrontierSpec,
    frontier,
    frontier_in_passes,
)
from decider.evaluation.intervals import Estimate, Interval
from decider.evaluation.judge import judge_policies, judge_policy
from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider.evaluation.off_policy import PolicyValue, policy_value
from decider.evaluation.passes import JudgedChunk, JudgeSpec
from decider.evaluation.propensities import (
    PropensityBin,
    PropensityCheck,
    check_propensities,
    propensity_bins,
    sample_ratio,
)
from decider.evaluation.reading import FeedbackTable, logged_chunks, member_keys_of, read_logged
from decider.evaluation.recap import recap, recap_normalised
from decider.evaluation.sets import LoggedSets
from decider.evaluation.support import Limits, Support, support_of
from decider.evaluation.uplift import UpliftJudgement, judge_uplift

__all__ = [
    "ESTIMATORS",
    "ArmEffect",
    "AverageEffects",
    "Estimate",
    "FeedbackTable",
    "Frontier",
    "FrontierPoint",
    "FrontierSpec",
    "Interval",
    "JudgeSpec",
    "JudgedChunk",
    "JudgedPolicy",
    "Limits",
    "Logged",
    "LoggedSets",
    "MemberCount",
    "PolicyEstimates",
    "PolicyValue",
    "PropensityBin",
    "PropensityCheck",
    "Support",
    "UpliftJudgement",
    "adaptive_value",
    "arm_effects",
    "average_effects",
    "check_propensities",
    "frontier",
    "frontier_in_passes",
    "judge_policies",
    "judge_policy",
    "judge_uplift",
    "logged_chunks",
    "member_keys_of",
    "policy_value",
    "propensity_bins",
    "read_logged",
    "recap",
    "recap_normalised",
    "sample_ratio",
    "support_of",
    "volume_and_cost",
]
