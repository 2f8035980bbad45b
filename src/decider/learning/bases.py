"""Base models: what predicts a reward from z where a learner needs a prediction and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier, MLPRegressor

from decider.errors import InvalidInput
from decider.learning.evidence import Scales, learn_scales
from decider.learning.ridge import moments, ridge

Base = Literal["linear", "logistic", "gbdt", "neural"]

Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From z, float32 of shape [n, d], to expected rewards, float64 of shape [n]."""

_MAX_STEPS: Final = 50
_SMALL_CHANGE: Final = 1e-8


def fit_base(base: Base, z: NDArray[np.float32], y: NDArray[np.float64], seed: int = 0) -> Predict:
    """Fit a base model.

    Parameters
    ----------
    base
        ``linear``: ridge, its pull learnt. ``logistic``: for rewards of 0 and 1, its pull learnt. ``gbdt``:
        LightGBM with small trees. ``neural``: one hidden layer with early stopping. The last two predict
        probabilities where all rewards are 0 or 1.
    z
        float32 of shape [n, d], its first column ones, the others standardised.
    y
        float64 of shape [n].
    seed
        Of what is random in ``gbdt`` and ``neural``.

    Raises
    ------
    InvalidInput
        If ``logistic`` is asked of other rewards.
    """
    if (y == y[0]).all():
        return lambda rows: np.full(len(rows), y[0])
    if base == "linear":
        coefficients = ridge(moments(z, y))
        return lambda rows: rows.astype(np.float64) @ coefficients
    if base == "logistic":
        mean = fit_logistic(z.astype(np.float64), y, _one_scale(z.shape[1])).mean
        return lambda rows: sigmoid(rows.astype(np.float64) @ mean)
    if base == "gbdt":
        return _fit_gbdt(z, y, seed)
    return _fit_neural(z, y, seed)


def is_binary(y: NDArray[np.float64]) -> bool:
    """Whether all rewards are 0 or 1."""
    return bool(((y == 0) | (y == 1)).all())


def sigmoid(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``1 / (1 + exp(-t))``, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * t)))


def fit_logistic(x: NDArray[np.float64], y: NDArray[np.float64], group: NDArray[np.int64]) -> Scales:
    """Learn the coefficients of ``logit P(y = 1) = x . w``, with a scale for every group.

    At each step the log likelihood is taken for its parabola at the mode, and scales are learnt from that as
    :func:`decider.learning.evidence.learn_scales` does (Laplace's approximation).

    Parameters
    ----------
    x
        float64 of shape [n, D], its first column ones.
    y
        Of 0 and 1, float64 of shape [n].
    group
        Group of each coefficient, -1 for a free one, int64 of shape [D].

    Raises
    ------
    InvalidInput
        If a reward is neither 0 nor 1.
    """
    if not is_binary(y):
        row = int(np.flatnonzero((y != 0) & (y != 1))[0])
        raise InvalidInput.of("y", "must be 0 or 1 for a logistic model", float(y[row]), f"at row {row}")
    share = np.clip(y.mean(), 0.5 / len(y), 1 - 0.5 / len(y))
    mean = np.zeros(x.shape[1])
    mean[0] = np.log(share / (1 - share))
    for _ in range(_MAX_STEPS):
        log_odds = x @ mean
        chance = np.clip(sigmoid(log_odds), 1e-9, 1 - 1e-9)
        weight = chance * (1 - chance)
        working = log_odds + (y - chance) / weight
        scaled = x * np.sqrt(weight)[:, None]
        # A free coefficient may make the odds a thousandfold; that is as good as free.
        found = learn_scales(
            scaled.T @ scaled,
            scaled.T @ (np.sqrt(weight) * working),
            float(weight @ working**2),
            len(y),
            group,
            50.0,
            noise_variance=1.0,
        )
        change = float(np.abs(found.mean - mean).max())
        mean = found.mean
        if change < _SMALL_CHANGE:
            break
    return found


def _one_scale(n_coefficients: int) -> NDArray[np.int64]:
    group = np.zeros(n_coefficients, np.int64)
    group[0] = -1
    return group


def _fit_gbdt(z: NDArray[np.float32], y: NDArray[np.float64], seed: int) -> Predict:
    binary = is_binary(y)
    options = {
        "objective": "binary" if binary else "regression",
        "num_leaves": 8,
        "learning_rate": 0.05,
        "min_data_in_leaf": max(20, len(y) // 200),
        "lambda_l2": 10.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(z[:, 1:], y, params={"verbose": -1}) if z.shape[1] > 1 else None
    if data is None:
        return lambda rows: np.full(len(rows), y.mean())
    trees = lightgbm.train(options, data, num_boost_round=80)
    return lambda rows: np.asarray(trees.predict(rows[:, 1:], num_threads=1), np.float64)


def _fit_neural(z: NDArray[np.float32], y: NDArray[np.float64], seed: int) -> Predict:
    options = {
        "hidden_layer_sizes": (16,),
        "alpha": 1e-2,
        "early_stopping": len(y) >= 200,
        "max_iter": 100,
        "tol": 1e-4 * float(y.std()),
        "n_iter_no_change": 5,
        "batch_size": min(256, len(y)),
        "random_state": seed,
    }
    with np.errstate(all="ignore"):
        if is_binary(y):
            classifier = MLPClassifier(**options)
            _quietly_fit(classifier, z, y.astype(np.int64))
            return lambda rows: np.asarray(classifier.predict_proba(rows)[:, 1], np.float64)
        centre, scale = float(y.mean()), float(y.std())
        regressor = MLPRegressor(**options)
        _quietly_fit(regressor, z, (y - centre) / scale)
    return lambda rows: centre + scale * np.asarray(regressor.predict(rows), np.float64)


def _quietly_fit(model: MLPClassifier | MLPRegressor, z: NDArray[np.float32], y: NDArray[np.generic]) -> None:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Stopping early is meant: the last steps fit noise.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(z, y)
