"""Policies proved on members: cells, assignment, and read-outs that may be looked at at any time."""

from decider.experiments.assignment import assign
from decider.experiments.effects import Effect, Looks, metric_effect
from decider.experiments.long_term import Alarm, LongTermReadOut
from decider.experiments.outcomes import MetricColumns, Outcomes, moments_of
from decider.experiments.ratios import GuardrailTest, RatioTest
from decider.experiments.readout import Comparison, ReadOut, read_out
from decider.experiments.spec import Experiment, load_experiment, load_experiments
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
    "assign",
    "fit_surrogates",
    "load_experiment",
    "load_experiments",
    "metric_effect",
    "moments_of",
    "read_out",
]
