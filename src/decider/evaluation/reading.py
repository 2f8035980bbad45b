"""Stored logs read as arrays: the whole of one, or chunk after chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.errors import InvalidInput, UnknownName
from decider.evaluation.logged import Logged
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

    def chunks(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """Go through the same rows, in order, a few at a time."""
        ...


def read_logged(feedback: FeedbackTable, reward: str) -> Logged:
    """Read a feedback log with one of its rewards.

    Raises
    ------
    UnknownName
        If the log has no such reward.
    InvalidInput
        If the log breaks a rule of :class:`Logged`, or a row's propensity differs from that of its arm.
    """
    layout = LogLayout.of(feedback, [reward])
    return layout.logged(feedback.read(layout.columns), 0)[0]


def logged_chunks(feedback: FeedbackTable, rewards: Sequence[str]) -> Iterator[tuple[Logged, ...]]:
    """Go through a feedback log in chunks, each checked as :func:`read_logged` checks the whole log.

    Yields
    ------
    The same rows with each of the rewards.

    Raises
    ------
    UnknownName, InvalidInput
        As there; rows are counted from the first of the log.
    """
    layout, first_row = LogLayout.of(feedback, rewards), 0
    for frame in feedback.chunks(layout.columns):
        yield layout.logged(frame, first_row)
        first_row += frame.height


class LogLayout(NamedTuple):
    """How the columns of a stored log become arrays.

    Parameters
    ----------
    arms
        The arms' names.
    control
        The code of the arm that sends nothing.
    rewards
        The rewards to be read.
    feature_names
        The features' names, in order.
    """

    arms: tuple[str, ...]
    control: int
    rewards: tuple[str, ...]
    feature_names: tuple[str, ...]

    @classmethod
    def of(cls, feedback: FeedbackTable, rewards: Sequence[str]) -> LogLayout:
        """Lay out a log; an unknown reward is refused."""
        for reward in rewards:
            if reward not in feedback.rewards:
                raise UnknownName.of("reward", f"must be one of {sorted(feedback.rewards)}", reward)
        arms = tuple(feedback.arms)
        if feedback.control not in arms:
            arms = (feedback.control, *arms)
        return cls(arms, arms.index(feedback.control), tuple(rewards), tuple(feedback.feature_names))

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        rewards = [f"y:{reward}" for reward in dict.fromkeys(self.rewards)]
        return ["member_id", "arm", "propensity", *rewards, *self._chances, *self._features]

    def logged(self, frame: pl.DataFrame, first_row: int) -> tuple[Logged, ...]:
        """Check rows and turn them into arrays, once for each reward; `first_row` is the first one's number."""
        for column in self.columns:
            _refuse_missing(frame, column, first_row)
        log = Logged(
            arms=self.arms,
            control=self.control,
            reward_name=self.rewards[0],
            feature_names=self.feature_names,
            x=_matrix(frame, self._features, pl.Float32).astype(np.float32, copy=False),
            arm=_codes(frame["arm"], self.arms, first_row),
            reward=_numbers(frame, f"y:{self.rewards[0]}"),
            propensity=_matrix(frame, self._chances, pl.Float64).astype(np.float64, copy=False),
            member_keys=member_keys_of(frame["member_id"]),
            first_row=first_row,
        )
        apart = np.abs(_numbers(frame, "propensity") - log.taken) > 1e-9
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            rule = f"must equal p:{self.arms[log.arm[row]]} = {log.taken[row]}"
            raise InvalidInput.of("propensity", rule, frame["propensity"][row], f"at row {first_row + row}")
        others = self.rewards[1:]
        return log, *(log.with_reward(name, _numbers(frame, f"y:{name}")) for name in others)

    @property
    def _chances(self) -> list[str]:
        return [f"p:{arm}" for arm in self.arms]

    @property
    def _features(self) -> list[str]:
        return [f"x:{name}" for name in self.feature_names]


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
    return frame.select(pl.col(columns).cast(dtype)).to_numpy(order="c")


def _numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return frame[column].cast(pl.Float64).to_numpy()


def _refuse_missing(frame: pl.DataFrame, column: str, first_row: int) -> None:
    # An arm that is missing is not one of the arms, and is refused as such.
    if column != "arm" and frame[column].null_count():
        place = int(frame[column].is_null().arg_true()[0])
        raise InvalidInput.of(column, "must not be missing", None, f"at row {first_row + place}")


def _codes(column: pl.Series, arms: tuple[str, ...], first_row: int) -> NDArray[np.int64]:
    places = pl.Series(range(len(arms)), dtype=pl.Int64)
    codes = column.cast(pl.String).replace_strict(pl.Series(arms), places, default=None)
    if codes.null_count():
        row = int(codes.is_null().arg_true()[0])
        raise InvalidInput.of("arm", f"must be one of {list(arms)}", column[row], f"at row {first_row + row}")
    return codes.to_numpy().astype(np.int64, copy=False)
