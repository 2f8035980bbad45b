"""Policies over the rows of a log: what each would do, as a probability of every arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from decider.errors import UnknownName, Violation
from decider.evaluation.logged import Logged
from decider.models import UpliftModel
from decider_core.price import Price, RateHistogram, price_in_passes
from decider_core.score import posterior_moments

Target = NDArray[np.float64]
"""Probability of every arm for every row, float64 of shape [n, A]."""


def constant(log: Logged, arm: int) -> Target:
    """Give one arm to everybody."""
    target = np.zeros((log.n_rows, log.n_arms))
    target[:, arm] = 1.0
    return target


def random_at_volume(log: Logged, share: float) -> Target:
    """Send with probability `share`, any message as likely as another."""
    target = np.full((log.n_rows, log.n_arms), share / (log.n_arms - 1))
    target[:, log.control] = 1.0 - share
    return target


def best_at_volume(log: Logged, predicted: NDArray[np.float64], share: float) -> Target:
    """Send each row the message of the largest prediction; at most `share` of rows, the largest first.

    Parameters
    ----------
    log
        n rows.
    predicted
        What :func:`predicted_effects` gives, float64 of shape [n, A]; the control's is not looked at.
    share
        In [0, 1]; ``floor(share * n)`` rows at most, and none whose prediction is not above 0.
    """
    return best_above(log, predicted, volume_price(lambda: [(log, predicted)], int(share * log.n_rows)))


def volume_price(
    passes: Callable[[], Iterable[tuple[Logged, NDArray[np.float64]]]],
    volume: int,
    counted: RateHistogram | None = None,
) -> Price:
    """Find the prediction above which at most `volume` rows are sent their best message, none below 0.

    Rows of exactly that prediction go by the member's key, which has nothing to do with the order of the log; those
    of one member go together or not at all.

    Parameters
    ----------
    passes
        Goes through the rows and their predictions whenever it is called: twice, and four times more where
        predictions tie at the price.
    volume
        The number of rows.
    counted
        The largest predictions of all rows, counted before by :func:`count_largest`: spares the first pass.
    """

    def rates() -> Iterator[NDArray[np.float32]]:
        for log, predicted in passes():
            yield _best(log, predicted)[1]

    def tied(theta: np.float32) -> Iterator[NDArray[np.uint64]]:
        for log, predicted in passes():
            yield log.member_keys[_best(log, predicted)[1] == theta]

    return price_in_passes(rates, tied, volume, high=counted)


def count_largest(counts: RateHistogram, log: Logged, predicted: NDArray[np.float64]) -> None:
    """Count each row's largest prediction, in place."""
    counts.add(_best(log, predicted)[1])


def best_above(log: Logged, predicted: NDArray[np.float64], price: Price) -> Target:
    """Send each row the message of the largest prediction if that is above the price; see :func:`volume_price`."""
    best, largest = _best(log, predicted)
    chosen = (largest > price.theta) | ((largest == price.theta) & (log.member_keys < price.tie_cut))
    target = constant(log, log.control)
    target[chosen, log.control] = 0.0
    target[chosen, best[chosen]] = 1.0
    return target


def _best(log: Logged, predicted: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    # Predictions of a model are single precision, so nothing is lost here.
    messages = np.array([code for code in range(log.n_arms) if code != log.control])
    best = messages[predicted[:, messages].argmax(axis=1)]
    return best, predicted[np.arange(log.n_rows), best].astype(np.float32)


def predicted_effects(log: Logged, model: UpliftModel, messages: Mapping[str, str]) -> NDArray[np.float64]:
    """Predict every arm's effect on every row by the posterior mean, float64 of shape [n, A]; 0 for the control.

    Parameters
    ----------
    log
        n rows.
    model
        Values the messages: by incrementality, or by level where the model is correlational.
    messages
        The message of an arm, where the model calls it by another name.

    Raises
    ------
    UnknownName
        When the model has no posterior for an arm.
    InvalidInput
        When the model was trained on other features.
    """
    model.check_features(log.feature_names)
    arms = [code for code in range(log.n_arms) if code != log.control]
    wanted = [messages.get(log.arms[code], log.arms[code]) for code in arms]
    bound = model.bind([(name, name.partition("@")[0], "") for name in wanted])
    strange = [
        Violation(
            "message",
            f"must name one of {list(model.posterior_names)} for arm {log.arms[code]!r}, got {name!r}",
        )
        for code, name, known in zip(arms, wanted, bound.estimable, strict=True)
        if not known
    ]
    if strange:
        raise UnknownName(strange)
    empty = np.zeros((len(model.pair_features), len(arms), log.n_rows), np.float32)
    mean, _ = posterior_moments(bound.packed, model.feature_map.apply(log.x), empty)
    predicted = np.zeros((log.n_rows, log.n_arms))
    predicted[:, arms] = mean.T
    return predicted
