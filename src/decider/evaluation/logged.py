"""A randomised log as arrays: what was seen, what was done with which probability, what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation


@dataclass(frozen=True, eq=False)
class Logged:
    """Logged rows, each of one member to whom one arm was given by a known chance.

    Parameters
    ----------
    arms
        The A arms' names; a code is a place in it.
    control
        The code of the arm that sends nothing.
    reward_name
        What the reward is called.
    feature_names
        The d0 features' names.
    x
        Raw features, float32 of shape [n, d0], finite.
    arm
        Code of the arm given, int64 of shape [n].
    reward
        float64 of shape [n], finite.
    propensity
        Probability of every arm when the row was logged, float64 of shape [n, A]: rows sum to 1 within 1e-6,
        and that of the arm given is greater than 0.
    member_keys
        uint64 of shape [n]; rows with one key belong to one member.
    first_row
        The number of the first row in the log that these are a chunk of: errors count from it.

    Raises
    ------
    InvalidInput
        For every rule that is broken, with the first row that breaks it.
    """

    arms: tuple[str, ...]
    control: int
    reward_name: str
    feature_names: tuple[str, ...]
    x: NDArray[np.float32]
    arm: NDArray[np.int64]
    reward: NDArray[np.float64]
    propensity: NDArray[np.float64]
    member_keys: NDArray[np.uint64]
    first_row: int = 0

    def __post_init__(self) -> None:
        broken = _broken_shapes(self) or _broken_values(self)
        if broken:
            raise InvalidInput(broken)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.arm)

    @property
    def n_arms(self) -> int:
        """The number of arms, the control included."""
        return len(self.arms)

    @property
    def taken(self) -> NDArray[np.float64]:
        """Probability of the arm that was given, float64 of shape [n]."""
        return np.take_along_axis(self.propensity, self.arm[:, None], axis=1)[:, 0]

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Logged:
        """Keep some rows, by mask or by number."""
        return replace(
            self,
            x=self.x[chosen],
            arm=self.arm[chosen],
            reward=self.reward[chosen],
            propensity=self.propensity[chosen],
            member_keys=self.member_keys[chosen],
            first_row=0,
        )


def _broken_shapes(log: Logged) -> list[Violation]:
    n, n_arms = len(log.arm), len(log.arms)
    broken = []
    if n_arms < 2 or len(set(log.arms)) != n_arms:
        broken.append(Violation("arms", f"must be two or more distinct names, got {list(log.arms)}"))
    if not 0 <= log.control < n_arms:
        broken.append(Violation("control", f"must be a code of an arm, got {log.control}"))
    if n == 0:
        broken.append(Violation("arm", "must hold at least one row, got none"))
    wanted = (
        ("x", log.x, np.float32, (n, len(log.feature_names))),
        ("arm", log.arm, np.int64, (n,)),
        (_reward_field(log), log.reward, np.float64, (n,)),
        ("propensity", log.propensity, np.float64, (n, n_arms)),
        ("member_keys", log.member_keys, np.uint64, (n,)),
    )
    for name, array, dtype, shape in wanted:
        if array.dtype != dtype or array.shape != shape:
            found = f"{array.dtype} of shape {array.shape}"
            broken.append(Violation(name, f"must be {np.dtype(dtype)} of shape {shape}, got {found}"))
    return broken


def _broken_values(log: Logged) -> list[Violation]:
    broken = []

    def require(name: str, rule: str, values: NDArray[np.generic], good: NDArray[np.bool_]) -> None:
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            broken.append(Violation(name, f"{rule}, got {values[row]} at row {log.first_row + row}"))

    require("arm", f"must be in [0, {log.n_arms})", log.arm, (log.arm >= 0) & (log.arm < log.n_arms))
    require(_reward_field(log), "must be finite", log.reward, np.isfinite(log.reward))
    if not np.isfinite(log.x).all():
        for j, name in enumerate(log.feature_names):
            require(f"x:{name}", "must be finite", log.x[:, j], np.isfinite(log.x[:, j]))
    for a, name in enumerate(log.arms):
        chance = log.propensity[:, a]
        require(f"p:{name}", "must be in [0, 1]", chance, (chance >= 0) & (chance <= 1))
    if not broken:
        total = log.propensity.sum(axis=1)
        require("propensity", "must sum to 1 over the arms", total, np.abs(total - 1) <= 1e-6)
        require("propensity", "must be > 0 for the arm that was given", log.taken, log.taken > 0)
    return broken


def _reward_field(log: Logged) -> str:
    return f"y:{log.reward_name}"
