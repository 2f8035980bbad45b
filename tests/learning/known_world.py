"""Logs of single messages from a world whose effects are known."""

import numpy as np

from decider.evaluation import Logged

ARMS = ("nothing", "sale", "news")
FEATURES = ("a", "b", "c", "d")

# Rows: sale and news. Columns: an average effect, and how it varies with each feature.
SLOPES = np.array([[0.5, 0.4, -0.3, 0.0, 0.0], [0.1, 0.2, 0.0, 0.3, 0.0]])
EVEN = np.array([[0.5, 0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 0.0]])


def effects(x, slopes=SLOPES):
    """True incrementality of sale and news, float64 of shape [n, 2]."""
    return slopes[:, 0] + np.asarray(x, np.float64) @ slopes[:, 1:].T


def base(x):
    """Expected reward of every row when nothing is sent; no line in x."""
    x = np.asarray(x, np.float64)
    return 1.0 + x[:, 0] + 0.7 * np.sin(2 * x[:, 1]) + 0.5 * x[:, 3] ** 2


def levels(x, slopes=SLOPES):
    """Expected reward of every row under every arm, float64 of shape [n, 3]."""
    return base(x)[:, None] + np.column_stack([np.zeros(len(x)), effects(x, slopes)])


def members_at(n, seed=99):
    """Members to ask about, float32 of shape [n, 4]."""
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def propensities(x, strength):
    """Chance of every arm: the more a member is worth anyway, the more likely is a sale."""
    x = np.asarray(x, np.float64)
    tilt = np.stack([np.zeros(len(x)), strength * x[:, 0], -strength * x[:, 1]], axis=1)
    chance = np.exp(np.clip(tilt, -1.5, 1.5))
    return chance / chance.sum(axis=1, keepdims=True)


def simulated(seed, n=1500, slopes=SLOPES, strength=0.0, rows_per_member=1, member_sd=0.0):
    """A log of n rows."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, 4)).astype(np.float32)
    members = np.arange(n) // rows_per_member
    x = x[members * rows_per_member]
    propensity = propensities(x, strength)
    arm = (g.random(n)[:, None] > propensity.cumsum(axis=1)[:, :2]).sum(axis=1).astype(np.int64)
    reward = levels(x, slopes)[np.arange(n), arm] + g.normal(size=n)
    # Each member answers to the sale in a way of their own.
    reward += member_sd * g.normal(size=n)[members] * (arm == 1)
    keys = members.astype(np.uint64) + np.uint64(seed * n)
    return Logged(ARMS, 0, "visit", FEATURES, x, arm, reward, propensity, keys)
