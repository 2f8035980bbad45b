"""A number with its uncertainty, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.sequences import sequence_half_width

LEVEL: Final = 0.95
"""The coverage that intervals claim."""

LEAST_RESAMPLES: Final = 100
"""Fewer resamples give no bootstrap interval."""


class Interval(NamedTuple):
    """Two ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error and intervals, or a refusal.

    Parameters
    ----------
    value
        The estimate; None if refused.
    standard_error
        Its standard error, clustered by member; None if refused.
    normal
        The 95 % interval from the normal law; None if refused.
    bootstrap
        The 95 % percentile interval of the resamples over members; None if refused or not resampled.
    refused
        Why there is no number; "" if there is one.
    anytime
        The 95 % confidence sequence at this number of members: valid however often one looks while members
        come in, and so wider; None if refused or the number of members is not known.
    bernstein
        The empirical Bernstein interval: at least 95 % for any number of members, from the range of the rewards
        alone; None if refused, without a range, or where the estimate is no mean.
    """

    value: float | None
    standard_error: float | None = None
    normal: Interval | None = None
    bootstrap: Interval | None = None
    refused: str = ""
    anytime: Interval | None = None
    bernstein: Interval | None = None

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.refused):
            raise ValueError(f"refused must be given if and only if there is no value, got {self.refused!r}")

    @classmethod
    def refuse(cls, why: str) -> Estimate:
        """Give no number, and say why."""
        return cls(None, refused=why)

    @classmethod
    def of(
        cls,
        value: float,
        standard_error: float,
        resampled: NDArray[np.float64] | None = None,
        n_members: int | None = None,
    ) -> Estimate:
        """Give a number with its intervals.

        Parameters
        ----------
        value
            The estimate.
        standard_error
            Its standard error.
        resampled
            Estimates on resamples; an interval is taken from 100 or more.
        n_members
            How many members the estimate stands on, for the confidence sequence.
        """
        half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * standard_error
        bootstrap = None
        if resampled is not None and len(resampled) >= LEAST_RESAMPLES:
            if not np.isfinite(resampled).all():
                n_wrong = int((~np.isfinite(resampled)).sum())
                return cls.refuse(f"{n_wrong} of {len(resampled)} resamples have no matching row")
            low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            bootstrap = Interval(float(low), float(high))
        anytime = None
        if n_members is not None and n_members >= 2:
            half_anytime = sequence_half_width(standard_error, n_members)
            anytime = Interval(value - half_anytime, value + half_anytime)
        return cls(value, standard_error, Interval(value - half, value + half), bootstrap, "", anytime)


def clustered_error(influence: NDArray[np.float64], member_keys: NDArray[np.uint64]) -> float:
    """Standard error of a mean of influence values whose rows depend on one another within members.

    With S_g the sum of the values of member g, G members and n rows:
    ``sqrt(G / (G - 1) * sum_g S_g^2) / n``.

    Parameters
    ----------
    influence
        float64 of shape [n], summing to about zero.
    member_keys
        uint64 of shape [n].

    Returns
    -------
    float
        NaN for fewer than two members.
    """
    sums = member_sums(influence, member_keys)
    n_members = len(sums)
    if n_members < 2:
        return float("nan")
    return float(np.sqrt(n_members / (n_members - 1) * np.square(sums).sum()) / len(influence))


def empirical_bernstein(
    values: NDArray[np.float64], low: float, high: float, level: float = LEVEL
) -> Interval:
    """An interval for the mean of independent values in [low, high], right at any number of them.

    With variance V, n values and delta = (1 - level) / 2 for each side::

        mean -+ ( sqrt(2 V log(2 / delta) / n) + 7 (high - low) log(2 / delta) / (3 (n - 1)) )

    Parameters
    ----------
    values
        float64 of shape [n], n >= 2.
    low, high
        Bounds that hold for every value that could have come, not only for these.
    level
        The least coverage.

    Raises
    ------
    ValueError
        If a value is out of bounds, or there are fewer than two.

    References
    ----------
    .. [1] Maurer, Pontil, "Empirical Bernstein bounds and sample variance penalization", COLT 2009, theorem 4.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"values must be two or more, got {n}")
    slack = 1e-9 * max(abs(low), abs(high), 1.0)
    if values.min() < low - slack or values.max() > high + slack:
        found = f"[{values.min()}, {values.max()}]"
        raise ValueError(f"values must be in [{low}, {high}], got {found}")
    log_term = math.log(4.0 / (1.0 - level))
    half = math.sqrt(2.0 * values.var(ddof=1) * log_term / n) + 7.0 * (high - low) * log_term / (
        3.0 * (n - 1)
    )
    mean = float(values.mean())
    return Interval(mean - half, mean + half)


def member_sums(values: NDArray[np.float64], member_keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Add up values member by member; in the order of the rows where every member has one row."""
    members, places = np.unique(member_keys, return_inverse=True)
    if len(members) == len(values):
        return values
    sums: NDArray[np.float64] = np.bincount(places, weights=values).astype(np.float64)
    return sums
