"""The generator beneath :mod:`decider_core.random`: splitmix64 read at any position, one state at a time or a vector.

References
----------
.. [1] Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from decider_core import vectors
from decider_core.compile import inline
from decider_core.vectors import Value

MEMBER_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
CANDIDATE_STEP: Final = np.uint64(0xD1B54A32D192ED03)
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


@inline
def mix(state: np.uint64) -> np.uint64:
    """Return splitmix64's finaliser (variant 13 of Stafford) of a state: a bijection of 64 bits."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))


@inline
def member_state(stream: np.uint64, member_key: np.uint64) -> np.uint64:
    """Return the state of a member in a stream."""
    return mix(stream + member_key * MEMBER_STEP)


@inline
def pair_state(state: np.uint64, candidate_key: np.uint64) -> np.uint64:
    """Return the state of a candidate, from that of the member."""
    # Another step than the member's, so that (member, candidate) and (candidate, member) are unrelated.
    return mix(state + candidate_key * CANDIDATE_STEP)


@inline
def pair_bits(state: np.uint64, candidate_key: np.uint64) -> np.int32:
    """Return the upper half of :func:`pair_state`."""
    return np.int32(pair_state(state, candidate_key) >> np.uint64(32))


def pair_bits_of(builder: Any, states: Value, candidate_key: Value) -> Value:
    """Emit :func:`pair_bits` of a vector of states and one candidate."""

    def shifted(state: Value, n_bits: int) -> Value:
        return builder.xor(state, builder.lshr(state, vectors.constants(vectors.INTS, n_bits)))

    offset = builder.mul(candidate_key, vectors.count(int(CANDIDATE_STEP)))
    state = builder.add(states, vectors.splat(builder, offset))
    state = builder.mul(shifted(state, 30), vectors.constants(vectors.INTS, _FIRST))
    state = builder.mul(shifted(state, 27), vectors.constants(vectors.INTS, _SECOND))
    upper = builder.lshr(shifted(state, 31), vectors.constants(vectors.INTS, 32))
    return builder.trunc(upper, vectors.WORDS)
