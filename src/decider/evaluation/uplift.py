"""Whether a model of incrementality puts members in the right order, and whether its numbers are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.evaluation.intervals import Estimate, clustered_error
from decider.evaluation.logged import Logged
from decider.evaluation.rows import check_model
from decider.evaluation.support import Limits, support_of
from decider_core.random import TIE, stream_key, uniforms
from decider_core.uplift_curve import AUTOC, AUUC, MEAN, QINI, curve_areas

F64 = NDArray[np.float64]

# Ties of predictions have nothing to do with ties under a price or of ranks.
_ORDER = 2


class CalibrationBin(NamedTuple):
    """Rows of like predictions.

    Parameters
    ----------
    n_rows
        How many.
    predicted
        Their mean predicted incrementality.
    observed
        Their mean incrementality by the log.
    """

    n_rows: int
    predicted: float
    observed: Estimate


class CurvePoint(NamedTuple):
    """A place on the curve of targeting: the `share` of rows thought to gain most.

    Parameters
    ----------
    share
        In (0, 1].
    gain
        Their incrementality, per row of all rows.
    toc
        Their mean incrementality less the mean of all.
    """

    share: float
    gain: float
    toc: float


@dataclass(frozen=True)
class UpliftJudgement:
    """How a model orders rows by incrementality, for one message, channel or segment.

    Parameters
    ----------
    n_rows
        Rows; for a channel, rows times its messages.
    effect
        Mean incrementality of sending to all.
    autoc, qini, auuc
        Areas under the curves, see :func:`decider_core.uplift_curve.curve_areas`: 0 for AUTOC and Qini if the
        order is no better than a random one.
    slope
        Of observed on predicted incrementality: 1 if the model is calibrated, below 1 if it exaggerates.
    bins
        Calibration in bins of equally many rows, lowest predictions first.
    curve
        The curve of targeting at ten shares.
    """

    n_rows: int
    effect: Estimate
    autoc: Estimate
    qini: Estimate
    auuc: Estimate
    slope: Estimate
    bins: tuple[CalibrationBin, ...]
    curve: tuple[CurvePoint, ...]


def effect_scores(log: Logged, q_hat: F64 | None = None) -> F64:
    """Give every row an unbiased estimate of each arm's incrementality, float64 of shape [n, A].

    ``G(a) - G(control)`` with ``G(a) = q(a) + 1{arm = a} (r - q(a)) / p(a)``, the doubly robust score; with no
    reward model, q = 0. Their means over rows chosen without looking at rewards are unbiased.

    Parameters
    ----------
    log
        The log.
    q_hat
        The reward model's value of every arm, learnt without the row's own reward: float64 of shape [n, A].
    """
    if q_hat is not None:
        check_model(q_hat, log)
    scores = np.zeros((log.n_rows, log.n_arms)) if q_hat is None else q_hat.copy()
    rows = np.arange(log.n_rows)
    scores[rows, log.arm] += (log.reward - scores[rows, log.arm]) / log.taken
    return scores - scores[:, [log.control]]


def judge_uplift(
    tau: F64,
    log: Logged,
    q_hat: F64 | None = None,
    *,
    channels: Mapping[str, str] | None = None,
    segments: NDArray[np.str_] | None = None,
    n_bins: int = 10,
    n_resamples: int = 500,
    seed: int = 0,
    limits: Limits | None = None,
) -> dict[str, UpliftJudgement | str]:
    """Judge predictions of incrementality per message, per channel and per segment.

    Parameters
    ----------
    tau
        Predicted incrementality of every arm, float64 of shape [n, A], finite; the control's is not looked at.
        Learnt on other members.
    log
        The log.
    q_hat
        See :func:`effect_scores`.
    channels
        The channel of an arm; by default what stands behind ``@`` in its name.
    segments
        A label for each row; each message is then judged in each segment too.
    n_bins
        Calibration bins.
    n_resamples, seed
        Of the bootstrap over members, which gives the areas their errors; the seed also orders ties.
    limits
        Gates on the support of each message.

    Returns
    -------
    dict
        By name: ``message X``, ``channel C``, ``message X in segment S``. A text says why there is no judgement.
    """
    if tau.dtype != np.float64 or tau.shape != (log.n_rows, log.n_arms) or not np.isfinite(tau).all():
        rule = f"must be finite float64 of shape ({log.n_rows}, {log.n_arms})"
        raise InvalidInput.of("tau", rule, f"{tau.dtype} of shape {tau.shape}")
    if segments is not None and segments.shape != (log.n_rows,):
        raise InvalidInput.of("segments", f"must be of shape ({log.n_rows},)", segments.shape)
    limits = limits or Limits()
    scores = effect_scores(log, q_hat)
    named = channels or {arm: arm.partition("@")[2] for arm in log.arms if "@" in arm}
    found: dict[str, UpliftJudgement | str] = {}

    def judge(name: str, codes: list[int], rows: NDArray[np.bool_]) -> None:
        part = log.rows(rows) if rows.any() else None
        for code in (*codes, log.control):
            why = "no rows" if part is None else _refusal(part, code, limits)
            if why:
                found[name] = f"{log.arms[code]!r}: {why}"
                return
        # The rows of a channel: each row once for each of its messages, all in one order.
        effect, predicted = (np.concatenate([each[rows, a] for a in codes]) for each in (scores, tau))
        keys = np.tile(log.member_keys[rows], len(codes))
        found[name] = _judged(predicted, effect, keys, n_bins, n_resamples, seed)

    everywhere = np.ones(log.n_rows, np.bool_)
    messages = [code for code in range(log.n_arms) if code != log.control]
    for code in messages:
        judge(f"message {log.arms[code]}", [code], everywhere)
    for channel in sorted(set(named.values())):
        codes = [code for code in messages if named.get(log.arms[code]) == channel]
        if codes:
            judge(f"channel {channel}", codes, everywhere)
    if segments is not None:
        for code in messages:
            for segment in np.unique(segments):
                judge(f"message {log.arms[code]} in segment {segment}", [code], segments == segment)
    return found


def _refusal(log: Logged, code: int, limits: Limits) -> str:
    target = np.zeros((log.n_rows, log.n_arms))
    target[:, code] = 1.0
    return support_of(target, log).refusal(limits)


def _judged(
    predicted: F64, effect: F64, keys: NDArray[np.uint64], n_bins: int, n_resamples: int, seed: int
) -> UpliftJudgement:
    n = len(effect)
    ties = uniforms(stream_key(seed, TIE, 0, _ORDER), keys)
    order = np.lexsort((ties, -predicted))
    areas, resampled = curve_areas(effect[order], keys[order], n_resamples, seed)
    errors = resampled.std(axis=1, ddof=1) if n_resamples > 1 else np.full(len(areas), np.nan)

    def area(which: int) -> Estimate:
        return Estimate.of(float(areas[which]), float(errors[which]), resampled[which])

    gains = np.cumsum(effect[order])
    curve = []
    for tenth in range(1, 11):
        last = max(1, n * tenth // 10)
        gain = float(gains[last - 1])
        curve.append(CurvePoint(last / n, gain / n, gain / last - float(areas[MEAN])))
    bins = []
    for rows in np.array_split(order[::-1], n_bins):
        if len(rows):
            mean = float(effect[rows].mean())
            observed = Estimate.of(mean, clustered_error(effect[rows] - mean, keys[rows]))
            bins.append(CalibrationBin(len(rows), float(predicted[rows].mean()), observed))
    return UpliftJudgement(
        n,
        area(MEAN),
        area(AUTOC),
        area(QINI),
        area(AUUC),
        _slope(predicted, effect, keys),
        tuple(bins),
        tuple(curve),
    )


def _slope(predicted: F64, effect: F64, keys: NDArray[np.uint64]) -> Estimate:
    apart = predicted - predicted.mean()
    spread = float(np.square(apart).mean())
    if spread <= 1e-24 * max(1.0, float(np.square(predicted).max())):
        return Estimate.refuse("all predictions are the same")
    slope = float((apart * effect).mean() / spread)
    residual = effect - effect.mean() - slope * apart
    return Estimate.of(slope, clustered_error(apart * residual / spread, keys))
