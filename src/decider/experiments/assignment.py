"""Which cell a member is in: a function of the experiment's salt and the member's key, and of nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.experiments.spec import Experiment
from decider_core.random import CELL, HOLDOUT, hash_string, stream_key, uniforms


def assign(experiment: Experiment, member_keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Give the code of each member's cell; 0 is the holdout.

    Parameters
    ----------
    experiment
        Its salts and shares decide.
    member_keys
        uint64 of shape [n].

    Notes
    -----
    The holdout has a salt of its own, so it lasts from experiment to experiment; among the others the cells are
    drawn without regard to it. A member keeps the cell for good: no date and no batch enters.
    """
    stays_out = uniforms(_stream(experiment.holdout_salt, HOLDOUT), member_keys) < experiment.holdout
    ends = np.cumsum([cell.share for cell in experiment.cell])
    # The last end is 1 but for rounding.
    dice = uniforms(_stream(experiment.salt, CELL), member_keys)
    cells = 1 + np.searchsorted(ends[:-1], dice, side="right")
    return np.where(stays_out, 0, cells).astype(np.uint8)


def _stream(salt: str, stream: int) -> np.uint64:
    return stream_key(int(hash_string(salt)), stream)
