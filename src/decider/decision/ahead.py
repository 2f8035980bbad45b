"""Sets that are decided ahead of their price: at the lowest there may be, on disk, then cut at the one found.

Where all candidates cost the same, a set at a higher price is the beginning of the set at a lower one
(:mod:`decider_core.cut`): so a volume needs one pass over the members, and the rest is reading.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision.chunks import expected_of
from decider.decision.exposure import Seen
from decider.decision.parts import BoundPolicy, Parts
from decider.decision.pricing import RunPrice, priced_by_volume
from decider.decision.result import ResultChunk
from decider.errors import Unavailable
from decider_core.assemble import gain_rates
from decider_core.cut import cut_at_price
from decider_core.explore import EXPLOIT, EXPLORE
from decider_core.random import tie_keys

Arrays = dict[str, NDArray[Any]]
_BY_PLACE = ("sets", "mean", "sd", "gains", "mean_gains")
_BY_MEMBER = ("stratum", "propensity", "propensity_hits")


class _Stretch(NamedTuple):
    """Where a segment's arrays lie in the file, and what its members had been sent."""

    offset: int
    n_bytes: int
    layout: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
    first_ordinal: int
    seen: Seen


class Ahead:
    """Segments decided ahead, in a file without a name: a process that dies leaves nothing behind.

    Parameters
    ----------
    directory
        Where the file lies; some 70 bytes a member.
    parts, bound, epoch
        What the sets were decided from.
    """

    def __init__(self, directory: Path, parts: Parts, bound: BoundPolicy, epoch: int) -> None:
        self._parts, self._bound, self._epoch = parts, bound, epoch
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by `close`
        self._stretches: list[_Stretch] = []
        self._end = self._n_drawn = 0

    def __len__(self) -> int:
        return len(self._stretches)

    def add(self, chunk: ResultChunk, seen: Seen) -> None:
        """Keep one more segment, decided at the lowest price.

        Raises
        ------
        Unavailable
            The disk refused.
        """
        assert chunk.mean_gains is not None
        arrays: Arrays = {name: getattr(chunk, name) for name in (*_BY_PLACE, *_BY_MEMBER)}
        arrays["heads"] = seen.heads
        rates = gain_rates(chunk.gains, chunk.sets, self._parts.catalog.cost)
        rates[:, chunk.stratum != EXPLOIT] = np.nan
        arrays["rates"] = rates
        self._n_drawn += int((chunk.sets[:, chunk.stratum == EXPLORE] >= 0).sum())
        layout = tuple((name, array.dtype, array.shape) for name, array in arrays.items())
        n_bytes = 0
        try:
            for array in arrays.values():
                block = memoryview(np.ascontiguousarray(array).data).cast("B")
                n_bytes += len(block)
                while block:
                    block = block[self._file.write(block) :]
        except OSError as cause:
            raise Unavailable(f"cannot keep sets until their price is known: {cause}") from cause
        kept = seen._replace(heads=np.empty(0, np.int32))
        self._stretches.append(_Stretch(self._end, n_bytes, layout, chunk.first_ordinal, kept))
        self._end += n_bytes

    def price(
        self, volume: int, floor: RunPrice, rows: Callable[[], Iterator[NDArray[np.int64]]]
    ) -> RunPrice:
        """The exact price at which the sends meet the volume.

        Parameters
        ----------
        volume
            At most so many sends.
        floor
            The price at which the sets were decided.
        rows
            Goes through the members of every segment, in order.
        """

        def one_pass() -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint64]]]:
            for stretch, members in zip(self._stretches, rows(), strict=True):
                yield self._read(stretch, ("rates",))["rates"], self._ties(members)

        return priced_by_volume(one_pass, volume, self._n_drawn, floor)

    def cut(self, place: int, rows: NDArray[np.int64], price: RunPrice) -> tuple[ResultChunk, Seen]:
        """One segment at the price: the same bits as decided at it. Any thread may call."""
        stretch = self._stretches[place]
        kept = self._read(stretch, (*_BY_PLACE, *_BY_MEMBER, "heads"))
        sets, gains = kept["sets"].copy(), kept["gains"].copy()
        cost = float(self._parts.catalog.cost[0])
        priced = (kept["stratum"] == EXPLOIT).view(np.uint8)
        cut_at_price(sets, gains, priced, cost, float(price.theta), price.tie_cut, self._ties(rows))
        empty, nothing = sets < 0, np.float32(np.nan)
        chunk = ResultChunk(
            first_ordinal=stretch.first_ordinal,
            rows=rows,
            member_ids=self._parts.snapshot.ids(rows),
            stratum=kept["stratum"],
            sets=sets,
            mean=np.where(empty, nothing, kept["mean"]),
            sd=np.where(empty, nothing, kept["sd"]),
            gains=gains,
            propensity=kept["propensity"],
            propensity_hits=kept["propensity_hits"],
            expected=expected_of(sets, kept["mean_gains"]),
            history_sequence=np.full(rows.size, stretch.seen.until_sequence, np.int64),
        )
        return chunk, stretch.seen._replace(heads=kept["heads"])

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _ties(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        return tie_keys(self._bound.policy.seed, self._epoch, self._parts.snapshot.keys[rows])

    def _read(self, stretch: _Stretch, names: tuple[str, ...]) -> Arrays:
        found: Arrays = {}
        at = stretch.offset
        for name, dtype, shape in stretch.layout:
            n_bytes = dtype.itemsize * int(np.prod(shape))
            if name in names:
                content = os.pread(self._file.fileno(), n_bytes, at)
                found[name] = np.frombuffer(content, dtype).reshape(shape)
            at += n_bytes
        return found
