"""What the log teaches: folds, reward models, learners, and the training that makes models of them."""

from decider.learning.correlational import correlational
from decider.learning.dr_learner import ArmPosterior, dr_learner
from decider.learning.folds import fold_of, split
from decider.learning.inclusion import Inclusion, explore_inclusion, simulated_inclusion
from decider.learning.nuisances import cross_fit
from decider.learning.r_learner import SetPosterior, r_learner, set_model
from decider.learning.regression import LinearPosterior, fit
from decider.learning.ridge import Moments, moments, ridge
from decider.learning.set_sums import SetSums
from decider.learning.sets import SetRows
from decider.learning.train import Training, TrainSpec, half_of, train, train_on

__all__ = [
    "ArmPosterior",
    "Inclusion",
    "LinearPosterior",
    "Moments",
    "SetPosterior",
    "SetRows",
    "SetSums",
    "TrainSpec",
    "Training",
    "correlational",
    "cross_fit",
    "dr_learner",
    "explore_inclusion",
    "fit",
    "fold_of",
    "half_of",
    "moments",
    "r_learner",
    "ridge",
    "set_model",
    "simulated_inclusion",
    "split",
    "train",
    "train_on",
]
