"""Sets where each candidate has a charge of its own, and of messages worth exactly that some members get them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.assemble import Caps, assemble


class Charge(NamedTuple):
    """What messages must be worth: so much for each unit of a cost, which under budgets is 1."""

    cost: NDArray[np.float32]
    """[K]"""
    price: NDArray[np.float32]
    """[K] a message of each candidate goes out if its gain per unit of cost is more than this."""
    cuts: NDArray[np.uint64]
    """[K] and, for members with a tie key below this, if it is exactly this."""

    def of(self, tie_key: np.uint64) -> NDArray[np.float32]:
        """What gains per unit of cost must be more than, [K], for one member."""
        # No number lies between a float32 and the one below it.
        below = np.nextafter(self.price, np.float32(-np.inf))
        return np.where(tie_key < self.cuts, below, self.price)


class Lanes(NamedTuple):
    """What n members bring to the assembly of their sets: see :func:`decider_core.assemble.assemble`."""

    value: NDArray[np.float32]
    """[K, n]"""
    reason: NDArray[np.uint8]
    """[K, n]"""
    fatigue: NDArray[np.float32]
    """[n]"""
    same_topic_penalty: float
    ties: NDArray[np.uint64]
    """[n]"""
    caps: Caps

    @property
    def n_members(self) -> int:
        """Members."""
        return int(self.fatigue.size)

    def of(self, places: NDArray[np.intp]) -> Lanes:
        """Some of the members."""
        return Lanes(
            np.ascontiguousarray(self.value[:, places]),
            np.ascontiguousarray(self.reason[:, places]),
            self.fatigue[places],
            self.same_topic_penalty,
            self.ties[places],
            caps_of(self.caps, places),
        )

    def sets_at(self, charge: Charge) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Message sets and gains, [M, n] each.

        Members are assembled in groups that lie between the same cuts: at most one more than there are budgets.
        """
        cuts = np.unique(charge.cuts[charge.cuts > 0])
        if not cuts.size:
            return self._sets_above(charge.cost, charge.price)
        group = np.searchsorted(cuts, self.ties, side="right")
        shape = (self.caps.max_messages, self.n_members)
        sets, gains = np.empty(shape, np.int16), np.empty(shape, np.float32)
        for place in np.unique(group).tolist():
            mine = np.flatnonzero(group == place)
            sets[:, mine], gains[:, mine] = self.of(mine)._sets_above(
                charge.cost, charge.of(self.ties[mine[0]])
            )
        return sets, gains

    def _sets_above(
        self, cost: NDArray[np.float32], price: NDArray[np.float32]
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        return assemble(
            self.value,
            self.reason,
            self.fatigue,
            self.same_topic_penalty,
            cost,
            price,
            0,
            self.ties,
            self.caps,
        )


def caps_of(caps: Caps, members: NDArray[np.intp]) -> Caps:
    """The caps of some members of a chunk, or of one member several times."""
    return caps._replace(
        room_member=caps.room_member[members],
        room_channel=np.ascontiguousarray(caps.room_channel[:, members]),
        room_topic=np.ascontiguousarray(caps.room_topic[:, members]),
    )


def one_member() -> Lanes:
    """One member and one candidate, to call kernels with before anybody waits for them."""
    place, room = np.zeros(1, np.int32), np.ones(1, np.int16)
    caps = Caps(place, place, room, room[None], room[None], 1)
    value, reason = np.ones((1, 1), np.float32), np.zeros((1, 1), np.uint8)
    return Lanes(value, reason, np.zeros(1, np.float32), 0.0, np.zeros(1, np.uint64), caps)
