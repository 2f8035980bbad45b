"""What a model must pass before it decides."""

from __future__ import annotations

import numpy as np

from decider.errors import InvalidInput
from decider.evaluation import Estimate
from decider.learning.r_learner import SetPosterior
from decider.loop.judge import better_by
from decider.loop.learn import Learner
from decider.loop.outcomes import Outcomes
from decider.loop.spec import Gates
from decider.models import UpliftModel


def refusal(gates: Gates, n_rows: int, posterior: SetPosterior, better: Estimate | None) -> str:
    """The first gate that is not passed, in words; empty where all are.

    Parameters
    ----------
    gates
        The loop's.
    n_rows
        Decisions drawn at random that were learned from.
    posterior
        What was learned.
    better
        See :func:`against`.
    """
    if n_rows < gates.rows:
        return f"rows must be at least {gates.rows}, got {n_rows}"
    widest = int(np.argmax(posterior.average_sd))
    if not posterior.average_sd[widest] <= gates.largest_sd:
        name, sd = posterior.candidates[widest], float(posterior.average_sd[widest])
        return f"largest_sd must be at most {gates.largest_sd}, got {sd:.4g} for {name}"
    if better is not None and better.normal is not None and better.normal.high < 0.0:
        low, high = better.normal
        found = f"{better.value:.4g} [{low:.4g}, {high:.4g}] a member"
        return f"no_worse: the sets of the model that decides must not be worth more, got {found}"
    return ""


def against(old: UpliftModel, new: UpliftModel, learner: Learner, outcomes: Outcomes) -> Estimate:
    """By how much the new model's sets are worth more than those of the model that decides; see :func:`better_by`."""
    if new.version == old.version:
        return Estimate.refuse("it is the model that decides")
    try:
        crossed = learner.crossed(new.name)
    except InvalidInput as error:
        return Estimate.refuse(f"of half of the members: {error}")
    return better_by(outcomes, crossed, old)
