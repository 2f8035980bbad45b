"""What the log teaches: folds, reward models, learners, and the training that makes models of them."""

from decider.learning.bases import Base, fit_base
from decider.learning.choice import Choice, choose
from decider.learning.correlational import correlational
from decider.learning.dr_learner import ArmPosterior, dr_learner
from decider.learning.folds import fold_of, split
from decider.learning.inclusion import Inclusion, explore_inclusion, simulated_inclusion
from decider.learning.instrument import ComplierEffect, two_stage, wald
from decider.learning.judging import Judging, saw_rows
from decider.learning.meta_learners import prognostic_learner, t_learner, x_learner
from decider.learning.nuisances import cross_fit
from decider.learning.panel import PanelEffect, panel_effect
from decider.learning.passes import Lessons, LogPasses, Survey
from decider.learning.r_learner import SetPosterior, r_learner, set_model
from decider.learning.regression import LinearPosterior, fit
from decider.learning.ridge import Moments, moments, ridge
from decider.learning.s_learner import s_learner
from decider.learning.set_sums import SetSums
from decider.learning.sets import SetRows
from decider.learning.train import Training, TrainSpec, half_of, train, train_on

__all__ = [
    "ArmPosterior",
    "Base",
    "Choice",
    "ComplierEffect",
    "Inclusion",
    "Judging",
    "Lessons",
    "LinearPosterior",
    "LogPasses",
    "Moments",
    "PanelEffect",
    "SetPosterior",
    "SetRows",
    "SetSums",
    "Survey",
    "TrainSpec",
    "Training",
    "choose",
    "correlational",
    "cross_fit",
    "dr_learner",
    "explore_inclusion",
    "fit",
    "fit_base",
    "fold_of",
    "half_of",
    "moments",
    "panel_effect",
    "prognostic_learner",
    "r_learner",
    "ridge",
    "s_learner",
    "saw_rows",
    "set_model",
    "simulated_inclusion",
    "split",
    "t_learner",
    "train",
    "train_on",
    "two_stage",
    "wald",
    "x_learner",
]
