"""Who watches, and when it shows: outcomes are late, and a window closes when all of them have come."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.simulation import keys
from decider.simulation.world import Epoch
from decider_core.random import stream_key, uniforms


class Outcomes(NamedTuple):
    """Of the decisions of one epoch."""

    epoch: int
    reward: NDArray[np.uint8]
    """[N] 1 for those who watched inside the window."""
    delay: NDArray[np.int8]
    """[N] epochs until it shows; of those with reward 1."""

    def seen(self, now: int) -> NDArray[np.uint8]:
        """u8[N] what has shown by the end of epoch `now`: too little until the window is closed."""
        return np.asarray(self.reward & (self.delay <= now - self.epoch), np.uint8)


def draw_outcomes(epoch: Epoch, expected: NDArray[np.float32]) -> Outcomes:
    """Draw who watches, given each member's chance.

    A member's die is the same under every policy: two policies that treat somebody alike see the same.
    """
    spec, member_keys = epoch.world.spec, epoch.world.members.keys
    dice = uniforms(stream_key(spec.seed, keys.OUTCOME, epoch.number), member_keys)
    when = uniforms(stream_key(spec.seed, keys.DELAY, epoch.number), member_keys)
    # The last bound is left out, since rounding may leave it below 1.
    delay = np.searchsorted(np.cumsum(spec.delay_shares)[:-1], when).astype(np.int8)
    return Outcomes(epoch.number, (dice < expected).astype(np.uint8), delay)
