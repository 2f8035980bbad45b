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

from decider.decision.propensities import lanes
from decider.decision.stages import Question
from decider.decision.steps import describe, estimate, explore, gather, permit
from decider.errors import Unavailable
from decider_core.assemble import Caps, assemble
from decider_core.counts import SentGains, count_gains, count_sets
from decider_core.explore import EXPLOIT

_ALIGNED = 64
_LEAST_LANES = 4_096
"""Members of a block at least, but for the last: below it a call costs more than its work."""


class Block(NamedTuple):
    """n members whose sets prices decide."""

    value: NDArray[np.float32]
    """[K, n]"""
    reason: NDArray[np.uint8]
    """[K, n]"""
    fatigue: NDArray[np.float32]
    """[n]"""
    same_topic_penalty: float
    caps: Caps

    @property
    def n_members(self) -> int:
        """Members of the block."""
        return int(self.fatigue.size)

    def of(self, places: NDArray[np.intp]) -> Block:
        """Some of the members."""
        return Block(
            np.ascontiguousarray(self.value[:, places]),
            np.ascontiguousarray(self.reason[:, places]),
            self.fatigue[places],
            self.same_topic_penalty,
            lanes(self.caps, places),
        )

    def sets_at(self, charge: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Message sets and gains where each candidate must be worth its charge, [K]: as decisions have them."""
        each, untied = np.ones(charge.size, np.float32), np.zeros(self.n_members, np.uint64)
        return assemble(
            self.value, self.reason, self.fatigue, self.same_topic_penalty, each, charge, 0, untied, self.caps
        )


class Weighed(NamedTuple):
    """A chunk of members, valued."""

    block: Block
    """Those whose sets prices decide."""
    drawn: NDArray[np.int64]
    """[K] sends to the others, drawn at random: no price changes them."""
    n_members: int
    """All of the chunk."""


def weigh(question: Question) -> Weighed:
    """Value a chunk of members: steps 1 to 5."""
    gathered = gather(question)
    permitted = permit(question, gathered)
    estimated = estimate(question, describe(question, gathered, permitted))
    explored = explore(question, gathered, permitted, estimated)
    priced = (explored.stratum == EXPLOIT) & ~explored.drawn
    block = Block(
        explored.value, permitted.reason, estimated.fatigue, question.same_topic_penalty, permitted.caps
    )
    if not priced.all():
        block = block.of(np.flatnonzero(priced))
    sets = np.where(explored.drawn, explored.sets, np.int16(-1))
    n_candidates = question.parts.catalog.n_candidates
    counts = count_sets(sets, np.zeros(priced.size, np.uint8), n_candidates, 1)
    return Weighed(block, counts.per_candidate, int(priced.size))


class Held:
    """Blocks in a file without a name, mapped into memory once they are all there.

    Parameters
    ----------
    directory
        Where the file lies: 5 bytes a member and candidate, and some 20 a member.
    """

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by `close`
        self._waiting: list[Block] = []
        self._layout: list[tuple[int, Block]] = []
        self._end = 0
        self._blocks: list[Block] = []

    def add(self, block: Block) -> None:
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

    def counts_at(
        self, charge: NDArray[np.float32], less: NDArray[np.float64], pool: ThreadPoolExecutor
    ) -> SentGains:
        """What goes out to all of them where each candidate must be worth its charge, gains less `less`."""

        def of_block(block: Block) -> SentGains:
            return count_gains(*block.sets_at(charge), less)

        return added(pool.map(of_block, self._blocks), less.size)

    def close(self) -> None:
        """Let the file go."""
        self._blocks.clear()
        self._file.close()

    def _write(self, block: Block) -> None:
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


def _arrays(block: Block) -> tuple[NDArray[Any], ...]:
    caps = block.caps
    return block.value, block.reason, block.fatigue, caps.room_member, caps.room_channel, caps.room_topic


def _with_arrays(block: Block, arrays: list[NDArray[Any]]) -> Block:
    value, reason, fatigue, of_member, of_channel, of_topic = arrays
    caps = block.caps._replace(room_member=of_member, room_channel=of_channel, room_topic=of_topic)
    return Block(value, reason, fatigue, block.same_topic_penalty, caps)


def _emptied(block: Block) -> Block:
    """Shapes and types alone: no memory stands behind the arrays."""
    return _with_arrays(
        block, [np.broadcast_to(array.dtype.type(0), array.shape) for array in _arrays(block)]
    )


def _mapped(mapped: mmap.mmap, at: int, form: Block) -> Block:
    arrays = []
    for array in _arrays(form):
        n_bytes = array.size * array.dtype.itemsize
        arrays.append(np.frombuffer(mapped, array.dtype, array.size, at).reshape(array.shape))
        at += n_bytes + -n_bytes % _ALIGNED
    return _with_arrays(form, arrays)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return _with_arrays(blocks[0], [np.ascontiguousarray(array) for array in _arrays(blocks[0])])
    columns = zip(*map(_arrays, blocks), strict=True)
    return _with_arrays(blocks[0], [np.concatenate(arrays, axis=-1) for arrays in columns])
