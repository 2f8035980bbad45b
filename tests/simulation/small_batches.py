"""Logs of sets drawn at random, as a learner reads them."""

from __future__ import annotations

import numpy as np

from decider.simulation.choose import Choice
from decider.simulation.contenders import COUNT_SHARES
from decider.simulation.inclusion import expected_inclusion
from decider.simulation.learner import Batch
from decider.simulation.outcomes import draw_outcomes
from decider.simulation.run import batch_of
from decider.simulation.state import State
from decider.simulation.truth import response
from decider.simulation.world import World
from decider_core.caps import Caps
from decider_core.explore import explore_sets


def drawn_batch(world: World, state: State, number: int) -> Batch:
    """Everybody's set is drawn at random in an epoch; the state stays as it was."""
    epoch, n = world.epoch(number), world.spec.n_members
    messages, reason = world.messages, state.reasons(epoch, slice(None))
    room = np.full((len(messages.topics), n), 3, np.int16)
    caps = Caps(messages.channel, messages.topic, room[0].copy(), room[:4].copy(), room, 3)
    shares, weight = np.array(COUNT_SHARES), np.ones(messages.n)
    sets, _ = explore_sets(1, number, shares, weight, reason, caps, world.members.keys, messages.keys)
    outcomes = draw_outcomes(epoch, response(epoch, state.recent, sets).expected)
    inclusion = expected_inclusion(reason == 0, messages.topic, COUNT_SHARES)
    choice = Choice(sets, np.ones(n, np.bool_), reason, 0.0, inclusion)
    return batch_of(epoch, state, choice, outcomes, np.arange(n))
