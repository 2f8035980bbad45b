"""Doubly robust and X-learner effects against EconML's, on the same folds and the same nuisance models."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from decider.learning.dr_learner import dr_learner
from decider.learning.meta_learners import x_learner
from tests.learning.known_world import members_at, simulated

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    dr = pytest.importorskip("econml.dr")
    metalearners = pytest.importorskip("econml.metalearners")

pytestmark = pytest.mark.filterwarnings("ignore")
N_ARMS = 3


class ByArm:
    """A line for every arm, as a regression on features and the arms' indicators (the control left out)."""

    def fit(self, x, y):
        code = _codes(x)
        self.lines = [LinearRegression().fit(x[code == a, : 1 - N_ARMS], y[code == a]) for a in range(N_ARMS)]
        return self

    def predict(self, x):
        each = np.stack([line.predict(x[:, : 1 - N_ARMS]) for line in self.lines])
        return each[_codes(x), np.arange(len(x))]


class Even:
    """The design: each of so many arms as likely as any other."""

    def __init__(self, n_arms):
        self.n_arms = n_arms

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return np.full((len(x), self.n_arms), 1.0 / self.n_arms)


def _codes(x):
    treated = x[:, 1 - N_ARMS :]
    return np.where(treated.any(axis=1), treated.argmax(axis=1) + 1, 0)


def mapped(x):
    return np.column_stack([np.ones(len(x)), x]).astype(np.float32)


def cross_fitted(log, splits):
    q_hat = np.empty((log.n_rows, N_ARMS))
    for train, test in splits:
        for arm in range(N_ARMS):
            rows = train[log.arm[train] == arm]
            q_hat[test, arm] = LinearRegression().fit(log.x[rows], log.reward[rows]).predict(log.x[test])
    return q_hat


def believed(learnt, x):
    return np.stack([mapped(x).astype(np.float64) @ arm.posterior.mean for arm in learnt], axis=1)


def test_dr_learner_effects_are_econmls():
    log, ask = simulated(5, n=20_000), members_at(2_000)
    fold = np.arange(log.n_rows) % 5
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(5)]
    oracle = dr.LinearDRLearner(
        model_propensity=Even(N_ARMS), model_regression=ByArm(), cv=splits, random_state=0
    )
    oracle.fit(log.reward, log.arm, X=log.x.astype(np.float64))
    theirs = np.stack([oracle.effect(ask.astype(np.float64), T0=0, T1=arm) for arm in (1, 2)], axis=1)
    ours = believed(dr_learner(log, mapped(log.x), q_hat=cross_fitted(log, splits)), ask)
    for arm in range(2):
        assert np.corrcoef(ours[:, arm], theirs[:, arm])[0, 1] > 0.999
    # The one thing ours does beside: it pulls slopes to zero, by a scale that the data choose.
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.04 * theirs.std()


def test_x_learner_effects_are_econmls():
    log, ask = simulated(6, n=20_000), members_at(2_000)
    oracle = metalearners.XLearner(models=LinearRegression(), propensity_model=Even(2))
    oracle.fit(log.reward, log.arm, X=log.x.astype(np.float64))
    theirs = np.stack([oracle.effect(ask.astype(np.float64), T0=0, T1=arm) for arm in (1, 2)], axis=1)
    everything = np.arange(log.n_rows)
    q_hat = cross_fitted(log, [(everything, everything)])
    ours = believed(x_learner(log, mapped(log.x), q_hat), ask)
    for arm in range(2):
        assert np.corrcoef(ours[:, arm], theirs[:, arm])[0, 1] > 0.999
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.04 * theirs.std()
