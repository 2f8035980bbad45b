"""What one policy has done to its members: recent sends, consent that is left, topics that rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.simulation import keys
from decider.simulation.spec import CHANNELS, RECENT_UNIT
from decider.simulation.world import Epoch, World
from decider_core.permit import permit
from decider_core.random import stream_key, uniforms
from decider_core.reasons import ELIGIBLE, SUPPRESSED

_NEVER = np.int16(-10_000)


class Departures(NamedTuple):
    """What sends cost in trust."""

    n_opt_outs: int
    """Opt-outs from the channel of a send, complaints included."""
    n_complaints: int


@dataclass
class State:
    """Of all N members of a world, under one policy."""

    recent: NDArray[np.float32]
    """[N] sends so far, each counting recent_keep less every epoch."""
    consent: NDArray[np.uint32]
    """[N] bits by channel."""
    last_sent: NDArray[np.int16]
    """[n_topics, N] epoch of the last send about a topic."""

    @classmethod
    def fresh(cls, world: World) -> State:
        """Nobody was ever sent anything."""
        n = world.spec.n_members
        last = np.full((len(world.messages.topics), n), _NEVER, np.int16)
        return cls(np.zeros(n, np.float32), world.members.consent.copy(), last)

    def copy(self) -> State:
        """An equal state of its own."""
        return State(self.recent.copy(), self.consent.copy(), self.last_sent.copy())

    def reasons(self, epoch: Epoch, rows: slice) -> NDArray[np.uint8]:
        """Who may get what: u8[K, n], 0 when eligible, else a code of ``decider_core.reasons``."""
        messages, spec = epoch.world.messages, epoch.world.spec
        consent = self.consent[rows]
        n, n_words = consent.size, -(-messages.n // 64)
        reason = permit(
            np.arange(n), np.full((n_words, n), np.uint64(2**64 - 1)), consent, epoch.live,
            messages.channel, np.ones(len(CHANNELS), np.uint8), np.zeros((len(CHANNELS), n), np.uint8),
        )  # fmt: skip
        rests = epoch.number - self.last_sent[:, rows] < spec.suppress_epochs
        for k, topic in enumerate(messages.topic):
            reason[k][rests[topic] & (reason[k] == ELIGIBLE)] = SUPPRESSED
        return reason

    def after(self, epoch: Epoch, sets: NDArray[np.int16]) -> Departures:
        """Move on to the next epoch, in place: who tires, who leaves, what rests.

        Parameters
        ----------
        epoch
            The epoch in which the sets went out.
        sets : i16[M, N]
            Candidates, -1 in empty places.
        """
        spec, messages = epoch.world.spec, epoch.world.messages
        sent = sets >= 0
        hazard = np.array(spec.opt_out, np.float32)[messages.channel]
        so_far = self.recent + sent.sum(axis=0, dtype=np.float32)
        strain = 1 + np.float32(spec.opt_out_recent / RECENT_UNIT) * so_far
        n_opt_outs = n_complaints = 0
        for place in range(sets.shape[0]):
            rows = np.flatnonzero(sent[place])
            candidate = sets[place, rows]
            self.last_sent[messages.topic[candidate], rows] = epoch.number
            leaves = _dice(epoch, keys.OPT_OUT, place, rows) < hazard[candidate] * strain[rows]
            leaving, channel = rows[leaves], messages.channel[candidate[leaves]].astype(np.uint32)
            complains = _dice(epoch, keys.COMPLAINT, place, leaving) < spec.complaint_share
            self.consent[leaving] &= ~np.left_shift(np.uint32(1), channel)
            self.consent[leaving[complains]] = 0
            n_opt_outs += leaving.size
            n_complaints += int(complains.sum())
        self.recent = np.float32(spec.recent_keep) * so_far
        return Departures(n_opt_outs, n_complaints)


def _dice(epoch: Epoch, stream: int, place: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    stream = int(stream_key(epoch.world.spec.seed, stream, epoch.number, place))
    return uniforms(np.uint64(stream), np.ascontiguousarray(epoch.world.members.keys[rows]))
