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

from decider.decision.exposure import Seen
from decider.decision.parts import BoundPolicy, Parts
from decider.decision.pricing import RunPrice, priced_by_volume
from decider.decision.result import STRATA, ResultChunk
from decider.errors import Unavailable
from decider_core.admission import gain_rates
from decider_core.cut import Packed, cut_at_price, filled, priced_rates, spread
from decider_core.explore import EXPLOIT, EXPLORE
from decider_core.price import RateHistogram, tied_keys
from decider_core.random import tie_keys

Arrays = dict[str, NDArray[Any]]
_BY_PLACE = ("sets", "mean", "sd", "gains", "mean_gains")
_NOT_REPLAYED = -1


class _Stretch(NamedTuple):
    """Where a segment's arrays lie in the file, and what its members had been sent."""

    offset: int
    layout: tuple[tuple[str, np.dtype[Any], int], ...]
    first_ordinal: int
    seen: Seen


class Ahead:
    """Segments decided ahead, in a file without a name: a process that dies leaves nothing behind.

    Parameters
    ----------
    directory
        Where the file lies; 20 to 70 bytes a member.
    parts, bound, epoch
        What the sets were decided from.
    floor
        The price at which they were decided.
    """

    def __init__(
        self, directory: Path, parts: Parts, bound: BoundPolicy, epoch: int, floor: RunPrice
    ) -> None:
        self._parts, self._bound, self._epoch = parts, bound, epoch
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by `close`
        self._stretches: list[_Stretch] = []
        self._end = self._n_drawn = 0
        self._floor = floor
        self._rates = RateHistogram(float(floor.theta))

    def add(self, chunk: ResultChunk, seen: Seen) -> None:
        """Keep one more segment, decided at the lowest price.

        Raises
        ------
        Unavailable
            The disk refused.
        """
        assert (chunk.propensity_hits == _NOT_REPLAYED).all()
        self._n_drawn += int((chunk.sets[:, chunk.stratum == EXPLORE] >= 0).sum())
        exploit = (chunk.stratum == EXPLOIT).view(np.uint8)
        rates = priced_rates(chunk.sets, chunk.gains, exploit, self._parts.catalog.cost)
        self._rates.add(rates)
        arrays = _packed(chunk) | {"rates": rates, "heads": _once(seen.heads)}
        layout = tuple((name, array.dtype, array.size) for name, array in arrays.items())
        offset = self._end
        try:
            for array in arrays.values():
                block = memoryview(array.data).cast("B") if array.size else memoryview(b"")
                self._end += len(block)
                while block:
                    block = block[self._file.write(block) :]
        except OSError as cause:
            raise Unavailable(f"cannot keep sets until their price is known: {cause}") from cause
        kept = seen._replace(heads=np.empty(0, np.int32))
        self._stretches.append(_Stretch(offset, layout, chunk.first_ordinal, kept))

    def price(self, volume: int, rows: Callable[[], Iterator[NDArray[np.int64]]]) -> RunPrice:
        """The exact price at which the sends meet the volume.

        Parameters
        ----------
        volume
            At most so many sends.
        rows
            Goes through the members of every segment, in order.
        """

        def rates() -> Iterator[NDArray[np.float32]]:
            for stretch in self._stretches:
                yield self._read(stretch, ("rates",))["rates"]

        def tied(theta: np.float32) -> Iterator[NDArray[np.uint64]]:
            for stretch, members in zip(self._stretches, rows(), strict=True):
                if not (self._read(stretch, ("rates",))["rates"] == theta).any():
                    continue
                kept = self._read(stretch, ("stratum", "count", "places", "sets", "gains"))
                sets, gains = _unpacked(kept, "sets", -1), _unpacked(kept, "gains", np.nan)
                by_place = gain_rates(gains, sets, self._parts.catalog.cost)
                by_place[:, kept["stratum"] != EXPLOIT] = np.nan
                yield tied_keys(by_place, self._ties(members), theta)

        return priced_by_volume(rates, tied, volume, self._n_drawn, self._floor, self._rates)

    def cut(self, place: int, rows: NDArray[np.int64], price: RunPrice) -> tuple[ResultChunk, Seen]:
        """One segment at the price: the same bits as decided at it. Any thread may call."""
        stretch = self._stretches[place]
        kept = self._read(stretch, tuple(name for name, _, _ in stretch.layout))
        packed = Packed(kept["count"], *(kept[name] for name in _BY_PLACE))
        cost = float(self._parts.catalog.cost[0])
        priced = (kept["stratum"] == EXPLOIT).view(np.uint8)
        theta, n_places = float(price.theta), int(kept["places"][0])
        cut = cut_at_price(packed, n_places, priced, cost, theta, price.tie_cut, self._ties(rows))
        chunk = ResultChunk(
            first_ordinal=stretch.first_ordinal,
            rows=rows,
            member_ids=self._parts.snapshot.ids(rows),
            stratum=kept["stratum"],
            sets=cut.sets,
            mean=cut.mean,
            sd=cut.sd,
            gains=cut.gains,
            propensity=_propensity(kept),
            propensity_hits=np.full(rows.size, _NOT_REPLAYED, np.int32),
            expected=cut.expected,
            history_sequence=np.full(rows.size, stretch.seen.until_sequence, np.int64),
        )
        return chunk, stretch.seen._replace(heads=np.broadcast_to(kept["heads"], rows.shape))

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _ties(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        return tie_keys(self._bound.policy.seed, self._epoch, self._parts.snapshot.keys[rows])

    def _read(self, stretch: _Stretch, names: tuple[str, ...]) -> Arrays:
        found: Arrays = {}
        at = stretch.offset
        for name, dtype, size in stretch.layout:
            n_bytes = dtype.itemsize * size
            if name in names:
                found[name] = np.frombuffer(os.pread(self._file.fileno(), n_bytes, at), dtype)
            at += n_bytes
        return found


def _packed(chunk: ResultChunk) -> Arrays:
    """A chunk without what is empty or the same for all: a third of its size."""
    held = chunk.sets >= 0
    packed: Arrays = {
        "stratum": chunk.stratum,
        "count": held.sum(axis=0, dtype=np.uint8),
        "places": np.array([len(held)], np.int64),
    }
    for name in _BY_PLACE:
        packed[name] = filled(chunk.sets, getattr(chunk, name))
    for stratum in range(len(STRATA)):
        packed[f"propensity{stratum}"] = _once(chunk.propensity[chunk.stratum == stratum])
    return packed


def _once(values: NDArray[Any]) -> NDArray[Any]:
    """The values, or the one that they all are."""
    same = (values.size > 1 and (values == values[0]).all()) or np.isnan(values).all()
    return values[:1] if same else np.ascontiguousarray(values)


def _unpacked(kept: Arrays, name: str, empty: float) -> NDArray[Any]:
    """Values of the places, [M, n], with `empty` where there is none."""
    return spread(kept["count"], int(kept["places"][0]), kept[name], empty)


def _propensity(kept: Arrays) -> NDArray[np.float64]:
    stratum = kept["stratum"]
    propensity = np.empty(stratum.size)
    for code in range(len(STRATA)):
        propensity[stratum == code] = kept[f"propensity{code}"]
    return propensity
