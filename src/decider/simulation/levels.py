"""The correlational learner: p(Y | x, message), from those who were sent the message, whoever chose them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.simulation.learner import Batch, Posterior
from decider_core.posterior import gram_update, solve
from decider_core.score import pack_posterior

OWN_SD = 0.05
"""How far a candidate's weights lie from those of all candidates together, a priori."""
POOLED_SD = 1.0
KEEP = 0.97
"""Share of what was learned that still counts an epoch later."""


class LevelLearner:
    """Linear regressions of the reward on ``[z, u]``, one per candidate, around one of all candidates.

    A candidate without data is believed to be like all. No set, no propensity and nobody who got nothing enters:
    it answers who watches after a message, and not who watches because of it.

    Parameters
    ----------
    n_candidates, n_features, n_pair_features
        K, d and p.
    """

    def __init__(self, n_candidates: int, n_features: int, n_pair_features: int) -> None:
        size = n_features + n_pair_features
        self._precision = np.zeros((n_candidates, size, size))
        self._information = np.zeros((n_candidates, size))
        self._n_pair_features = n_pair_features

    def prior(self) -> Posterior:
        """All candidates alike."""
        n_candidates, size = self._information.shape
        pooled = self._precision.sum(axis=0) + np.eye(size) / POOLED_SD**2
        centre, _ = solve(pooled, self._information.sum(axis=0))
        own = np.eye(size) / OWN_SD**2
        found = [
            solve(self._precision[k] + own, self._information[k] + own @ centre) for k in range(n_candidates)
        ]
        packed = pack_posterior(
            np.stack([mean for mean, _ in found]), np.stack([cov for _, cov in found]), self._n_pair_features
        )
        return Posterior(packed, np.zeros(size - self._n_pair_features, np.float32), 0.0)

    def fit(self, batch: Batch) -> Posterior:
        """Add every message sent as a row of its candidate."""
        self._precision *= KEEP
        self._information *= KEEP
        weight = 1.0 / max(float(batch.reward.var()), 1e-3)
        for k in range(self._information.shape[0]):
            rows = np.flatnonzero((batch.sets == k).any(axis=0))
            x = np.concatenate([batch.z[rows], batch.u[:, k, rows].T], axis=1)
            gram_update(
                self._precision[k], self._information[k], x, batch.reward[rows], _constant(weight, rows)
            )
        return self.prior()


def _constant(value: float, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.full(rows.size, value)
