"""What the log teaches: folds, reward models, learners, and the training that makes models of them."""

from decider.learning.correlational import correlational
from decider.learning.dr_learner import ArmPosterior, dr_learner
from decider.learning.folds import fold_of, split
from decider.learning.nuisances import cross_fit
from decider.learning.regression import LinearPosterior, fit
from decider.learning.ridge import Moments, moments, ridge
from decider.learning.train import Training, TrainSpec, half_of, train, train_on

__all__ = [
    "ArmPosterior",
    "LinearPosterior",
    "Moments",
    "TrainSpec",
    "Training",
    "correlational",
    "cross_fit",
    "dr_learner",
    "fit",
    "fold_of",
    "half_of",
    "moments",
    "ridge",
    "split",
    "train",
    "train_on",
]
