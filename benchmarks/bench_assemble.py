"""Policy values and greedy sets of three under price and caps, against NumPy, on one thread in one run."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.timing import median_seconds
from decider_core.assemble import Caps, assemble
from decider_core.explore import UCB, policy_values

CHUNK = 4096
"""Members at a time, for both sides: their values then stay in L2."""
MAX_MESSAGES = 3
SHAPES = [(1, 32), (4096, 8), (4096, 32), (1_000_000, 32), (4096, 128)]


def members(n: int, k: int) -> dict[str, np.ndarray]:
    """Members of whom two in ten candidates are barred; five rooms in a hundred are used up."""
    g = np.random.default_rng(0)
    keys = g.integers(0, 1 << 60, n, np.uint64) << np.uint64(4)
    return {
        "mean": g.normal(0.0, 0.5, (k, n)).astype(np.float32),
        "sd": g.uniform(0.1, 0.5, (k, n)).astype(np.float32),
        "reason": (g.random((k, n)) < 0.2).astype(np.uint8),
        "fatigue": g.uniform(0.0, 0.2, n).astype(np.float32),
        "room_member": np.where(g.random(n) < 0.05, 1, 3).astype(np.int16),
        "room_channel": np.where(g.random((4, n)) < 0.05, 0, 2).astype(np.int16),
        "room_topic": np.where(g.random((k // 4, n)) < 0.05, 0, 1).astype(np.int16),
        "tie_keys": keys,
    }


class Kernels:
    """Values and sets, chunk by chunk."""

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        self.k, self.n = rows["mean"].shape
        self.cost, self.price = np.ones(self.k, np.float32), np.full(self.k, 0.4, np.float32)
        self.channel = (np.arange(self.k) % 4).astype(np.int32)
        self.topic = (np.arange(self.k) // 4).astype(np.int32)
        self.candidate_keys = np.arange(self.k, dtype=np.uint64)
        self.chunks = [
            {name: np.ascontiguousarray(a[..., first : first + CHUNK]) for name, a in rows.items()}
            for first in range(0, self.n, CHUNK)
        ]

    def __call__(self) -> np.ndarray:
        """Return the sets of all members."""
        return np.concatenate([self.decide(**chunk) for chunk in self.chunks], axis=1)

    def decide(self, mean, sd, reason, fatigue, room_member, room_channel, room_topic, tie_keys):
        """Return the sets of a chunk."""
        value = policy_values(UCB, mean, sd, 0.5, np.uint64(1), tie_keys, self.candidate_keys)
        caps = Caps(self.channel, self.topic, room_member, room_channel, room_topic, MAX_MESSAGES)
        return assemble(value, reason, fatigue, 0.1, self.cost, self.price, 0, tie_keys, caps)[0]


class NumPy(Kernels):
    """The same, place after place for all members of a chunk."""

    def decide(self, mean, sd, reason, fatigue, room_member, room_channel, room_topic, tie_keys):
        """Return the sets of a chunk."""
        n = mean.shape[1]
        value = np.where(reason == 0, mean + np.float32(0.5) * sd, np.float32(-np.inf))
        columns = np.arange(n)
        sets = np.full((MAX_MESSAGES, n), -1, np.int16)
        left_channel, left_topic = room_channel.copy(), room_topic.copy()
        same_topic = np.zeros(room_topic.shape, np.float32)
        going_on = np.ones(n, bool)
        for place in range(MAX_MESSAGES):
            loss = np.where(left_topic > 0, same_topic, np.float32(np.inf))[self.topic]
            loss += np.where(left_channel > 0, np.float32(0), np.float32(np.inf))[self.channel]
            delta = (value - fatigue * np.float32(place)) - loss
            best = (delta - (self.price * self.cost)[:, None]).argmax(axis=0)
            rate = delta[best, columns] / self.cost[best]
            going_on &= (rate > self.price[best]) & (place < room_member)
            who = np.flatnonzero(going_on)
            added = best[who]
            sets[place, who] = added
            value[added, who] = -np.inf
            left_channel[self.channel[added], who] -= 1
            left_topic[self.topic[added], who] -= 1
            same_topic[self.topic[added], who] += np.float32(0.1)
        return sets


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"m{shape[0]:.0e}-k{shape[1]}".replace("+0", ""))
def test_sets(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int]
) -> None:
    n, k = shape
    rows = members(n, k)
    ours, theirs = Kernels(rows), NumPy(rows)
    np.testing.assert_array_equal(ours(), theirs())
    seconds, numpy_seconds = median_seconds(ours, theirs)
    benchmark.pedantic(ours, rounds=3)
    figures = {"ns_per_member": seconds / n * 1e9, "times_numpy": numpy_seconds / seconds}
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\nsets m{n:.0e}-k{k}: {figures['ns_per_member']:.0f} ns a member, "
            f"{figures['times_numpy']:.1f} times NumPy"
        )
