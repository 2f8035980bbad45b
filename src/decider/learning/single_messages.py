"""The R-learner on logs of single messages: every arm a set of one, all effects in one posterior.

Where the other learners of such logs take each arm against the control by itself, this one has all arms in one
regression: arms of one type share its coefficients, and a new message starts from its type. Of fatigue and of two
messages about one topic such a log says nothing: the model has none of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decider.evaluation import Logged
from decider.learning.folds import fold_of
from decider.learning.nuisances import cross_fit
from decider.learning.r_learner import SetPosterior, r_learner
from decider.learning.set_sums import SetSums
from decider.learning.sets import SetRows


def r_learner_of_arms(
    log: Logged,
    z: NDArray[np.float32],
    types: Mapping[str, str] | None = None,
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> SetPosterior:
    """Learn the incrementality of every arm but the control.

    Parameters
    ----------
    log
        n rows, A arms.
    z
        Mapped features, float32 of shape [n, d], the first column ones.
    types
        Message type by arm; arms without one share a parent that has no name.
    n_folds, seed
        Folds over members of what is expected of the reward, ``m(x) = sum_a p_a(x) q_a(x)``.

    Raises
    ------
    InvalidInput
        If an arm has too few rows, there are too few for the features, or the reward does not vary.

    Notes
    -----
    Rows of one member count as if their noise were apart: where members have many rows, errors are larger than it
    says.
    """
    arms = [code for code in range(log.n_arms) if code != log.control]
    q_hat = cross_fit(log, z, fold_of(log.member_keys, n_folds, seed), n_folds)
    place = np.full(log.n_arms, -1, np.int16)
    place[arms] = np.arange(len(arms))
    rows = SetRows(
        place[log.arm][None],
        log.reward,
        np.ascontiguousarray(log.propensity[:, arms].T),
        np.zeros(log.n_rows),
        np.zeros(log.n_rows),
        z,
        baseline=(log.propensity * q_hat).sum(axis=1),
    )
    # No two messages ever met, so each may as well have a topic of its own.
    sums = SetSums([log.arms[code] for code in arms], np.arange(len(arms), dtype=np.int32), z.shape[1])
    sums.add(rows)
    return r_learner(sums, types)


def facts_of(posterior: SetPosterior, log: Logged) -> dict[str, Any]:
    """What a model keeps of it, as JSON values."""
    known = {
        name: value
        for name, value in posterior.facts.items()
        if name not in ("n_rows", "same_topic", "candidates")
    }
    return known | {
        "arms": {
            arm: {
                "n_rows": log.n_rows,
                "n_without_support": int((log.propensity[:, log.arms.index(arm)] == 0.0).sum()),
                "average": float(posterior.average[j]),
                "average_sd": float(posterior.average_sd[j]),
                "noise_variance": posterior.facts["noise_variance"],
                "n_given": posterior.facts["candidates"][arm]["n_sent"],
            }
            for j, arm in enumerate(posterior.candidates)
        }
    }
