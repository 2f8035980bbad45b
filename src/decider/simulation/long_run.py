"""A world in which many messages win at first and lose over a year: what a short test would get wrong.

Every message that is opened brings a visit at once. Every message beyond the welcome few wears attention and
habit away, a little each week, and drives some members to opt out. So the weekly effect of sending more begins above
0 and ends below it. Netflix reported such a reversal for notifications (Huang, Data Council 2020); the numbers here
are made up.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider_core.random import stream_key

Floats = NDArray[np.float64]


class LongRunSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The world's numbers; rates are of a week."""

    habit: float = 2.0
    """Visits without messages, the mean over members; each has a gamma-distributed one of shape 2."""
    opening: float = 0.3
    """Chance that a message is opened, at full attention."""
    visits_per_opened: float = 0.5
    """Visits that an opened message brings."""
    welcome: int = 2
    """Messages that wear nothing away."""
    attention_worn: float = 0.02
    """Share of attention that each message beyond the welcome ones takes."""
    attention_back: float = 0.05
    """Share of what is missing of attention that comes back."""
    habit_worn: float = 0.0025
    """Share of the habit that each message beyond the welcome ones takes."""
    opting_out: float = 0.0001
    """Rate of opting out, times the square of the messages."""
    missed: float = 0.003
    """Share of the habit that a member loses who is sent nothing any more."""


class LongRun(NamedTuple):
    """What n members did in W weeks, each float64 of shape [W, n]."""

    visits: Floats
    delivered: Floats
    opened: Floats
    opted_out: Floats
    """1 in the week of the opt-out."""


def live(spec: LongRunSpec, sends: NDArray[np.int64], n_weeks: int, seed: int) -> LongRun:
    """Let members live for some weeks.

    Parameters
    ----------
    spec
        The world.
    sends
        Messages a week of each member while reachable, int64 of shape [n], >= 0.
    n_weeks
        How long.
    seed
        Members with the same seed and place have the same habit, whatever they are sent.
    """
    n = sends.size
    born, lives = (np.random.default_rng(int(stream_key(seed, 0, 0, part))) for part in (0, 1))
    habit = born.gamma(2.0, spec.habit / 2.0, n)
    attention, reachable = np.ones(n), np.ones(n, np.bool_)
    weeks = LongRun(*(np.zeros((n_weeks, n)) for _ in LongRun._fields))
    for week in range(n_weeks):
        sent = np.where(reachable, sends, 0)
        opened = lives.binomial(sent, spec.opening * attention)
        weeks.delivered[week], weeks.opened[week] = sent, opened
        weeks.visits[week] = lives.poisson(habit + spec.visits_per_opened * opened)
        beyond = np.maximum(sent - spec.welcome, 0)
        attention *= (1.0 - spec.attention_worn) ** beyond
        attention += spec.attention_back * (1.0 - attention)
        habit *= (1.0 - spec.habit_worn) ** beyond
        habit[~reachable] *= 1.0 - spec.missed
        leaves = reachable & (lives.random(n) < -np.expm1(-spec.opting_out * np.square(sent)))
        weeks.opted_out[week] = leaves
        reachable &= ~leaves
    return weeks
