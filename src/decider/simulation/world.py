"""A world with known truth: its members, its candidates, and any epoch of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.simulation.members import Members, make_members
from decider.simulation.messages import Messages
from decider.simulation.spec import FEATURES, RECENT_UNIT, WorldSpec
from decider.simulation.weights import make_titles, make_weights

TENURE_ORGANIC = 0.3
"""What tenure adds to organic behaviour, on the logistic scale."""


@dataclass(frozen=True)
class World:
    """Everything that no policy changes. Deterministic in the seed; member i is the same in any world size."""

    spec: WorldSpec
    messages: Messages
    members: Members
    weights: NDArray[np.float32]
    """[n_epochs, K, N_WEIGHTS]"""
    titles: NDArray[np.float32]
    """[K, N_TASTES]"""
    affinity: NDArray[np.float32]
    """[K, N] of each member to each candidate's title: mean 0, variance 1."""

    def epoch(self, number: int) -> Epoch:
        """One epoch; before the first there is the past, with the first epoch's weights."""
        members, spec = self.members, self.spec
        activity = members.activity(number)
        tide = spec.weekly_swing * np.sin(2.0 * np.pi * number / 7.0)
        logit = np.float32(spec.organic_steepness) * activity + np.float32(TENURE_ORGANIC) * members.tenure
        span = np.float32(spec.organic_high - spec.organic_low)
        chance = 1 / (1 + np.exp(-(logit + np.float32(tide))))
        organic = np.asarray(np.float32(spec.organic_low) + span * chance, np.float32)
        z = np.empty((spec.n_members, 1 + len(FEATURES)), np.float32)
        z[:, 0], z[:, 1], z[:, 2], z[:, 3] = 1.0, activity, members.tenure, members.breadth
        z[:, 4:-1], z[:, -1] = members.tastes.T, 0.0
        weights = self.weights[max(number, 0)]
        fresh = _fresh_effects(z, self.affinity, weights)
        return Epoch(self, number, z, organic, weights, fresh, self.messages.live(number))


@dataclass(frozen=True)
class Epoch:
    """An epoch as it is for every policy: what a policy did before enters as `recent`, its decayed sends."""

    world: World
    number: int
    z_fresh: NDArray[np.float32]
    """[N, d] constant and features of members to whom nothing was sent lately."""
    organic: NDArray[np.float32]
    """[N] b(x), the chance to watch with no message."""
    weights: NDArray[np.float32]
    """[K, N_WEIGHTS]"""
    tau_fresh: NDArray[np.float32]
    """[K, N] true effects on members to whom nothing was sent lately."""
    live: NDArray[np.uint8]
    """[K] 0, or why the candidate is out for everyone."""

    def features(self, recent: NDArray[np.float32], rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """The features z of some members, f32[n, d], given the recent sends of all, f32[N]."""
        z = self.z_fresh[rows].copy()
        z[:, -1] = recent[rows] / np.float32(RECENT_UNIT)
        return z


def make_world(spec: WorldSpec) -> World:
    """Make the world that a specification describes."""
    messages, members = Messages.of(spec.messages), make_members(spec)
    titles = make_titles(spec, messages)
    # Sums of three products in a fixed order: a matrix product's last bits may depend on the world's size.
    affinity = titles[:, 0, None] * members.tastes[0]
    for axis in range(1, titles.shape[1]):
        affinity += titles[:, axis, None] * members.tastes[axis]
    return World(spec, messages, members, make_weights(spec, messages), titles, affinity)


def _fresh_effects(
    z: NDArray[np.float32], affinity: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    tau = weights[:, -1, None] * affinity
    columns = np.ascontiguousarray(z.T)
    scratch = np.empty(columns.shape[1], np.float32)
    for k in range(tau.shape[0]):
        for column, weight in zip(columns, weights[k, :-1], strict=True):
            tau[k] += np.multiply(column, weight, out=scratch)
    return tau
