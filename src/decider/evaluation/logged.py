"""A randomised log as arrays: what was seen, what was done with which probability, what came of it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider_core.coverage import of_action


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
        return of_action(self.propensity, self.arm)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Logged:
        """Keep some rows, by mask or by number."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        kept = copy(self)
        # What holds of all rows holds of some of them: nothing is checked again.
        for name in ("x", "arm", "reward", "propensity", "member_keys"):
            object.__setattr__(kept, name, getattr(self, name).take(places, axis=0))
        object.__setattr__(kept, "first_row", 0)
        if not kept.n_rows:
            raise InvalidInput(_NO_ROWS)
        return kept

    def with_reward(self, name: str, reward: NDArray[np.float64]) -> Logged:
        """Put another reward in the place of this one: float64 of shape [n], finite."""
        other = copy(self)
        object.__setattr__(other, "reward_name", name)
        object.__setattr__(other, "reward", reward)
        broken = _broken_shapes(other) or _broken_reward(other)
        if broken:
            raise InvalidInput(broken)
        return other


_NO_ROWS: Final = [Violation("arm", "must hold at least one row, got none")]


def _broken_shapes(log: Logged) -> list[Violation]:
    n, n_arms = len(log.arm), len(log.arms)
    broken = []
    if n_arms < 2 or len(set(log.arms)) != n_arms:
        broken.append(Violation("arms", f"must be two or more distinct names, got {list(log.arms)}"))
    if not 0 <= log.control < n_arms:
        broken.append(Violation("control", f"must be a code of an arm, got {log.control}"))
    if n == 0:
        broken += _NO_ROWS
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
    n_arms = log.n_arms
    broken = _first_broken(
        log, "arm", f"must be in [0, {n_arms})", log.arm, (log.arm >= 0) & (log.arm < n_arms)
    )
    broken += _broken_reward(log)
    if not np.isfinite(log.x).all():
        for j, name in enumerate(log.feature_names):
            column = log.x[:, j]
            broken += _first_broken(log, f"x:{name}", "must be finite", column, np.isfinite(column))
    for a, name in enumerate(log.arms):
        chance = log.propensity[:, a]
        broken += _first_broken(log, f"p:{name}", "must be in [0, 1]", chance, (chance >= 0) & (chance <= 1))
    if not broken:
        total, taken = log.propensity @ np.ones(n_arms), log.taken
        rule = "must sum to 1 over the arms"
        broken += _first_broken(log, "propensity", rule, total, np.abs(total - 1) <= 1e-6)
        broken += _first_broken(log, "propensity", "must be > 0 for the arm that was given", taken, taken > 0)
    return broken


def _broken_reward(log: Logged) -> list[Violation]:
    return _first_broken(log, _reward_field(log), "must be finite", log.reward, np.isfinite(log.reward))


def _first_broken(
    log: Logged, name: str, rule: str, values: NDArray[np.generic], good: NDArray[np.bool_]
) -> list[Violation]:
    if good.all():
        return []
    row = int(np.flatnonzero(~good)[0])
    return [Violation(name, f"{rule}, got {values[row]} at row {log.first_row + row}")]


def _reward_field(log: Logged) -> str:
    return f"y:{log.reward_name}"
