"""Whether this log can tell of that policy: support, effective sample size, propensities that hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.intervals import clustered_error
from decider.evaluation.logged import Logged


@dataclass(frozen=True)
class Limits:
    """Below (or above) these there is no estimate but a reason.

    Parameters
    ----------
    effective_rows
        The least effective sample size, ``sum(w)^2 / sum(w^2)``.
    largest_share
        The largest share of all weight that one row may have.
    matched_members
        The least number of members in whose rows the policy could have done what was logged.
    sample_ratio
        The least probability of arms coming as unevenly as they did under the logged propensities.
    """

    effective_rows: float = 100.0
    largest_share: float = 0.1
    matched_members: int = 50
    sample_ratio: float = 1e-6


class Support(NamedTuple):
    """How well a log covers a policy.

    Parameters
    ----------
    n_rows
        Rows in the log.
    n_unsupported
        Rows where the policy may take an arm that the log could never take.
    n_matched
        Rows where the policy may take the arm that was logged.
    matched_members
        Members with such a row.
    effective_rows
        Kish's effective sample size of the weights.
    largest_share
        The largest weight's share of all weight.
    smallest_propensity
        The smallest logged probability among the arms that the policy may take.
    overlap
        Share of the policy's probability, over all rows, that lies on arms which the log takes with a chance of
        0.01 or more.
    """

    n_rows: int
    n_unsupported: int
    n_matched: int
    matched_members: int
    effective_rows: float
    largest_share: float
    smallest_propensity: float
    overlap: float

    def refusal(self, limits: Limits) -> str:
        """Say why this support is not enough; "" if it is."""
        if self.n_unsupported:
            return (
                f"no support: in {self.n_unsupported} of {self.n_rows} rows the log could never take the arm"
            )
        if self.effective_rows < limits.effective_rows:
            found = f"{self.effective_rows:.1f} of {self.n_rows} rows"
            return f"the effective sample size must be at least {limits.effective_rows:g}, got {found}"
        if self.largest_share > limits.largest_share:
            found = f"{self.largest_share:.3f}"
            return f"one row's share of the weight must be at most {limits.largest_share:g}, got {found}"
        if self.matched_members < limits.matched_members:
            found = str(self.matched_members)
            return f"the policy must match at least {limits.matched_members} members, got {found}"
        return ""


class PropensityCheck(NamedTuple):
    """Whether the logged propensities of one arm agree with how often it was given.

    Parameters
    ----------
    arm
        The arm.
    ratio
        Mean of ``1{arm given} / propensity`` over the rows where the arm was possible: 1 if all is well.
    standard_error
        Of the ratio.
    z
        ``(ratio - 1) / standard_error``; beyond 4 in size, a false alarm has probability 6e-5.
    """

    arm: str
    ratio: float
    standard_error: float
    z: float


class PropensityBin(NamedTuple):
    """Rows whose logged propensities of one arm are alike.

    Parameters
    ----------
    arm
        The arm.
    n_rows
        How many rows.
    propensity
        Their mean propensity.
    realised
        The share of them to which the arm was given.
    standard_error
        Of `realised`, if the propensities are true.
    """

    arm: str
    n_rows: int
    propensity: float
    realised: float
    standard_error: float


def support_of(target: NDArray[np.float64], log: Logged) -> Support:
    """Measure how well a log covers a policy.

    Parameters
    ----------
    target
        The policy's probability of every arm, float64 of shape [n, A].
    log
        The log.
    """
    return _support(target, log.propensity, log.arm, log.member_keys)


def support_of_groups(target: NDArray[np.float64], log: Logged, groups: NDArray[np.int64]) -> Support:
    """Measure how well a log covers the groups of arms that a policy takes.

    Parameters
    ----------
    target
        The policy's probability of every arm, float64 of shape [n, A].
    log
        The log.
    groups
        The group of every arm, int64 of shape [A].
    """
    names, places = np.unique(groups, return_inverse=True)
    member_of = np.eye(len(names))[places]
    return _support(target @ member_of, log.propensity @ member_of, places[log.arm], log.member_keys)


def _support(
    target: NDArray[np.float64],
    propensity: NDArray[np.float64],
    arm: NDArray[np.int64],
    member_keys: NDArray[np.uint64],
) -> Support:
    n = len(arm)
    weight = (
        np.take_along_axis(target, arm[:, None], axis=1)
        / np.take_along_axis(propensity, arm[:, None], axis=1)
    )[:, 0]
    total, squares = float(weight.sum()), float(np.square(weight).sum())
    wanted = target > 0
    return Support(
        n_rows=n,
        n_unsupported=int((wanted & (propensity == 0)).any(axis=1).sum()),
        n_matched=int((weight > 0).sum()),
        matched_members=len(np.unique(member_keys[weight > 0])),
        effective_rows=total * total / squares if squares > 0 else 0.0,
        largest_share=float(weight.max()) / total if total > 0 else 0.0,
        smallest_propensity=float(propensity[wanted].min()),
        overlap=float(target[propensity >= 0.01].sum() / n),
    )


def sample_ratio(log: Logged) -> float:
    """Give the probability of arms coming as unevenly as they did, if the logged propensities are true.

    The largest |z| of :func:`check_propensities`, over as many arms as there are (Bonferroni): an upper bound.
    """
    checks = check_propensities(log)
    largest = max((abs(check.z) for check in checks), default=0.0)
    return min(1.0, len(checks) * math.erfc(largest / math.sqrt(2.0)))


def check_propensities(log: Logged) -> list[PropensityCheck]:
    """Compare logged propensities with realised frequencies, arm by arm.

    If the propensities are true, ``E[1{arm given} / propensity] = 1`` wherever the arm was possible; a log
    whose propensities are wrong by a factor shows one over it.
    """
    checks = []
    for code, arm in enumerate(log.arms):
        possible = log.propensity[:, code] > 0
        if not possible.any():
            continue
        given = (log.arm[possible] == code) / log.propensity[possible, code]
        ratio = float(given.mean())
        # Under the hypothesis each row has variance (1 - p) / p, known and not estimated: no arm that was
        # never given can hide behind a variance of zero.
        chance = log.propensity[possible, code]
        exact = float(np.sqrt(((1 - chance) / chance).sum()) / possible.sum())
        spread = clustered_error(given - ratio, log.member_keys[possible])
        error = max(exact, spread) if np.isfinite(spread) else exact
        z = (ratio - 1) / error if error > 0 else 0.0 if ratio == 1 else float("inf")
        checks.append(PropensityCheck(arm, ratio, error, z))
    return checks


def propensity_bins(log: Logged, n_bins: int = 10) -> list[PropensityBin]:
    """Put rows into bins of about equally many by the propensity of each arm; rows of one propensity stay together.

    Parameters
    ----------
    log
        The log.
    n_bins
        At most so many for each arm.
    """
    found = []
    for code, arm in enumerate(log.arms):
        chance = log.propensity[:, code]
        possible = chance > 0
        if not possible.any():
            continue
        edges = np.unique(np.quantile(chance[possible], np.linspace(0, 1, n_bins + 1)[1:-1]))
        places = np.searchsorted(edges, chance, side="left")
        for place in np.unique(places[possible]):
            rows = possible & (places == place)
            p, given = chance[rows], log.arm[rows] == code
            # A cut below equal values can leave a bin of one row: its error says how little it tells.
            error = float(np.sqrt((p * (1 - p)).sum()) / len(p))
            found.append(PropensityBin(arm, len(p), float(p.mean()), float(given.mean()), error))
    return found
