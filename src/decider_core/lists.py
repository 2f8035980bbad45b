"""Message sets as lists, member after member, from arrays that hold one place after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.compile import F32, I16, I32, kernel
from decider_core.contracts import ContractError, check_array


class SetLists(NamedTuple):
    """One list a member, in the order assembled."""

    offsets: I32
    """i32[n_members + 1]: the list of member i is entries offsets[i] to offsets[i + 1]."""
    codes: I16
    """i16[n_entries]: candidate index."""
    values: tuple[F32, ...]
    """f32[n_entries] each."""


def set_lists(sets: I16, *values: F32) -> SetLists:
    """Return what stands in the places that are not empty.

    Parameters
    ----------
    sets : i16[n_places, n_members]
        Candidate index, negative for an empty place.
    values : f32[n_places, n_members]
        Any number of them.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or there are 2^31 places or more.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    if sets.size >= 2**31:
        raise ContractError(f"sets must have less than 2^31 places, got {sets.size}")
    offsets = np.zeros(sets.shape[1] + 1, np.int32)
    _count(sets, offsets)
    n_entries = int(offsets[-1])
    # What stands in an empty place is written too, and then written over: the last one needs room.
    codes = np.empty(n_entries + 1, np.int16)
    _gather(sets, sets, codes)
    gathered = [np.empty(n_entries + 1, np.float32) for _ in values]
    for number, (value, out) in enumerate(zip(values, gathered, strict=True)):
        _gather(sets, check_array(f"values[{number}]", value, np.float32, sets.shape), out)
    return SetLists(offsets, codes[:n_entries], tuple(out[:n_entries] for out in gathered))


@kernel
def _count(sets: I16, offsets: I32) -> None:
    n_places, n_members = sets.shape
    at = np.int32(0)
    for i in range(n_members):
        for place in range(n_places):
            at += np.int32(sets[place, i] >= 0)
        offsets[i + 1] = at


@kernel
def _gather(sets: I16, values: I16 | F32, out: I16 | F32) -> None:
    n_places, n_members = sets.shape
    at = 0
    for i in range(n_members):
        for place in range(n_places):
            out[at] = values[place, i]
            at += sets[place, i] >= 0
