"""The rows of a log in the order of what is predicted of them: where each of many volumes ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Ranked(NamedTuple):
    """Rows that follow one another.

    Parameters
    ----------
    values
        Rows of larger values come first, float64 of shape [n].
    ties
        Of equal values, those of smaller ties do, float64 of shape [n]; of equal ties, earlier rows.
    """

    values: F64
    ties: F64


class Cut(NamedTuple):
    """The end of a volume: the first row that is not in it.

    Parameters
    ----------
    value, tie, row
        That row's; -inf where every row is in the volume.
    last
        The value of the last row that is in it; None where none is.
    """

    value: float
    tie: float
    row: int
    last: float | None


def find_cuts(passes: Callable[[], Iterable[Ranked]], volumes: Sequence[int]) -> list[Cut]:
    """Find where volumes end.

    Parameters
    ----------
    passes
        Goes through all rows whenever it is called: once, and once more where values tie at the end of a volume.
    volumes
        Numbers of rows, each at most that of all.

    Notes
    -----
    Keeps 4 bytes a row, 8 if single precision does not hold the values, and 16 more for rows that tie.
    """
    values = np.concatenate([_narrow(chunk.values) for chunk in passes()])
    values.sort()
    n = len(values)
    outside = [float(values[n - 1 - volume]) if volume < n else -np.inf for volume in volumes]
    # Rows of exactly the cut's value that are in the volume.
    n_tied = [
        volume - (n - int(np.searchsorted(values, value, side="right")))
        for volume, value in zip(volumes, outside, strict=True)
    ]
    wanted = {value for value, count in zip(outside, n_tied, strict=True) if count and np.isfinite(value)}
    tied = _tied(passes, wanted) if wanted else {}
    cuts = []
    for volume, value, count in zip(volumes, outside, n_tied, strict=True):
        tie, row = tied[value][count] if value in tied else (-np.inf, -1)
        cuts.append(Cut(value, float(tie), int(row), float(values[n - volume]) if volume else None))
    return cuts


def first_volumes(cuts: Sequence[Cut], ranked: Ranked, first_row: int) -> NDArray[np.int64]:
    """Give each row the place of the first volume that it is in, int64 of shape [n]; their number if in none.

    Parameters
    ----------
    cuts
        Of rising volumes.
    ranked
        n rows.
    first_row
        The number of the first of them.
    """
    falling = np.array([cut.value for cut in cuts])
    # Volumes that end before the row's value are over for it; those that end at it are looked at one by one.
    places = np.searchsorted(-falling, -ranked.values, side="left").astype(np.int64)
    rows = np.arange(first_row, first_row + len(ranked.values))
    for cut in cuts:
        left = (ranked.values == cut.value) & ~(
            (ranked.ties < cut.tie) | ((ranked.ties == cut.tie) & (rows < cut.row))
        )
        places[left] += 1
    return places


def _narrow(values: F64) -> NDArray[np.floating]:
    narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values


def _tied(
    passes: Callable[[], Iterable[Ranked]], wanted: set[float]
) -> dict[float, list[tuple[float, int]] | NDArray[np.void]]:
    """Ties and row numbers of the rows of each value wanted, in order."""
    found = np.sort(
        np.concatenate(list(_of_values(passes, np.array(sorted(wanted))))), order=["value", "tie", "row"]
    )
    starts = np.searchsorted(found["value"], sorted(wanted))
    parts = np.split(found[["tie", "row"]], starts[1:])
    return dict(zip(sorted(wanted), parts, strict=True))


def _of_values(passes: Callable[[], Iterable[Ranked]], wanted: F64) -> Iterator[NDArray[np.void]]:
    first_row = 0
    for values, ties in passes():
        rows = np.flatnonzero(np.isin(values, wanted))
        part = np.empty(len(rows), [("value", np.float64), ("tie", np.float64), ("row", np.int64)])
        part["value"], part["tie"], part["row"] = values[rows], ties[rows], rows + first_row
        yield part
        first_row += len(values)
