"""The members of a simulated world: who they are, how active in any epoch, to which channels they consent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.simulation import keys
from decider.simulation.spec import CHANNELS, N_TASTES, WorldSpec
from decider_core.random import normals, pair_uniforms, stream_key, uniforms

LASTING = 0.7
"""Share of the variance of activity that lasts; the rest is each member's own rhythm."""


class Members(NamedTuple):
    """N members, column by column. A member's columns depend on the seed and its number only."""

    keys: NDArray[np.uint64]
    """[N] for keyed draws."""
    level: NDArray[np.float32]
    """[N] lasting activity."""
    period: NDArray[np.float32]
    """[N] epochs of the member's rhythm, 5 to 20."""
    phase: NDArray[np.float32]
    """[N] in radians."""
    tenure: NDArray[np.float32]
    breadth: NDArray[np.float32]
    tastes: NDArray[np.float32]
    """[N_TASTES, N]"""
    consent: NDArray[np.uint32]
    """[N] bit c: consents to channel c before the first epoch."""

    def activity(self, epoch: int) -> NDArray[np.float32]:
        """f32[N] in an epoch: mean 0, variance 1 over members, and over epochs around the member's level."""
        wave = np.sin(np.float32(2.0 * np.pi * epoch) / self.period + self.phase)
        swing = np.float32(np.sqrt(2.0 * (1.0 - LASTING)))
        return np.asarray(np.float32(np.sqrt(LASTING)) * self.level + swing * wave, np.float32)


def make_members(spec: WorldSpec) -> Members:
    """Draw the members of a world."""
    member_keys = np.arange(spec.n_members, dtype=np.uint64)
    columns = np.arange(3 + N_TASTES, dtype=np.uint64)
    drawn = normals(stream_key(spec.seed, keys.FEATURE), member_keys, columns)
    period, phase = (
        uniforms(stream_key(spec.seed, keys.RHYTHM, index=index), member_keys).astype(np.float32)
        for index in range(2)
    )
    channels = np.arange(len(CHANNELS), dtype=np.uint64)
    dice = pair_uniforms(stream_key(spec.seed, keys.CONSENT), member_keys, channels)
    says_yes = dice < np.array(spec.consent)[:, None]
    bits = np.left_shift(np.uint32(1), np.arange(len(CHANNELS), dtype=np.uint32))
    return Members(
        keys=member_keys,
        level=drawn[0],
        period=np.float32(5.0) + np.float32(15.0) * period,
        phase=np.float32(2.0 * np.pi) * phase,
        tenure=drawn[1],
        breadth=drawn[2],
        tastes=drawn[3:],
        consent=np.asarray((says_yes * bits[:, None]).sum(axis=0), np.uint32),
    )
