"""The epochs before the first: rules sent more to who was active, and nobody wrote down how likely it was.

So members begin with recent sends that go with activity, and the log of these epochs is confounded: who was sent
something would have watched more often anyway.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.simulation import keys
from decider.simulation.learner import Batch
from decider.simulation.outcomes import draw_outcomes
from decider.simulation.state import State
from decider.simulation.truth import response
from decider.simulation.world import Epoch, World
from decider_core.random import pair_uniforms, stream_key, uniforms


class Past(NamedTuple):
    """How it left the members, and its log, an epoch a batch, of all members."""

    state: State
    batches: list[Batch]


def live_past(world: World) -> Past:
    """Live through a world's past: at most one message a member, any that is eligible."""
    state, batches = State.fresh(world), []
    for number in range(-world.spec.past_epochs, 0):
        epoch = world.epoch(number)
        reason = state.reasons(epoch, slice(None))
        sets = _past_sets(epoch, reason)
        outcomes = draw_outcomes(epoch, response(epoch, state.recent, sets).expected)
        batches.append(
            Batch(
                number, world.members.keys, epoch.features(state.recent, slice(None)), world.affinity[None],
                reason, sets, np.zeros(sets.shape[1], np.bool_), None, outcomes.reward.astype(np.float64),
            )
        )  # fmt: skip
        state.after(epoch, sets)
    return Past(state, batches)


def _past_sets(epoch: Epoch, reason: NDArray[np.uint8]) -> NDArray[np.int16]:
    spec, member_keys = epoch.world.spec, epoch.world.members.keys
    activity = epoch.z_fresh[:, 1].astype(np.float64)
    chance = 1.0 / (1.0 + np.exp(1.0 - spec.past_steepness * activity))
    sent = uniforms(stream_key(spec.seed, keys.PAST, epoch.number), member_keys) < chance
    dice = pair_uniforms(
        stream_key(spec.seed, keys.PAST_PICK, epoch.number), member_keys, epoch.world.messages.keys
    )
    dice[reason != 0] = -1.0
    pick = dice.argmax(axis=0)
    sets = np.full((spec.max_messages, spec.n_members), -1, np.int16)
    sets[0] = np.where(sent & (dice.max(axis=0) > 0.0), pick, -1)
    return sets
