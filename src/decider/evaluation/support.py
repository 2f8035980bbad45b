"""Whether this log can tell of that policy: support, overlap, effective sample size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider_core.coverage import coverage

OVERLAP: Final = 0.01
"""The least chance by which an arm counts as one that the log takes."""


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
        Members with such a row; beyond 65,536 counted to 0.1 %.
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


class SupportSums:
    """How well a log covers a policy, added up as its rows pass by.

    Parameters
    ----------
    members
        The members of all rows that will come.

    Attributes
    ----------
    n_rows, n_certain
        Rows, and those where the policy takes one arm for sure.
    largest_weight
        Of the arms that were given.
    largest_ratio
        The largest probability of the policy over the log's, of any arm that was possible.
    """

    def __init__(self, members: MemberCount) -> None:
        self.n_rows = 0
        self.n_certain = 0
        self.largest_weight = 0.0
        self.largest_ratio = 0.0
        self._n_unsupported = 0
        self._n_matched = 0
        self._matched = members.of_some()
        self._weight = 0.0
        self._squares = 0.0
        self._smallest = float("inf")
        self._covered = 0.0

    def add(
        self,
        target: NDArray[np.float64],
        propensity: NDArray[np.float64],
        arm: NDArray[np.int64],
        member_keys: NDArray[np.uint64],
    ) -> None:
        """Add rows.

        Parameters
        ----------
        target, propensity
            The policy's and the log's probability of every arm, float64 of shape [n, A].
        arm
            The arm that was given, int64 of shape [n].
        member_keys
            uint64 of shape [n].
        """
        found = coverage(target, propensity, arm, OVERLAP)
        weight = found.weight
        matched = weight > 0
        self.n_rows += len(arm)
        self.n_certain += found.n_certain
        self.largest_weight = max(self.largest_weight, float(weight.max(initial=0.0)))
        self.largest_ratio = max(self.largest_ratio, found.largest_ratio)
        self._n_matched += int(np.count_nonzero(matched))
        self._matched.add(member_keys[matched])
        self._weight += float(weight.sum())
        self._squares += float(weight @ weight)
        self._n_unsupported += found.n_unsupported
        self._smallest = min(self._smallest, found.smallest)
        self._covered += found.covered

    def found(self) -> Support:
        """Say how well the rows that were added cover the policy."""
        total, squares = self._weight, self._squares
        return Support(
            n_rows=self.n_rows,
            n_unsupported=self._n_unsupported,
            n_matched=self._n_matched,
            matched_members=self._matched.n,
            effective_rows=total * total / squares if squares > 0 else 0.0,
            largest_share=self.largest_weight / total if total > 0 else 0.0,
            smallest_propensity=self._smallest,
            overlap=self._covered / self.n_rows,
        )


class GroupSupportSums(SupportSums):
    """How well a log covers the groups of arms that a policy takes.

    Parameters
    ----------
    members
        The members of all rows that will come.
    groups
        The group of every arm, int64 of shape [A].
    """

    def __init__(self, members: MemberCount, groups: NDArray[np.int64]) -> None:
        super().__init__(members)
        names, self._places = np.unique(groups, return_inverse=True)
        self._member_of = np.eye(len(names))[self._places]

    def add(
        self,
        target: NDArray[np.float64],
        propensity: NDArray[np.float64],
        arm: NDArray[np.int64],
        member_keys: NDArray[np.uint64],
    ) -> None:
        """Add rows, given as for arms."""
        super().add(target @ self._member_of, propensity @ self._member_of, self._places[arm], member_keys)


def support_of(target: NDArray[np.float64], log: Logged) -> Support:
    """Measure how well a log covers a policy.

    Parameters
    ----------
    target
        The policy's probability of every arm, float64 of shape [n, A].
    log
        The log.
    """
    sums = SupportSums(MemberCount.of(log.member_keys))
    sums.add(target, log.propensity, log.arm, log.member_keys)
    return sums.found()
