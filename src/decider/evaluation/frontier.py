"""Volume against incremental reward, and against opt-outs, for every price, from a log alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.frontier_sums import GAIN, HARM, ROWS, FrontierSums, Lines
from decider.evaluation.intervals import Interval
from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider.evaluation.passes import JudgedChunk
from decider.evaluation.propensities import CheckSums, ratio_of
from decider.evaluation.ranks import Ranked, find_cuts, first_volumes
from decider.evaluation.support import Limits, SupportSums
from decider.evaluation.uplift import effect_scores
from decider_core.random import TIE, stream_key, uniforms

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
    _check(tau, log, harm)
    models = [None if q is None else lambda _, q=q: q for q in (q_hat, q_harm)]
    chunk = JudgedChunk(log, {}, models[0], harm, models[1])
    spec = FrontierSpec(exchange_rate, harm_rate, today, shares, n_resamples, seed, limits or Limits())
    return frontier_in_passes(lambda _: [(chunk, tau)], spec, MemberCount.of(log.member_keys))


@dataclass(frozen=True)
class FrontierSpec:
    """What is asked of a frontier; see :func:`frontier`, which has the same parameters."""

    exchange_rate: float | None = None
    harm_rate: float = 0.0
    today: float | None = None
    shares: tuple[float, ...] = SHARES
    n_resamples: int = 1000
    seed: int = 0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        shares = self.shares
        if not shares or list(shares) != sorted(set(shares)) or shares[0] < 0 or shares[-1] > 1:
            raise InvalidInput.of("shares", "must rise within [0, 1]", list(shares))
        if self.n_resamples < 100:
            raise InvalidInput.of("resamples", "must be 100 or more for a band", self.n_resamples)


def frontier_in_passes(
    passes: Callable[[str], Iterable[tuple[JudgedChunk, F64]]], spec: FrontierSpec, members: MemberCount
) -> Frontier:
    """Estimate what every price would earn, as :func:`frontier` does, on rows in chunks.

    Parameters
    ----------
    passes
        Goes through the rows, which need no targets, and their predictions: three times, and once more where
        predictions tie at a volume.
    spec
        What is asked.
    members
        The members of all rows, counted before.

    Notes
    -----
    Keeps 4 bytes a row, the predictions, until the volumes' ends are found.
    """
    n_rows, n_above, why = _look(passes, spec, members)
    if why:
        return Frontier((), refused=why)

    def ranked() -> Iterator[Ranked]:
        for chunk, tau in passes("order"):
            yield _ranked(chunk.log, tau, spec.seed)[1]

    volumes = [min(n_rows, round(share * n_rows)) for share in spec.shares]
    if spec.today is not None:
        volumes.append(n_above)
    rising = sorted(set(volumes))
    places = np.array([rising.index(volume) for volume in volumes])
    cuts = find_cuts(lambda: ranked(), rising)
    sums, first_row, has_harm = FrontierSums(members, len(rising), spec.n_resamples, spec.seed), 0, False
    for chunk, tau in passes("estimates"):
        best, order = _ranked(chunk.log, tau, spec.seed)
        rows = np.arange(chunk.log.n_rows)
        columns = np.zeros((3, chunk.log.n_rows))
        columns[ROWS] = 1.0
        columns[GAIN] = effect_scores(chunk.log, chunk.q_hat)[rows, best]
        if chunk.harm is not None:
            has_harm = True
            columns[HARM] = effect_scores(chunk.harm, chunk.q_harm)[rows, best]
        sums.add(columns, first_volumes(cuts, order, first_row), chunk.log.member_keys)
        first_row += chunk.log.n_rows
    lines = sums.lines()
    reward = lines.banded(np.array([0.0, 1.0, 0.0]), places)
    harm = lines.banded(np.array([0.0, 0.0, 1.0]), places) if has_harm else None
    points = tuple(
        FrontierPoint(
            volume / n_rows,
            cuts[place].last,
            *reward[j],
            *(() if harm is None else (harm[j].mean, harm[j].band)),
        )
        for j, (volume, place) in enumerate(zip(volumes, places.tolist(), strict=True))
    )
    on_grid = points[: len(spec.shares)]
    recommended = None
    if spec.exchange_rate is not None:
        weights = np.array([-spec.exchange_rate, 1.0, -spec.harm_rate])
        recommended = _recommend(lines, weights, places[: len(spec.shares)], on_grid)
    return Frontier(on_grid, recommended, points[-1] if spec.today is not None else None)


def _recommend(
    lines: Lines, weights: F64, places: NDArray[np.int64], points: tuple[FrontierPoint, ...]
) -> Recommendation:
    net = [each.mean for each in lines.banded(weights, places)]
    best = int(np.argmax(net))
    behind = lines.banded(weights, places, less=int(places[best]))
    alike = [point.volume for point, (_, _, band) in zip(points, behind, strict=True) if band.low <= 0.0]
    return Recommendation(points[best], net[best], Interval(min(alike), max(alike)))


def _ranked(log: Logged, tau: F64, seed: int) -> tuple[NDArray[np.int64], Ranked]:
    """Each row's best message, and its place among all rows."""
    messages = np.array([code for code in range(log.n_arms) if code != log.control])
    best = messages[tau[:, messages].argmax(axis=1)]
    ties = uniforms(stream_key(seed, TIE, 0, _ORDER), log.member_keys)
    return best, Ranked(tau[np.arange(log.n_rows), best], ties)


def _look(
    passes: Callable[[str], Iterable[tuple[JudgedChunk, F64]]], spec: FrontierSpec, members: MemberCount
) -> tuple[int, int, str]:
    """Count rows, and those above today's price; and say why there is no frontier, or ""."""
    checks: CheckSums | None = None
    supports: list[SupportSums] = []
    arms: Sequence[str] = ()
    n_rows = n_above = 0
    for chunk, tau in passes("gates"):
        log = chunk.log
        if checks is None:
            arms, checks = log.arms, CheckSums(log.arms, members)
            supports = [SupportSums(members) for _ in arms]
        checks.add(log)
        for code, support in enumerate(supports):
            target = np.zeros((log.n_rows, log.n_arms))
            target[:, code] = 1.0
            support.add(target, log.propensity, log.arm, log.member_keys)
        n_rows += log.n_rows
        if spec.today is not None:
            n_above += int((_ranked(log, tau, spec.seed)[1].values > spec.today).sum())
    ratio = 1.0 if checks is None else ratio_of(checks.checks())
    if ratio < spec.limits.sample_ratio:
        return n_rows, n_above, f"the arms do not come as often as their propensities say (p = {ratio:.1e})"
    for arm, support in zip(arms, supports, strict=True):
        why = support.found().refusal(spec.limits)
        if why:
            return n_rows, n_above, f"arm {arm!r}: {why}"
    return n_rows, n_above, ""


def _check(tau: F64, log: Logged, harm: Logged | None) -> None:
    if tau.dtype != np.float64 or tau.shape != (log.n_rows, log.n_arms) or not np.isfinite(tau).all():
        rule = f"must be finite float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("tau", rule, f"{tau.dtype} of shape {tau.shape}")
    if harm is not None and not (
        np.array_equal(harm.arm, log.arm) and np.array_equal(harm.member_keys, log.member_keys)
    ):
        raise InvalidInput.of("harm", "must have the rows of the log", harm.reward_name)
