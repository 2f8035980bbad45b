"""The causal learner of the simulation: an R-learner on sets, plain and in one file.

With S drawn at random among the eligible, p_c the chance that S holds c and C its pairs of messages::

    Y - m(x) = sum_c (1{c in S} - p_c(x)) tau_c(x) - (C - E[C|x]) phi(x) - (P - E[P|x]) rho + noise

is linear in the weights of tau, phi and rho: a Gaussian update (DESIGN, section 3; after Nie and Wager, "Quasi-oracle
estimation of heterogeneous treatment effects", Biometrika 2021, equation 4, for sets). It learns from sets drawn at
random only; what a policy chose without chance differs from its expectation by nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.simulation.learner import Batch, Posterior
from decider.simulation.messages import Messages
from decider_core.counts import count_pairs
from decider_core.posterior import gram_update, solve
from decider_core.random import FOLD, stream_key, uniforms
from decider_core.score import pack_posterior

KEEP = 0.985
"""Share of what was learned that still counts an epoch later."""
SCALES = (0.25, 0.5, 1.0, 2.0)
"""Prior standard deviations tried, times those below; the evidence chooses, for constants and slopes apart."""
SET_SD = 0.01
"""Prior standard deviation of rho and of the constant of phi."""
_BLOCK = 8_192


class _Sd(NamedTuple):
    """Prior standard deviations of a weight, by what shares it: all candidates, a type, a message, none."""

    common: float = 0.02
    type: float = 0.02
    message: float = 0.02
    own: float = 0.01


class EffectLearner:
    """Posterior of tau, phi and rho, with types as parents of messages and messages of candidates.

    Parameters
    ----------
    messages
        The K candidates.
    n_features, n_pair_features
        d and p.
    parents
        False: candidates share nothing; each weight has the same prior variance all the same.
    """

    def __init__(
        self, messages: Messages, n_features: int, n_pair_features: int, parents: bool = True
    ) -> None:
        self._messages, self._d, self._p = messages, n_features, n_pair_features
        self._of_tau = messages.n * (n_features + n_pair_features)
        size = self._of_tau + n_features + 1
        self._precision, self._information = np.zeros((size, size)), np.zeros(size)
        kinship = _kinship(messages, parents)
        self._unshared = np.linalg.inv(kinship)
        self._log_unshared = float(-np.linalg.slogdet(kinship)[1])

    def prior(self) -> Posterior:
        """The posterior of what was taken in so far, under the prior of most evidence."""
        scales = max(
            ((level, slope) for level in SCALES for slope in SCALES), key=lambda pair: self._under(*pair)[0]
        )
        return self._unpack(*solve(self._under(*scales)[1], self._information))

    def fit(self, batch: Batch) -> Posterior:
        """Add one row for every member."""
        self._precision *= KEEP
        self._information *= KEEP
        residual = batch.reward - _expected_reward(batch)
        weight = 1.0 / max(float(np.mean(residual**2)), 1e-3)
        n = batch.keys.size
        for first in range(0, n, _BLOCK):
            rows = slice(first, min(first + _BLOCK, n))
            x = _design(batch, rows, self._messages.topic)
            gram_update(self._precision, self._information, x, residual[rows], np.full(x.shape[0], weight))
        return self.prior()

    def _under(self, level: float, slope: float) -> tuple[float, NDArray[np.float64]]:
        """Log evidence, but for a constant, and posterior precision under a prior of mean zero."""
        sd = np.full(self._d + self._p, slope / 3.0)
        sd[0] = level
        of_sets = SET_SD * np.append(np.where(np.arange(self._d) == 0, 1.0, slope / (3.0 * level)), 1.0)
        prior = np.zeros_like(self._precision)
        # The inverse of a Kronecker product is that of its factors, and its logarithm of volume their sum.
        prior[: self._of_tau, : self._of_tau] = np.kron(self._unshared, np.diag(sd**-2))
        np.fill_diagonal(prior[self._of_tau :, self._of_tau :], of_sets**-2)
        log_prior = sd.size * self._log_unshared - 2.0 * (
            self._messages.n * np.log(sd).sum() + np.log(of_sets).sum()
        )
        precision = self._precision + prior
        lower = np.linalg.cholesky(precision)
        fit = np.linalg.solve(lower, self._information)
        evidence = log_prior / 2.0 - np.log(np.diag(lower)).sum() + float(fit @ fit) / 2.0
        return float(evidence), precision

    def _unpack(self, mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> Posterior:
        n, size = self._messages.n, self._d + self._p
        blocks = covariance[: self._of_tau, : self._of_tau].reshape(n, size, n, size)
        own = np.ascontiguousarray(blocks[np.arange(n), :, np.arange(n), :])
        packed = pack_posterior(mean[: self._of_tau].reshape(n, size), own, self._p)
        v = mean[self._of_tau : -1].astype(np.float32)
        # A negative mean would say that a second message about a title gains: the response model has no such.
        return Posterior(packed, v, max(0.0, float(mean[-1])))


def _kinship(messages: Messages, parents: bool) -> NDArray[np.float64]:
    """f64[K, K] prior covariance of one weight between candidates, at scale 1."""
    sd = _Sd()
    variance = np.array(sd) ** 2
    if not parents:
        return np.asarray(np.eye(messages.n) * variance.sum())
    names = (np.zeros(messages.n), messages.type, messages.message, np.arange(messages.n))
    shared = [np.equal.outer(name, name) for name in names]
    return np.asarray(sum(v * same for v, same in zip(variance, shared, strict=True)), np.float64)


def _design(batch: Batch, rows: slice, topic: NDArray[np.int32]) -> NDArray[np.float64]:
    """The row of every member: what S holds less what it was expected to hold, times the features."""
    assert batch.inclusion is not None
    sets, each, z = batch.sets[:, rows], batch.inclusion.each[:, rows], batch.z[rows]
    n_candidates, n = each.shape
    centred = -each
    for row in sets:
        members = np.flatnonzero(row >= 0)
        centred[row[members], members] += 1.0
    x = np.empty((n, n_candidates, z.shape[1] + batch.u.shape[0]))
    x[:, :, : z.shape[1]] = centred.T[:, :, None] * z[:, None, :]
    for j, pair in enumerate(batch.u[:, :, rows]):
        x[:, :, z.shape[1] + j] = (centred * pair).T
    pairs, same = count_pairs(sets, topic)
    more_pairs, more_same = pairs - batch.inclusion.pairs[rows], same - batch.inclusion.same_topic[rows]
    return np.concatenate([x.reshape(n, -1), -more_pairs[:, None] * z, -more_same[:, None]], axis=1)


def _expected_reward(batch: Batch) -> NDArray[np.float64]:
    """m(x) = E[Y | x] of every member, from a regression on the other half of the members.

    Members whose set was drawn at random have one of their own: their rewards lie elsewhere. Whatever it misses
    widens the noise and biases nothing, since the rows are centred.
    """
    x = np.concatenate([batch.z, batch.z[:, 1:] ** 2], axis=1).astype(np.float64)
    first = uniforms(stream_key(batch.epoch, FOLD), batch.keys) < 0.5
    m = np.empty(batch.keys.size)
    for of_kind in (batch.drawn, ~batch.drawn):
        for fold in (first, ~first):
            here, there = fold & of_kind, ~fold & of_kind
            gram = x[there].T @ x[there] + np.eye(x.shape[1])
            m[here] = x[here] @ np.linalg.solve(gram, x[there].T @ batch.reward[there])
    return m
