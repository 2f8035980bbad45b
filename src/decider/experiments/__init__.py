"""Policies proved on members: cells, assignment, and read-outs that may be looked at at any time."""

from decider.experiments.effects import Effect, Looks, metric_effect
from decider.experiments.from_feedback import outcomes_of_feedback
from decider.experiments.from_log import outcomes_of_log
from decider.experiments.load import load_experiment, load_experiments
from decider.experiments.long_term import Alarm, LongTermReadOut
from decider.experiments.outcomes import MetricColumns, Outcomes, moments_of
from decider.experiments.ratios import GuardrailTest, RatioTest
from decider.experiments.readout import Comparison, ReadOut, read_out
from decider.experiments.spec import Experiment
from decider.experiments.surrogates import SurrogateIndex, fit_surrogates

__all__ = [
    "Alarm",
    "Comparison",
    "Effect",
    "Experiment",
    "GuardrailTest",
    "LongTermReadOut",
    "Looks",
    "MetricColumns",
    "Outcomes",
    "RatioTest",
    "ReadOut",
    "SurrogateIndex",
    "fit_surrogates",
    "load_experiment",
    "load_experiments",
    "metric_effect",
    "moments_of",
    "outcomes_of_feedback",
    "outcomes_of_log",
    "read_out",
]
