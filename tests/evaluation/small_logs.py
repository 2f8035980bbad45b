"""Logs whose truth is known, and one that can be read as a stored log is."""

import numpy as np
import polars as pl

from decider.evaluation import Logged

ARMS = ("nothing", "sale", "news")


def level(x):
    """Expected reward of every row under every arm, float64 of shape [n, 3]."""
    x = x.astype(np.float64)
    return np.stack([1.0 + x[:, 0], 1.4 + x[:, 0] + 0.5 * x[:, 1], 1.1 + x[:, 0] - 0.5 * x[:, 1]], axis=1)


def simulated(seed, n=2000, rows_per_member=1, member_sd=0.0, uniform=False):
    """A log of known levels, with propensities that vary with x, and rewards that vary with the member."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, 2)).astype(np.float32)
    strength = np.zeros((n, 3)) if uniform else np.stack([np.zeros(n), x[:, 0], 0.5 * x[:, 1]], axis=1)
    propensity = np.exp(strength)
    propensity /= propensity.sum(axis=1, keepdims=True)
    arm = (g.random(n)[:, None] > propensity.cumsum(axis=1)[:, :2]).sum(axis=1)
    members = np.arange(n) // rows_per_member
    shared = g.normal(size=n)[members] * member_sd
    reward = level(x)[np.arange(n), arm] + shared + g.normal(size=n)
    keys = members.astype(np.uint64)
    return Logged(ARMS, 0, "visit", ("a", "b"), x, arm.astype(np.int64), reward, propensity, keys)


def small(**changes):
    """Four rows that can be worked out by hand."""
    parts = {
        "arms": ("nothing", "sale"),
        "control": 0,
        "reward_name": "visit",
        "feature_names": ("a",),
        "x": np.zeros((4, 1), np.float32),
        "arm": np.array([0, 1, 1, 0]),
        "reward": np.array([1.0, 2.0, 4.0, 0.0]),
        "propensity": np.array([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]),
        "member_keys": np.arange(4, dtype=np.uint64),
    }
    return Logged(**parts | changes)


class StoredLog:
    """A feedback log in memory."""

    def __init__(self, frame, arms, control, rewards, feature_names):
        self.frame, self.arms, self.control = frame, arms, control
        self.rewards, self.feature_names = rewards, feature_names

    def read(self, columns):
        return self.frame.select(columns)


def stored(log, ids=None):
    """Store a log as a table."""
    columns = {
        "member_id": pl.Series(log.member_keys.view(np.int64)) if ids is None else pl.Series(ids),
        "arm": pl.Series([log.arms[code] for code in log.arm]),
        "propensity": pl.Series(log.taken),
        f"y:{log.reward_name}": pl.Series(log.reward),
    }
    columns |= {f"p:{arm}": pl.Series(log.propensity[:, j]) for j, arm in enumerate(log.arms)}
    columns |= {f"x:{name}": pl.Series(log.x[:, j]) for j, name in enumerate(log.feature_names)}
    control = log.arms[log.control]
    return StoredLog(pl.DataFrame(columns), list(log.arms), control, [log.reward_name], log.feature_names)
