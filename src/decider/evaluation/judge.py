"""Policies by every estimator: values, values against never messaging, intervals, gates.

Three passes over the rows, however many there are: what can be judged at all
(:mod:`decider.evaluation.gates`), the thresholds (:mod:`decider.evaluation.thresholds`), and the sums that
estimates are made of (:mod:`decider.evaluation.sums`). A log in memory goes through as one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.ahead import SideBySide
from decider.evaluation.bounds import Bounds
from decider.evaluation.constraints import uses
from decider.evaluation.estimates import JudgedPolicy, PolicyEstimates
from decider.evaluation.estimators import ESTIMATORS, PLAIN, THRESHOLDED, UNBIASED
from decider.evaluation.gates import Gates
from decider.evaluation.intervals import LEVEL, Estimate, Interval
from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider.evaluation.off_policy import probabilities
from decider.evaluation.passes import (
    CONTROL,
    HARM,
    HARM_ESTIMATORS,
    REWARD,
    JudgedChunk,
    JudgeSpec,
    Passes,
)
from decider.evaluation.rows import Terms, check_model
from decider.evaluation.sums import TermSums
from decider.evaluation.support import Limits
from decider.evaluation.thresholds import (
    Rule,
    Thresholds,
    ThresholdSums,
    candidates_for,
    halved_terms,
    in_first_half,
)

F64 = NDArray[np.float64]


def judge_policy(
    policy: NDArray[np.int64] | F64,
    log: Logged,
    q_hat: F64 | None = None,
    *,
    estimators: Sequence[str] = ESTIMATORS,
    groups: NDArray[np.int64] | None = None,
    reward_range: tuple[float, float] | None = None,
    rule: Rule = "mse",
    n_resamples: int = 1000,
    seed: int = 0,
    limits: Limits | None = None,
) -> PolicyEstimates:
    """Estimate a policy's value by each estimator of :mod:`decider.evaluation.estimators`, with intervals.

    Gates come first: sample ratio, support, effective sample size, largest weight. Where one is not passed,
    there is a reason and no number.

    Replay, DM, MIPS and the estimators with thresholds have a bias that their standard error does not know. Their
    intervals reach further by a bound on it: the distance to the estimator without bias (SNIPS, IPS or DR) and
    1.96 standard errors of that distance. So they cover, and are never narrower than that estimator's by much.

    Parameters
    ----------
    policy
        An arm's code for each row, int64 of shape [n], or the probability of each arm, float64 of shape [n, A].
    log
        The log.
    q_hat
        The reward model's value of every arm, float64 of shape [n, A], learnt without the row's own reward.
        Without it, the estimators that need one are refused.
    estimators
        Which.
    groups
        The group of every arm, such as a code of (type, channel), int64 of shape [A]; without it MIPS is
        refused.
    reward_range
        The least and the largest reward that could be; with it there are empirical Bernstein intervals.
    rule
        How thresholds are chosen: ``mse``, or ``slope``, whose guarantee lets through a bias of several standard
        errors.
    n_resamples, seed
        Of the bootstrap over members; the seed also halves the members for the choice of thresholds.
    limits
        The gates.

    Raises
    ------
    UnknownName
        For an estimator that there is not.
    InvalidInput
        If an array has another shape or dtype, or the policy is none.
    """
    target = probabilities(policy, log)
    if q_hat is not None:
        check_model(q_hat, log)
    spec = JudgeSpec(estimators, groups, reward_range, rule, n_resamples, seed, limits or Limits())
    chunk = JudgedChunk(log, {"policy": target}, None if q_hat is None else lambda _: q_hat)
    with SideBySide() as side:
        judge = _Judge(lambda _: [chunk], spec, MemberCount.of(log.member_keys), side, uses_up=False)
    return judge.found(REWARD, "policy")


def judge_policies(passes: Passes, spec: JudgeSpec, members: MemberCount) -> dict[str, JudgedPolicy]:
    """Judge policies on rows in chunks, as :func:`judge_policy` does one on rows in memory.

    All policies share the resamples: that of a difference is the difference of theirs. Whatever the number of rows,
    sums by cluster take at most 128 MiB, and 20 MiB for each policy while thresholds are chosen. The result does not
    depend on the number of threads.

    Parameters
    ----------
    passes
        Goes through the chunks, three times.
    spec
        How to judge.
    members
        The members of all rows, counted before.

    Raises
    ------
    InvalidInput
        If an array has another shape or dtype, or a reward lies outside the range named.
    """
    with SideBySide() as side:
        judge = _Judge(passes, spec, members, side, uses_up=True)
    return {
        policy: JudgedPolicy(
            judge.found(REWARD, source),
            judge.sums.estimate(_Name("volume", source)),
            judge.sums.estimate(_Name("cost", source)),
            judge.found(HARM, source) if judge.gates.has_harm else None,
        )
        for policy, source in judge.sources.items()
    }


class _Name(NamedTuple):
    """What an estimate is of: by the reward or the harm, of a policy, by an estimator; or what is used up."""

    by: str
    policy: str
    estimator: str = ""


Names = dict[str, list[_Name]]
"""By policy."""
Tuned = dict[tuple[str, str], ThresholdSums]
"""By what it is judged by, and by policy."""


class _Judge:
    """The passes, and the estimates that come of them."""

    def __init__(
        self, passes: Passes, spec: JudgeSpec, members: MemberCount, side: SideBySide, *, uses_up: bool
    ) -> None:
        self._spec = spec
        self._side = side
        self._uses_up = uses_up
        self.gates = Gates(passes, spec, members, side)
        self.sources = {policy: self.gates.source(policy) for policy in self.gates.policies}
        self._judged = list(dict.fromkeys(self.sources.values()))
        self._names = list(dict.fromkeys(self._needed()))
        self._thresholds = self._tuned(passes, members)
        self._bounds = {}
        if spec.reward_range is not None:
            self._bounds = {
                policy: Bounds(self.gates.largest_ratio(policy), spec.reward_range) for policy in self._judged
            }
        self.sums = self._summed(passes, members)

    def found(self, by: str, policy: str) -> PolicyEstimates:
        """Put together what was found of a policy."""
        gates = self.gates
        values, incremental = {}, {}
        for name in self._estimators(by):
            why = gates.refusal(by, policy, name)
            values[name] = Estimate.refuse(why) if why else self._estimate(by, policy, name, False)
            why = gates.incremental_refusal(by, policy, name)
            incremental[name] = Estimate.refuse(why) if why else self._estimate(by, policy, name, True)
        thresholds = {
            name: found
            for name in self._estimators(by)
            if (found := self._thresholds.get(_Name(by, policy, name))) is not None
        }
        supports = gates.supports[policy], gates.supports[CONTROL]
        return PolicyEstimates(values, incremental, thresholds, *supports, gates.sample_ratio)

    def _estimators(self, by: str) -> Sequence[str]:
        return self._spec.estimators if by == REWARD else HARM_ESTIMATORS

    def _needed(self) -> Iterator[_Name]:
        gates = self.gates
        of_control: list[_Name] = []
        for by in (REWARD, HARM) if gates.has_harm else (REWARD,):
            for name in self._estimators(by):
                for policy in self._judged:
                    if not gates.refusal(by, policy, name):
                        yield _Name(by, policy, name)
                        if not gates.incremental_refusal(by, policy, name):
                            of_control.append(_Name(by, CONTROL, name))
        yield from of_control

    def _tuned(self, passes: Passes, members: MemberCount) -> dict[_Name, Thresholds]:
        names: dict[tuple[str, str], list[str]] = {}
        for by, policy, name in self._names:
            if name in THRESHOLDED:
                names.setdefault((by, policy), []).append(name)
        if not names:
            return {}
        spec = self._spec
        sums: Tuned = {}
        for (by, policy), some in names.items():
            largest = self.gates.largest_weight(policy)
            candidates = {name: candidates_for(name, largest) for name in some}
            sums[by, policy] = ThresholdSums(candidates, members, spec.rule, spec.seed)
        for chunk in passes("thresholds"):
            chunk.ready(REWARD)
            self._side.map(partial(self._tune, chunk, sums), sums)
        return {
            _Name(by, policy, name): thresholds
            for (by, policy), each in sums.items()
            for name, thresholds in each.chosen().items()
        }

    def _tune(self, chunk: JudgedChunk, sums: Tuned, of: tuple[str, str]) -> None:
        sums[of].add(THRESHOLDED, chunk.rows(*of, self._spec.groups), chunk.log.member_keys)

    def _summed(self, passes: Passes, members: MemberCount) -> TermSums:
        names: Names = {}
        for name in self._names:
            names.setdefault(name.policy, []).append(name)
        sums = TermSums(members, self._spec.n_resamples, self._spec.seed, self._side)
        others = [policy for policy in self._judged if policy != CONTROL]
        for chunk in passes("estimates"):
            chunk.ready(REWARD, HARM)
            found = self._side.map(partial(self._terms, chunk, names), (*others, CONTROL))
            sums.add({name: each for some in found for name, each in some.items()}, chunk.log.member_keys)
        return sums

    def _terms(self, chunk: JudgedChunk, of: Names, policy: str) -> dict[_Name, Terms]:
        """Make the terms of one policy."""
        terms: dict[_Name, Terms] = {}
        first = in_first_half(chunk.log.member_keys, self._spec.seed)
        names = of.get(policy, [])
        for key in names:
            rows = chunk.rows(key.by, policy, self._spec.groups)
            if key.estimator in THRESHOLDED:
                estimator = THRESHOLDED[key.estimator]
                terms[key] = halved_terms(estimator, rows, first, self._thresholds[key])
            else:
                terms[key] = PLAIN[key.estimator](rows)
            if key.estimator in UNBIASED:
                reference = UNBIASED[key.estimator]
                terms.setdefault(_Name(key.by, policy, reference), PLAIN[reference](rows))
        if policy in self._bounds and names:
            self._bounds[policy].add(chunk.rows(REWARD, policy, self._spec.groups), chunk.q_hat)
        if self._uses_up and policy in self._judged:
            for use, each in uses(chunk.target(policy), chunk.log, self._spec.costs).items():
                terms[_Name(use, policy)] = each
        return terms

    def _estimate(self, by: str, policy: str, name: str, incremental: bool) -> Estimate:
        key = _Name(by, policy, name)
        control = _Name(by, CONTROL, name) if incremental else None
        estimate = self.sums.estimate(key, control)
        if estimate.value is None:
            return estimate
        if name in UNBIASED:
            reference = _Name(by, policy, UNBIASED[name])
            of_control = _Name(by, CONTROL, UNBIASED[name]) if incremental else None
            return self._with_bias(estimate, (key, control), (reference, of_control))
        if not incremental and by == REWARD and policy in self._bounds and name in ("ips", "dr"):
            interval = self._bounds[policy].interval(name, *self.sums.by_cluster(key))
            return replace(estimate, bernstein=interval)
        return estimate

    def _with_bias(
        self,
        estimate: Estimate,
        terms: tuple[_Name, _Name | None],
        reference: tuple[_Name, _Name | None],
    ) -> Estimate:
        distance, doubt = self.sums.distance(terms, reference)
        bound = abs(distance) + NormalDist().inv_cdf(0.5 + LEVEL / 2) * doubt

        def wider(ends: Interval | None) -> Interval | None:
            return None if ends is None else Interval(ends.low - bound, ends.high + bound)

        # The bound on the bias holds at one look only.
        return replace(
            estimate, normal=wider(estimate.normal), bootstrap=wider(estimate.bootstrap), anytime=None
        )
