"""The first pass of a judge: what can be judged at all, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from decider.evaluation.ahead import SideBySide
from decider.evaluation.bounds import check_rewards
from decider.evaluation.estimators import BY_MODEL
from decider.evaluation.logged import Logged
from decider.evaluation.members import MemberCount
from decider.evaluation.passes import CONTROL, HARM, REWARD, JudgedChunk, JudgeSpec, Passes
from decider.evaluation.propensities import CheckSums, ratio_of
from decider.evaluation.support import GroupSupportSums, Limits, Support, SupportSums


class Gates:
    """Which estimators may judge which policies.

    Parameters
    ----------
    passes
        Gone through once.
    spec
        Names the estimators and the limits.
    members
        The members of all rows.
    side
        Threads on which policies are looked at.
    """

    def __init__(self, passes: Passes, spec: JudgeSpec, members: MemberCount, side: SideBySide) -> None:
        self._limits = spec.limits
        self._looks: dict[str, _Look] = {}
        self._models: set[str] = set()
        self._sources: dict[str, str] = {}
        self.has_harm = False
        checks: CheckSums | None = None
        n_rows = 0
        for chunk in passes("gates"):
            if checks is None:
                checks = CheckSums(chunk.log.arms, members)
                self._sources = {
                    name: CONTROL if target is None else name for name, target in chunk.targets.items()
                }
                looked_at = dict.fromkeys((CONTROL, *self._sources.values()))
                self._looks = {name: _Look(spec, members) for name in looked_at}
                self._models = {by for by in (REWARD, HARM) if chunk.has_model(by)}
                self.has_harm = chunk.harm is not None
            chunk.ready()
            checks.add(chunk.log)
            if spec.reward_range is not None:
                check_rewards(chunk.log, spec.reward_range, n_rows)
            n_rows += chunk.log.n_rows
            side.map(partial(self._look, chunk), self._looks)
        self.sample_ratio = 1.0 if checks is None else ratio_of(checks.checks())
        self.supports: Mapping[str, Support] = {
            name: look.support.found() for name, look in self._looks.items()
        }
        self._reaches = {
            name: look.reach.found() for name, look in self._looks.items() if look.reach is not None
        }

    def _look(self, chunk: JudgedChunk, policy: str) -> None:
        self._looks[policy].add(chunk.target(policy), chunk.log)

    @property
    def policies(self) -> list[str]:
        """The policies' names."""
        return list(self._sources)

    def source(self, policy: str) -> str:
        """What a policy is judged as: by its own name, or as the control."""
        return self._sources[policy]

    def largest_weight(self, policy: str) -> float:
        """The largest weight of a policy over all rows."""
        return self._looks[policy].support.largest_weight

    def largest_ratio(self, policy: str) -> float:
        """The largest probability of the policy over the log's, of any arm that was possible in any row."""
        return self._looks[policy].support.largest_ratio

    def refusal(self, by: str, policy: str, name: str) -> str:
        """Say why an estimator has no number for a policy; "" if it has one."""
        if self.sample_ratio < self._limits.sample_ratio:
            return f"the arms do not come as often as their propensities say (p = {self.sample_ratio:.1e})"
        if name in BY_MODEL and by not in self._models:
            return "no reward model was given"
        if name == "mips" and policy not in self._reaches:
            return "no groups of arms were given"
        support = self._looks[policy].support
        if name == "replay" and support.n_certain < support.n_rows:
            return "the policy chooses at random, which replay cannot judge"
        if name == "mips":
            # A group may be reached through any of its arms.
            return self._reaches[policy].refusal(self._limits)
        if name == "dm":
            # No weights, so no limits to them; but what the log never did, its model does not know.
            return self.supports[policy].refusal(Limits(0.0, 1.0, 0))
        return self.supports[policy].refusal(self._limits)

    def incremental_refusal(self, by: str, policy: str, name: str) -> str:
        """Say why an estimator has no number against sending nothing; "" if it has one."""
        why = self.refusal(by, policy, name)
        if why:
            return why
        why = self.refusal(by, CONTROL, name)
        return f"sending nothing: {why}" if why else ""


class _Look:
    """What is seen of one policy without looking at rewards."""

    def __init__(self, spec: JudgeSpec, members: MemberCount) -> None:
        self.support = SupportSums(members)
        self.reach = None if spec.groups is None else GroupSupportSums(members, spec.groups)

    def add(self, target: NDArray[np.float64], log: Logged) -> None:
        for sums in (self.support, self.reach):
            if sums is not None:
                sums.add(target, log.propensity, log.arm, log.member_keys)
