"""The correlational model, ``p(Y | x, message)``: a baseline that takes what happens anyway for effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.evaluation import Logged
from decider.learning.dr_learner import ArmPosterior, arm_posterior
from decider.learning.nuisances import MINIMUM_ROWS
from decider.learning.regression import fit


def correlational(log: Logged, z: NDArray[np.float32]) -> list[ArmPosterior]:
    """Learn the level of the reward after every arm but the control.

    A linear model in z on the rows of that arm alone. It uses neither propensities nor the control, which is
    what makes it correlational: where members were chosen for a message its level is that of the chosen.

    Parameters
    ----------
    log
        The log; n rows.
    z
        Mapped features, float32 of shape [n, d], the first column ones.

    Returns
    -------
    list of ArmPosterior
        In the order of the arms, the control left out.

    Raises
    ------
    InvalidInput
        If an arm has too few rows or members, or its reward does not vary, so that nothing says how sure its
        level is.
    """
    broken = []
    for code, arm in enumerate(log.arms):
        reward = log.reward[log.arm == code]
        if code != log.control and len(reward) < MINIMUM_ROWS:
            rule = f"must have at least {MINIMUM_ROWS} rows"
            broken.append(Violation(f"arm {arm!r}", f"{rule}, got {len(reward)}"))
        elif code != log.control and (reward == reward[0]).all():
            rule = f"must vary among the rows of arm {arm!r}"
            broken.append(Violation(f"y:{log.reward_name}", f"{rule}, got {reward[0]} in all {len(reward)}"))
    if broken:
        raise InvalidInput(broken)
    learnt = []
    for code, arm in enumerate(log.arms):
        if code != log.control:
            rows = np.flatnonzero(log.arm == code)
            posterior = fit(z[rows], log.reward[rows], log.member_keys[rows])
            learnt.append(arm_posterior(arm, posterior, z[rows], 0))
    return learnt
