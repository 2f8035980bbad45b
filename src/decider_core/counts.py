"""How many sets hold what: counts over a chunk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.caps import check_sets
from decider_core.compile import I16, I64, U8, kernel
from decider_core.contracts import check_array, check_range


class SetCounts(NamedTuple):
    """Counts over n members."""

    per_candidate: I64
    """[n_candidates] sets that hold each candidate."""
    per_count: I64
    """[max_messages + 1] sets of 0, 1, 2, ... messages."""
    per_stratum: I64
    """[n_strata] members of each stratum."""
    sends_of_stratum: I64
    """[n_strata] messages of their sets."""


def count_sets(sets: I16, stratum: U8, n_candidates: int, n_strata: int) -> SetCounts:
    """Count what sets hold.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates, -1 in empty places.
    stratum : u8[n_members]
    n_candidates, n_strata
        Codes lie below these.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or a code lies outside.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    stratum = check_array("stratum", stratum, np.uint8, (sets.shape[1],))
    check_sets(sets, n_candidates)
    check_range("stratum", stratum, 0, n_strata - 1)
    counts = SetCounts(
        np.zeros(n_candidates, np.int64),
        np.zeros(len(sets) + 1, np.int64),
        np.zeros(n_strata, np.int64),
        np.zeros(n_strata, np.int64),
    )
    _count_sets(sets, stratum, counts)
    return counts


@kernel
def _count_sets(sets: I16, stratum: U8, counts: SetCounts) -> None:
    for r in range(sets.shape[1]):
        n_held = 0
        for place in range(sets.shape[0]):
            k = sets[place, r]
            if k >= 0:
                counts.per_candidate[k] += 1
                n_held += 1
        counts.per_count[n_held] += 1
        counts.per_stratum[stratum[r]] += 1
        counts.sends_of_stratum[stratum[r]] += n_held
