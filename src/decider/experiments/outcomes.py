"""What an experiment's members did, as arrays: the common form of logbooks and feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decider_core.moments import Moments, add_members, no_moments

Floats = NDArray[np.float64]
CHUNK = 65_536


@dataclass(frozen=True)
class MetricColumns:
    """One metric of n members.

    Parameters
    ----------
    total
        float64 of shape [n].
    per
        What it is divided by, likewise; None where the metric is a mean over members.
    covariate
        A number of before the experiment, likewise; None without one.
    """

    total: Floats
    per: Floats | None = None
    covariate: Floats | None = None

    @property
    def columns(self) -> list[Floats]:
        """Those that are there, in this order."""
        return [column for column in (self.total, self.per, self.covariate) if column is not None]


@dataclass(frozen=True)
class Outcomes:
    """Members of an experiment and what they did.

    Parameters
    ----------
    cells
        uint8 of shape [n], codes of their cells.
    metrics
        By name.
    triggered
        float64 of shape [n_looks, C]: members whose first decision fell on each look (a day).
    assigned
        float64 of shape [C]: members by cell, over all who could have come; None where they are not known.
    sent, delivered
        float64 of shape [n_looks, C]: members who were first sent something on each look, and those of them to whom
        anything was delivered; None where it is not known.
    harmed
        Of each guardrail, float64 of shape [n_looks, C]: members first harmed on each look.
    look_micros
        int64 of shape [n_looks]: when each look ended; empty where there is no time.
    weekly
        Of each metric, float64 of shape [n_weeks, n]: by weeks since the start; only whole weeks.
    until_micros
        The latest time that is in the numbers; None where there is no time.
    notes
        What a reader must know: what was left out and how much, what looks wrong.
    """

    cells: NDArray[np.uint8]
    metrics: dict[str, MetricColumns]
    triggered: Floats
    assigned: Floats | None = None
    sent: Floats | None = None
    delivered: Floats | None = None
    harmed: dict[str, Floats] = field(default_factory=dict)
    look_micros: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    weekly: dict[str, Floats] = field(default_factory=dict)
    until_micros: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_members(self) -> int:
        """Members."""
        return len(self.cells)


def moments_of(cells: NDArray[np.uint8], columns: Sequence[Floats], n_cells: int) -> Moments:
    """Moments of members' numbers within cells, a chunk of them at a time.

    Parameters
    ----------
    cells
        uint8 of shape [n].
    columns
        m arrays, float64 of shape [n].
    n_cells
        Cells in all.
    """
    moments = no_moments(n_cells, len(columns))
    for start in range(0, len(cells), CHUNK):
        at = slice(start, start + CHUNK)
        add_members(moments, cells[at], np.stack([column[at] for column in columns]))
    return moments
