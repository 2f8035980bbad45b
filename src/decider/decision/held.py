"""Members as a search for prices needs them: valued once, assembled at any prices, on disk between."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision.charged import Charge, Lanes
from decider.decision.stages import Question
from decider.decision.steps import describe, estimate, explore, gather, permit
from decider.errors import Unavailable
from decider_core.counts import SentGains, count_gains, count_sets
from decider_core.explore import EXPLOIT
from decider_core.random import tie_keys

_ALIGNED = 64
_LEAST_LANES = 4_096
"""Members of a block at least, but for the last: below it a call costs more than its work."""


class Weighed(NamedTuple):
    """A chunk of members, valued."""

    lanes: Lanes
    """With room for those alone whose sets prices decide."""
    priced: NDArray[np.bool_]
    """[n] those; the others' are drawn at random, or they are held out."""
    drawn: NDArray[np.int64]
    """[K] sends that were drawn: no price changes them."""


def weigh(question: Question) -> Weighed:
    """Value a chunk of members: steps 1 to 5."""
    gathered = gather(question)
    permitted = permit(question, gathered)
    estimated = estimate(question, describe(question, gathered, permitted))
    explored = explore(question, gathered, permitted, estimated)
    priced = (explored.stratum == EXPLOIT) & ~explored.drawn
    ties = tie_keys(question.bound.policy.seed, question.epoch, gathered.keys)
    penalty = question.same_topic_penalty
    # Without room the others get no set at any price, and are counted nowhere.
    caps = permitted.caps._replace(room_member=np.where(priced, permitted.caps.room_member, np.int16(0)))
    lanes = Lanes(explored.value, permitted.reason, estimated.fatigue, penalty, ties, caps)
    sets = np.where(explored.drawn, explored.sets, np.int16(-1))
    n_candidates = question.parts.catalog.n_candidates
    counts = count_sets(sets, np.zeros(priced.size, np.uint8), n_candidates, 1)
    return Weighed(lanes, priced, counts.per_candidate)


class Held:
    """Members in a file without a name, mapped into memory once they are all there.

    Parameters
    ----------
    directory
        Where the file lies: 5 bytes a member and candidate, and some 30 a member.
    """

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by `close`
        self._waiting: list[Lanes] = []
        self._layout: list[tuple[int, Lanes]] = []
        self._end = 0
        self._blocks: list[Lanes] = []

    def add(self, block: Lanes) -> None:
        """Keep members; small blocks are put together.

        Raises
        ------
        Unavailable
            The disk refused.
        """
        if block.n_members:
            self._waiting.append(block)
        if sum(each.n_members for each in self._waiting) >= _LEAST_LANES:
            self._write(_joined(self._waiting))
            self._waiting = []

    def seal(self) -> None:
        """Nothing more is added: map what is there."""
        if self._waiting:
            self._write(_joined(self._waiting))
            self._waiting = []
        if self._layout:
            mapped = mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ)
            self._blocks = [_mapped(mapped, at, form) for at, form in self._layout]

    def counts_at(self, charge: Charge, less: NDArray[np.float64], pool: ThreadPoolExecutor) -> SentGains:
        """What goes out to all of them at a charge, gains less `less`."""

        def of_block(block: Lanes) -> SentGains:
            return count_gains(*block.sets_at(charge), less)

        return added(pool.map(of_block, self._blocks), less.size)

    def close(self) -> None:
        """Let the file go."""
        self._blocks.clear()
        self._file.close()

    def _write(self, block: Lanes) -> None:
        at = self._end
        try:
            for array in _arrays(block):
                padded = bytes(-array.nbytes % _ALIGNED)
                for piece in (memoryview(array.reshape(-1).data).cast("B"), memoryview(padded)):
                    left = piece
                    while left:
                        left = left[self._file.write(left) :]
                self._end += array.nbytes + len(padded)
        except OSError as cause:
            raise Unavailable(f"cannot keep members until their prices are known: {cause}") from cause
        self._layout.append((at, _emptied(block)))


def added(parts: Iterable[SentGains], n_candidates: int) -> SentGains:
    """Counts of blocks, added up in their order."""
    per_candidate, net = np.zeros(n_candidates, np.int64), 0.0
    for part in parts:
        per_candidate += part.per_candidate
        net += part.net
    return SentGains(per_candidate, net)


def _arrays(block: Lanes) -> tuple[NDArray[Any], ...]:
    rooms = block.caps.room_member, block.caps.room_channel, block.caps.room_topic
    return block.value, block.reason, block.fatigue, block.ties, *rooms


def _with_arrays(block: Lanes, arrays: list[NDArray[Any]]) -> Lanes:
    value, reason, fatigue, ties, of_member, of_channel, of_topic = arrays
    caps = block.caps._replace(room_member=of_member, room_channel=of_channel, room_topic=of_topic)
    return Lanes(value, reason, fatigue, block.same_topic_penalty, ties, caps)


def _emptied(block: Lanes) -> Lanes:
    """Shapes and types alone: no memory stands behind the arrays."""
    return _with_arrays(
        block, [np.broadcast_to(array.dtype.type(0), array.shape) for array in _arrays(block)]
    )


def _mapped(mapped: mmap.mmap, at: int, form: Lanes) -> Lanes:
    arrays = []
    for array in _arrays(form):
        n_bytes = array.size * array.dtype.itemsize
        arrays.append(np.frombuffer(mapped, array.dtype, array.size, at).reshape(array.shape))
        at += n_bytes + -n_bytes % _ALIGNED
    return _with_arrays(form, arrays)


def _joined(blocks: list[Lanes]) -> Lanes:
    if len(blocks) == 1:
        return _with_arrays(blocks[0], [np.ascontiguousarray(array) for array in _arrays(blocks[0])])
    columns = zip(*map(_arrays, blocks), strict=True)
    return _with_arrays(blocks[0], [np.concatenate(arrays, axis=-1) for arrays in columns])
