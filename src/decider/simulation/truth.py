"""What a message set really causes, for any member in any epoch; and the best set under any price."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.simulation.spec import RECENT_UNIT
from decider.simulation.world import Epoch
from decider_core.gains import path_gains

Rows = slice | NDArray[np.int64]


class Response(NamedTuple):
    """Expected rewards of n members."""

    incremental: NDArray[np.float32]
    """[n] E[Y | x, do(S)] - E[Y | x, do(nothing)]"""
    expected: NDArray[np.float32]
    """[n] E[Y | x, do(S)]"""
    gains: NDArray[np.float32]
    """[M, n] what each message adds at its place, NaN in empty places; before any bound."""
    n_bounded: int
    """Members whose sum left [0, 1], the range of a chance, and was set to its end."""


def true_effects(epoch: Epoch, recent: NDArray[np.float32], rows: Rows = slice(None)) -> NDArray[np.float32]:
    """The effect tau of every candidate alone, f32[K, n], after the recent sends f32[N] of all members."""
    lately = recent[rows] / np.float32(RECENT_UNIT)
    return np.ascontiguousarray(epoch.tau_fresh[:, rows] + epoch.weights[:, -2, None] * lately)


def true_fatigue(epoch: Epoch, recent: NDArray[np.float32], rows: Rows = slice(None)) -> NDArray[np.float32]:
    """The fatigue phi, f32[n]: what each message takes from each later one of its set."""
    spec = epoch.world.spec
    lately = recent[rows] / np.float32(RECENT_UNIT)
    return np.float32(spec.fatigue) + np.float32(spec.fatigue_recent) * lately


def response(
    epoch: Epoch, recent: NDArray[np.float32], sets: NDArray[np.int16], rows: Rows = slice(None)
) -> Response:
    """E[Y | x, do(S)] of each member and set.

    Parameters
    ----------
    epoch
        When.
    recent : f32[N]
        Decayed sends of all members before this epoch.
    sets : i16[M, n]
        Candidates in any order, -1 in empty places; an empty place is followed by empty places only.
    rows
        The n members; all of them by default.

    Notes
    -----
    The sum of :mod:`decider.simulation.spec` is bounded to [0, 1], the range of a chance. How often that
    binds is returned; in the worlds given it is for next to nobody unless everything is sent to everybody.
    """
    tau, phi = true_effects(epoch, recent, rows), true_fatigue(epoch, recent, rows)
    topic, rho = epoch.world.messages.topic, epoch.world.spec.same_topic
    gains = path_gains(np.ascontiguousarray(sets), tau, phi, rho, topic)
    organic = epoch.organic[rows]
    wanted = organic + np.nansum(gains, axis=0, dtype=np.float32)
    expected = np.clip(wanted, np.float32(0.0), np.float32(1.0))
    return Response(expected - organic, expected, gains, int((wanted != expected).sum()))


def best_sets(
    epoch: Epoch,
    recent: NDArray[np.float32],
    reason: NDArray[np.uint8],
    price: float = 0.0,
    rows: Rows = slice(None),
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """The best achievable set of every member under a price per message, by trying all of them.

    Parameters
    ----------
    epoch, recent, rows
        As for :func:`response`.
    reason : u8[K, n]
        0 where the candidate is eligible.
    price
        Reward that a message must bring.

    Returns
    -------
    sets : i16[M, n]
        -1 in empty places; of equals the smaller set, then the lower indices.
    net : f32[n]
        Incremental reward less price times messages; 0 for the empty set.

    Notes
    -----
    Takes ``sum of binomials(K, m)`` steps over n members: 1,800 for 22 candidates and three messages. Greedy
    assembly is the same where topics do not meet, and within a few thousandths where they do.
    """
    tau, phi = true_effects(epoch, recent, rows), true_fatigue(epoch, recent, rows)
    value = np.where(reason == 0, tau - np.float32(price), np.float32(-np.inf))
    topic, rho = epoch.world.messages.topic, np.float32(epoch.world.spec.same_topic)
    n_places, (n_candidates, n_members) = epoch.world.spec.max_messages, tau.shape
    net = np.zeros(n_members, np.float32)
    sets = np.full((n_places, n_members), -1, np.int16)
    for size in range(1, n_places + 1):
        for group in combinations(range(n_candidates), size):
            same = sum(topic[a] == topic[b] for a, b in combinations(group, 2))
            pairs = np.float32(size * (size - 1) // 2)
            total = value[list(group)].sum(axis=0) - phi * pairs - rho * np.float32(same)
            better = np.flatnonzero(total > net)
            net[better] = total[better]
            sets[:size, better] = np.array(group, np.int16)[:, None]
    return sets, net
