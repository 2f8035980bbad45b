"""What a learner is to the simulation: it takes closed epochs in, one after another, and gives a posterior."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from decider.simulation.inclusion import Inclusion
from decider_core.score import PackedPosterior


class Posterior(NamedTuple):
    """What a policy believes: per candidate, Gaussian weights of ``[z, u]``; and how sets take off."""

    packed: PackedPosterior
    fatigue: NDArray[np.float32]
    """[d] weights v of phi = max(0, v'z)."""
    same_topic: float
    """rho, not negative."""


class Batch(NamedTuple):
    """Decisions of one epoch whose windows are closed, of n members."""

    epoch: int
    keys: NDArray[np.uint64]
    """[n] of the members: the units of cross-fitting."""
    z: NDArray[np.float32]
    """[n, d]"""
    u: NDArray[np.float32]
    """[p, K, n]"""
    reason: NDArray[np.uint8]
    """[K, n] 0 where the candidate was eligible."""
    sets: NDArray[np.int16]
    """[M, n] what was sent."""
    drawn: NDArray[np.bool_]
    """[n] whether the set was drawn at random, whatever the policy believed."""
    inclusion: Inclusion | None
    """What the sets were expected to hold; None where nobody knows."""
    reward: NDArray[np.float64]
    """[n]"""


class Learner(Protocol):
    """Learns in a closed loop."""

    def prior(self) -> Posterior:
        """What it believes before any data."""
        ...

    def fit(self, batch: Batch) -> Posterior:
        """Take in one more batch; what it believes now."""
        ...
