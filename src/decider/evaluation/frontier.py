"""Volume against incremental reward, and against opt-outs, for every price, from a log alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import LEVEL, Interval, clustered_error
from decider.evaluation.logged import Logged
from decider.evaluation.propensities import sample_ratio
from decider.evaluation.support import Limits, support_of
from decider.evaluation.uplift import effect_scores
from decider_core.random import TIE, stream_key, uniforms
from decider_core.resample import resample_sums

F64 = NDArray[np.float64]

SHARES = tuple(percent / 100 for percent in range(101))
"""Volumes of the frontier unless others are given."""

# Ties of predictions have nothing to do with ties under a price or of ranks.
_ORDER = 3


class FrontierPoint(NamedTuple):
    """One price: send to every row whose best message is predicted to bring more.

    Parameters
    ----------
    volume
        Share of rows that are sent a message.
    price
        Predicted incrementality of the last row that is sent one; None where none is.
    reward
        Incremental reward per row of all rows.
    standard_error
        Of `reward`, clustered by member.
    band
        Ends of the simultaneous 95 % band: all points of the frontier lie in it together.
    harm
        Incremental opt-outs per row; None if not asked for.
    harm_band
        Their simultaneous band.
    """

    volume: float
    price: float | None
    reward: float
    standard_error: float
    band: Interval
    harm: float | None = None
    harm_band: Interval | None = None


@dataclass(frozen=True)
class Recommendation:
    """The price that an exchange rate asks for.

    Parameters
    ----------
    point
        The frontier's point of the largest net reward.
    net
        Its reward less what its sends and opt-outs cost.
    volumes
        The least and the largest volume whose net reward the log cannot tell from the best one's: all
        differences together, at 95 %.
    """

    point: FrontierPoint
    net: float
    volumes: Interval


@dataclass(frozen=True)
class Frontier:
    """The frontier, or why there is none.

    Parameters
    ----------
    points
        By rising volume; empty if refused.
    recommended
        For the exchange rate given; None without one.
    today
        The point of today's price; None without one.
    refused
        Why there are no points; "" if there are.
    """

    points: tuple[FrontierPoint, ...]
    recommended: Recommendation | None = None
    today: FrontierPoint | None = None
    refused: str = ""


def frontier(
    tau: F64,
    log: Logged,
    q_hat: F64 | None = None,
    *,
    harm: Logged | None = None,
    q_harm: F64 | None = None,
    exchange_rate: float | None = None,
    harm_rate: float = 0.0,
    today: float | None = None,
    shares: tuple[float, ...] = SHARES,
    n_resamples: int = 1000,
    seed: int = 0,
    limits: Limits | None = None,
) -> Frontier:
    """Estimate what every price would earn: each row is sent its best message, rows with the most first.

    At volume v the gain is ``sum(1{row among the first v n} G) / n``, G the row's doubly robust score of its
    best message (:func:`decider.evaluation.uplift.effect_scores`). Bands are sup-t: the 95 % quantile, over
    Poisson resamples of members, of the largest distance in standard errors along the frontier.

    Parameters
    ----------
    tau
        Predicted incrementality of every arm, float64 of shape [n, A], finite, learnt on other members; the
        control's is not looked at.
    log
        The log.
    q_hat
        The reward model's value of every arm; None for IPS.
    harm
        The same rows with opt-outs as their reward.
    q_harm
        Its reward model.
    exchange_rate
        The reward that one send must be worth; gives a recommendation.
    harm_rate
        The reward that one opt-out costs.
    today
        Today's price, to be marked.
    shares
        Volumes, rising within [0, 1].
    n_resamples, seed
        Of the bands, 100 or more; the seed also orders ties.
    limits
        Gates: each message and the control must be covered.

    Raises
    ------
    InvalidInput
        If an argument breaks a rule above.

    References
    ----------
    .. [1] Montiel Olea, Plagborg-Moller, "Simultaneous confidence bands: theory, implementation, and an
           application to SVARs", J. Appl. Econometrics 34, 2019 (sup-t bands).
    """
    _check(tau, log, harm, shares, n_resamples)
    limits = limits or Limits()
    why = _refusal(log, limits)
    if why:
        return Frontier((), refused=why)
    messages = np.array([code for code in range(log.n_arms) if code != log.control])
    best = messages[tau[:, messages].argmax(axis=1)]
    rows = np.arange(log.n_rows)
    predicted = tau[rows, best]
    ties = uniforms(stream_key(seed, TIE, 0, _ORDER), log.member_keys)
    order = np.lexsort((ties, -predicted))
    volumes = [min(log.n_rows, round(share * log.n_rows)) for share in shares]
    if today is not None:
        volumes.append(int((predicted > today).sum()))
    sent = np.zeros((len(volumes), log.n_rows))
    for line, volume in zip(sent, volumes, strict=True):
        line[order[:volume]] = 1.0
    gains = sent * effect_scores(log, q_hat)[rows, best]
    reward = _banded(gains, log.member_keys, n_resamples, seed)
    hurts = None if harm is None else sent * effect_scores(harm, q_harm)[rows, best]
    banded_harm = None if hurts is None else _banded(hurts, log.member_keys, n_resamples, seed)
    points = tuple(
        FrontierPoint(
            volume / log.n_rows,
            float(predicted[order[volume - 1]]) if volume else None,
            *reward[j],
            *(() if banded_harm is None else (banded_harm[j][0], banded_harm[j][2])),
        )
        for j, volume in enumerate(volumes)
    )
    on_grid = points[: len(shares)]
    recommended = None
    if exchange_rate is not None:
        net = gains[: len(shares)] - exchange_rate * sent[: len(shares)]
        if hurts is not None:
            net -= harm_rate * hurts[: len(shares)]
        recommended = _recommend(net, on_grid, log.member_keys, n_resamples, seed)
    return Frontier(on_grid, recommended, points[-1] if today is not None else None)


def _recommend(
    net: F64, points: tuple[FrontierPoint, ...], keys: NDArray[np.uint64], n_resamples: int, seed: int
) -> Recommendation:
    means = net.mean(axis=1)
    best = int(means.argmax())
    behind = _banded(net[best] - net, keys, n_resamples, seed)
    alike = [point.volume for point, (_, _, band) in zip(points, behind, strict=True) if band.low <= 0.0]
    return Recommendation(points[best], float(means[best]), Interval(min(alike), max(alike)))


def _banded(
    columns: F64, keys: NDArray[np.uint64], n_resamples: int, seed: int
) -> list[tuple[float, float, Interval]]:
    sums = resample_sums(columns, keys, n_resamples, seed)
    means = sums.totals / sums.n_rows
    errors = np.array([clustered_error(line - mean, keys) for line, mean in zip(columns, means, strict=True)])
    moved = errors > 0
    furthest = 0.0
    if moved.any():
        distance = np.abs(sums.resampled[moved] / sums.counts - means[moved, None]) / errors[moved, None]
        furthest = float(np.quantile(distance.max(axis=0), LEVEL))
    return [
        (float(mean), float(error), Interval(float(mean - furthest * error), float(mean + furthest * error)))
        for mean, error in zip(means, errors, strict=True)
    ]


def _refusal(log: Logged, limits: Limits) -> str:
    ratio = sample_ratio(log)
    if ratio < limits.sample_ratio:
        return f"the arms do not come as often as their propensities say (p = {ratio:.1e})"
    for code, arm in enumerate(log.arms):
        target = np.zeros((log.n_rows, log.n_arms))
        target[:, code] = 1.0
        why = support_of(target, log).refusal(limits)
        if why:
            return f"arm {arm!r}: {why}"
    return ""


def _check(tau: F64, log: Logged, harm: Logged | None, shares: tuple[float, ...], n_resamples: int) -> None:
    if tau.dtype != np.float64 or tau.shape != (log.n_rows, log.n_arms) or not np.isfinite(tau).all():
        rule = f"must be finite float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("tau", rule, f"{tau.dtype} of shape {tau.shape}")
    if not shares or list(shares) != sorted(set(shares)) or shares[0] < 0 or shares[-1] > 1:
        raise InvalidInput.of("shares", "must rise within [0, 1]", list(shares))
    if n_resamples < 100:
        raise InvalidInput.of("resamples", "must be 100 or more for a band", n_resamples)
    if harm is not None and not (
        np.array_equal(harm.arm, log.arm) and np.array_equal(harm.member_keys, log.member_keys)
    ):
        raise InvalidInput.of("harm", "must have the rows of the log", harm.reward_name)
