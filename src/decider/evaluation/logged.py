"""A randomised log as arrays: what was seen, what was done with which probability, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.errors import InvalidInput, UnknownName, Violation
from decider_core.random import hash_strings


class FeedbackTable(Protocol):
    """What is read of a stored feedback log."""

    @property
    def arms(self) -> Sequence[str]:
        """The arms' names."""
        ...

    @property
    def control(self) -> str:
        """The arm that sends nothing."""
        ...

    @property
    def rewards(self) -> Sequence[str]:
        """The rewards' names."""
        ...

    @property
    def feature_names(self) -> Sequence[str]:
        """The features' names, in order."""
        ...

    def read(self, columns: list[str]) -> pl.DataFrame:
        """Read whole columns."""
        ...


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
        )


def read_logged(feedback: FeedbackTable, reward: str) -> Logged:
    """Read a feedback log with one of its rewards.

    Raises
    ------
    UnknownName
        If the log has no such reward.
    InvalidInput
        If the log breaks a rule of :class:`Logged`, or a row's propensity differs from that of its arm.
    """
    if reward not in feedback.rewards:
        raise UnknownName.of("reward", f"must be one of {sorted(feedback.rewards)}", reward)
    arms = tuple(feedback.arms)
    if feedback.control not in arms:
        arms = (feedback.control, *arms)
    features = tuple(feedback.feature_names)
    chances, columns = [f"p:{arm}" for arm in arms], [f"x:{name}" for name in features]
    frame = feedback.read(["member_id", "arm", "propensity", f"y:{reward}", *chances, *columns])
    log = Logged(
        arms=arms,
        control=arms.index(feedback.control),
        reward_name=reward,
        feature_names=features,
        x=_matrix(frame, columns, pl.Float32).astype(np.float32, copy=False),
        arm=_codes(frame["arm"], arms),
        reward=_numbers(frame, f"y:{reward}"),
        propensity=_matrix(frame, chances, pl.Float64).astype(np.float64, copy=False),
        member_keys=member_keys_of(frame["member_id"]),
    )
    apart = np.abs(_numbers(frame, "propensity") - log.taken) > 1e-9
    if apart.any():
        row = int(np.flatnonzero(apart)[0])
        rule = f"must equal p:{arms[log.arm[row]]} = {log.taken[row]}"
        raise InvalidInput.of("propensity", rule, frame["propensity"][row], f"at row {row}")
    return log


def member_keys_of(ids: pl.Series) -> NDArray[np.uint64]:
    """Turn member ids into keys: integers by their bits, strings by a hash of their UTF-8 bytes."""
    if ids.null_count():
        place = int(ids.is_null().arg_true()[0])
        raise InvalidInput.of("member_id", "must not be missing", None, f"at row {place}")
    if ids.dtype.is_integer():
        return ids.cast(pl.Int64).to_numpy().view(np.uint64)
    if ids.dtype != pl.String:
        raise InvalidInput.of("member_id", "must be integers or strings", str(ids.dtype))
    data = np.frombuffer("".join(ids.to_list()).encode(), np.uint8)
    offsets = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(ids.str.len_bytes().to_numpy(), out=offsets[1:])
    return hash_strings(data, offsets)


def _matrix(frame: pl.DataFrame, columns: list[str], dtype: type[pl.DataType]) -> NDArray[np.float64]:
    if not columns:
        return np.empty((frame.height, 0))
    for column in columns:
        _refuse_missing(frame, column)
    return frame.select(pl.col(columns).cast(dtype)).to_numpy(order="c")


def _numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    _refuse_missing(frame, column)
    return frame[column].cast(pl.Float64).to_numpy()


def _refuse_missing(frame: pl.DataFrame, column: str) -> None:
    if frame[column].null_count():
        place = int(frame[column].is_null().arg_true()[0])
        raise InvalidInput.of(column, "must not be missing", None, f"at row {place}")


def _codes(column: pl.Series, arms: tuple[str, ...]) -> NDArray[np.int64]:
    places = pl.Series(range(len(arms)), dtype=pl.Int64)
    codes = column.cast(pl.String).replace_strict(pl.Series(arms), places, default=None)
    if codes.null_count():
        row = int(codes.is_null().arg_true()[0])
        raise InvalidInput.of("arm", f"must be one of {list(arms)}", column[row], f"at row {row}")
    return codes.to_numpy().astype(np.int64, copy=False)


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
            broken.append(Violation(name, f"{rule}, got {values[row]} at row {row}"))

    require("arm", f"must be in [0, {log.n_arms})", log.arm, (log.arm >= 0) & (log.arm < log.n_arms))
    require(_reward_field(log), "must be finite", log.reward, np.isfinite(log.reward))
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
