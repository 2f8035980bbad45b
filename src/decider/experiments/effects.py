"""Effects of cells against each other: differences with errors by member, CUPED, ratios, valid at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.moments import Moments
from decider_core.sequences import sequence_half_width, sequence_p_value

Floats = NDArray[np.float64]

SKEWED = 25.0
"""Members that a cell needs for each unit of squared skewness: Cochran's rule for intervals by the normal law."""


@dataclass(frozen=True)
class Looks:
    """How intervals are made; to be fixed before the data are seen.

    Parameters
    ----------
    level
        Their coverage, over all looks together.
    planned_members
        Members of two cells together, at which they are to be narrowest.
    first_look
        Members of each cell before there is a number.
    """

    level: float = 0.95
    planned_members: int = 10_000
    first_look: int = 500


class Ends(NamedTuple):
    """Two ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """A difference between two cells, or the reason why there is none.

    Parameters
    ----------
    value
        The difference; None if refused.
    standard_error
        Its standard error, members being the unit.
    interval
        The confidence sequence: it may be looked at as often as one likes.
    p_value
        The p-value against no effect, likewise.
    level
        What the interval covers with.
    n_members
        Members of both cells.
    mean, base_mean
        Of the cell, and of the one that it is compared with; not adjusted by the covariate.
    variance_reduction
        Share of the variance that the covariate took off; None without one.
    refused
        Why there is no number; "" if there is one.
    """

    value: float | None
    standard_error: float | None = None
    interval: Ends | None = None
    p_value: float | None = None
    level: float = 0.95
    n_members: int = 0
    mean: float | None = None
    base_mean: float | None = None
    variance_reduction: float | None = None
    refused: str = ""

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0; 0 where it does not, or there is none."""
        if self.interval is None:
            return 0
        return 1 if self.interval.low > 0 else -1 if self.interval.high < 0 else 0


def refused(why: str, n_members: int = 0) -> Effect:
    """Give no number, and say why."""
    return Effect(None, n_members=n_members, refused=why)


def metric_effect(
    moments: Moments, cell: int, base: int, looks: Looks, *, ratio: bool = False, covariate: bool = False
) -> Effect:
    """Compare a metric between two cells.

    Parameters
    ----------
    moments
        Columns: the metric's sum of each member; then, for a ratio, what it is divided by; then the covariate.
    cell, base
        Codes of the cell and of the one that it is compared with.
    looks
        How the interval is made.
    ratio
        The metric is a ratio of sums over members: its error by the delta method.
    covariate
        Adjust by the last column, a number of before the experiment.

    Notes
    -----
    With R = y / d the ratio of means (d = 1 where the metric is a mean) a member's part in it is
    ``L = (y_i - R d_i) / d``. The estimate and its variance, cell by cell::

        R_1 - R_0 - theta (x_1 - x_0),      var(L - theta x) / n,      theta = sum cov(L, x) / n / (sum var(x) / n)

    theta makes that variance least for any shares; with equal cells the variance falls by the share rho^2.

    References
    ----------
    .. [1] Deng, Xu, Kohavi, Walker, "Improving the sensitivity of online controlled experiments by utilizing
           pre-experiment data", WSDM 2013, equations 4 to 6.
    .. [2] Deng, Knoblich, Lu, "Applying the delta method in metric analytics", KDD 2018, equation 4.
    """
    n_members = int(moments.counts[[cell, base]].sum())
    why = _too_early(moments, cell, base, looks, moments.skewness()[:, 0])
    if why:
        return refused(why, n_members)
    covariances, n_columns = moments.covariance(), moments.means.shape[1]
    values, gradients, counts = [], [], []
    for code in (cell, base):
        gradient = np.zeros(n_columns)
        value, divisor = moments.means[code, 0], 1.0
        if ratio:
            divisor = moments.means[code, 1]
            if not divisor > 0.0:
                return refused(f"what it is divided by must be > 0 on average, got {divisor:g}", n_members)
            value /= divisor
            gradient[1] = -value / divisor
        gradient[0] = 1.0 / divisor
        values.append(float(value))
        gradients.append(gradient)
        counts.append(int(moments.counts[code]))
    parts = [covariances[code] for code in (cell, base)]
    plain = _variance(parts, gradients, counts)
    estimate, variance, taken_off = values[0] - values[1], plain, None
    if covariate:
        shared = sum(p[-1] @ g / n for p, g, n in zip(parts, gradients, counts, strict=True))
        spread = sum(p[-1, -1] / n for p, n in zip(parts, counts, strict=True))
        theta = float(shared / spread) if spread > 0 else 0.0
        for gradient in gradients:
            gradient[-1] = -theta
        estimate -= theta * float(moments.means[cell, -1] - moments.means[base, -1])
        variance = _variance(parts, gradients, counts)
        taken_off = 1.0 - variance / plain if plain > 0 else 0.0
    return _effect(estimate, variance, n_members, looks, (values[0], values[1]), taken_off)


def column_of(moments: Moments, column: int) -> Moments:
    """The moments of one column alone."""
    at = slice(column, column + 1)
    return Moments(moments.counts, moments.means[:, at], moments.products[:, at, at], moments.cubes[:, at])


def _variance(parts: list[Floats], gradients: list[Floats], counts: list[int]) -> float:
    return float(sum(g @ p @ g / n for p, g, n in zip(parts, gradients, counts, strict=True)))


def _too_early(moments: Moments, cell: int, base: int, looks: Looks, skewness: Floats) -> str:
    for code in (cell, base):
        n = int(moments.counts[code])
        if n < max(looks.first_look, 2):
            return f"the first look is at {looks.first_look:,} members in each cell, got {n:,}"
        needed = SKEWED * float(skewness[code]) ** 2
        if n < needed:
            found = f"a skewness of {skewness[code]:.1f}, got {n:,}"
            return f"needs {math.ceil(needed):,} members in each cell, for {found}"
    return ""


def _effect(
    estimate: float,
    variance: float,
    n_members: int,
    looks: Looks,
    means: tuple[float, float],
    taken_off: float | None,
) -> Effect:
    if not variance > 0.0:
        return refused("nothing varies between members", n_members)
    error = math.sqrt(variance)
    tuned = n_members, looks.planned_members, looks.level
    half = sequence_half_width(error, *tuned)
    return Effect(
        value=estimate,
        standard_error=error,
        interval=Ends(estimate - half, estimate + half),
        p_value=sequence_p_value(estimate / error, *tuned),
        level=looks.level,
        n_members=n_members,
        mean=means[0],
        base_mean=means[1],
        variance_reduction=taken_off,
    )
