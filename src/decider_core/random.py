"""Keyed random numbers: each is a pure function of (seed, stream, epoch, member, candidate).

So a draw does not depend on batch, order, thread or process, and can be made again to explain a decision.
The generator is splitmix64 [1]_ read at any position: ``mix(key + position * odd)``, nested once for the
member and once for the candidate.

References
----------
.. [1] Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.
.. [2] Fowler, Noll, Vo, Eastlake, "The FNV non-cryptographic hash algorithm" (FNV-1a, 64 bits).
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np

from decider_core.compile import F32, F64, I64, U8, U64, inline, kernel
from decider_core.contracts import ContractError, check_array, check_output
from decider_core.draws import fill_normals
from decider_core.splitmix import MEMBER_STEP, member_state, mix, pair_state

HOLDOUT: Final = 1
STRATUM: Final = 2
COUNT: Final = 3
PICK: Final = 4
DRAW: Final = 5
REPLAY: Final = 6
TIE: Final = 7
EPSILON: Final = 8
FOLD: Final = 9
BOOTSTRAP: Final = 10
CELL: Final = 11

_MASK: Final = (1 << 64) - 1
_FNV_BASIS: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_NOT_PLACE: Final = np.uint64(_MASK - 15)


def stream_key(seed: int, stream: int, epoch: int = 0, index: int = 0) -> np.uint64:
    """Return the key of one stream of numbers.

    Parameters
    ----------
    seed, stream, epoch, index
        Any integers of 64 bits, signed or not: the policy's seed, a stream of this module, the decision
        window, and which replay, resample or pick it is.
    """
    return _stream_key(int(seed), int(stream), int(epoch), int(index))


# One decision asks for the same few keys as the one before it.
@functools.lru_cache(maxsize=1024)
def _stream_key(seed: int, stream: int, epoch: int, index: int) -> np.uint64:
    words = {"seed": seed, "stream": stream, "epoch": epoch, "index": index}
    return np.uint64(_stream(*(_word(name, value) for name, value in words.items())))


def stream_keys(seed: int, stream: int, epoch: int, n: int) -> U64:
    """Return ``stream_key(seed, stream, epoch, index)`` for each index below `n`, u64[n]."""
    keys = np.empty(n, np.uint64)
    _stream_keys(_word("seed", seed), _word("stream", stream), _word("epoch", epoch), keys)
    return keys


def hash_strings(data: U8, offsets: I64) -> U64:
    """Hash strings laid end to end: FNV-1a, then mixed [2]_.

    Parameters
    ----------
    data : u8[n_bytes]
        The UTF-8 bytes.
    offsets : i64[n + 1]
        String i is ``data[offsets[i]:offsets[i + 1]]``.

    Returns
    -------
    u64[n]
    """
    data = check_array("data", data, np.uint8, (None,))
    offsets = check_array("offsets", offsets, np.int64, (None,))
    if offsets.size == 0 or offsets[0] < 0 or offsets[-1] > data.size or (np.diff(offsets) < 0).any():
        raise ContractError(
            f"offsets must rise within [0, {data.size}] and hold at least one entry, got {offsets}"
        )
    hashes = np.empty(offsets.size - 1, np.uint64)
    _hash_strings(data, offsets, hashes)
    return hashes


def hash_string(text: str) -> np.uint64:
    """Hash one string to what :func:`hash_strings` gives for its UTF-8 bytes."""
    data = np.frombuffer(text.encode(), np.uint8)
    return np.uint64(hash_strings(data, np.array([0, data.size]))[0])


def uniforms(stream: np.uint64, member_keys: U64) -> F64:
    """Return one uniform number per member, f64[n], strictly inside (0, 1)."""
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    numbers = np.empty(member_keys.size)
    _uniforms(np.uint64(stream), member_keys, numbers)
    return numbers


def pair_uniforms(stream: np.uint64, member_keys: U64, candidate_keys: U64) -> F64:
    """Return one uniform number per candidate and member, f64[n_candidates, n_members], inside (0, 1)."""
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    candidate_keys = check_array("candidate_keys", candidate_keys, np.uint64, (None,))
    numbers = np.empty((candidate_keys.size, member_keys.size))
    _pair_uniforms(np.uint64(stream), member_keys, candidate_keys, numbers)
    return numbers


def normals(
    stream: np.uint64,
    member_keys: U64,
    candidate_keys: U64,
    out: F32 | None = None,
) -> F32:
    """Return one standard normal number per candidate and member.

    Parameters
    ----------
    stream
        From :func:`stream_key`.
    member_keys : u64[n_members]
    candidate_keys : u64[n_candidates]
    out : f32[n_candidates, n_members], optional
        Where to write.

    Returns
    -------
    f32[n_candidates, n_members]
        Within 1e-6 of the inverse normal distribution at 2^32 equally likely points; the largest
        magnitude is 6.34.
    """
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    candidate_keys = check_array("candidate_keys", candidate_keys, np.uint64, (None,))
    out = check_output("out", out, np.float32, (candidate_keys.size, member_keys.size))
    _normals(np.uint64(stream), member_keys, candidate_keys, np.empty(member_keys.size, np.uint64), out)
    return out


def replay_normals(streams: U64, member_key: np.uint64, candidate_keys: U64) -> F32:
    """Return what :func:`normals` gives one member in each of several streams.

    Parameters
    ----------
    streams : u64[n_draws]
        From :func:`stream_key`.
    member_key
        The member's key.
    candidate_keys : u64[n_candidates]

    Returns
    -------
    f32[n_candidates, n_draws]
    """
    streams = check_array("streams", streams, np.uint64, (None,))
    candidate_keys = check_array("candidate_keys", candidate_keys, np.uint64, (None,))
    numbers = np.empty((candidate_keys.size, streams.size), np.float32)
    states = np.empty(streams.size, np.uint64)
    _replay_normals(streams, np.uint64(member_key), candidate_keys, states, numbers)
    return numbers


def tie_keys(seed: int, epoch: int, member_keys: U64) -> U64:
    """Return the key that orders members of equal gain, u64[n]; its low four bits are left for the place."""
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    keys = np.empty(member_keys.size, np.uint64)
    _tie_keys(stream_key(seed, TIE, epoch), member_keys, keys)
    return keys


def _word(name: str, value: int) -> np.uint64:
    if not -(1 << 63) <= value <= _MASK:
        raise ContractError(f"{name} must fit in 64 bits, got {value}")
    return np.uint64(int(value) & _MASK)


@inline
def _stream_state(seed: np.uint64, stream: np.uint64, epoch: np.uint64, index: np.uint64) -> np.uint64:
    # All four uint64. One mix between words: two different quadruples meet with probability 2^-64.
    state = mix(seed + MEMBER_STEP)
    state = mix(state + stream * MEMBER_STEP)
    state = mix(state + epoch * MEMBER_STEP)
    return mix(state + index * MEMBER_STEP)


@inline
def _uniform(state: np.uint64) -> np.float64:
    # The midpoints of 2^52 equal cells: with 53 bits the last midpoint would round to 1.
    return (np.float64(np.int64(state >> np.uint64(12))) + 0.5) * 2.0**-52


@kernel
def _stream(seed: np.uint64, stream: np.uint64, epoch: np.uint64, index: np.uint64) -> np.uint64:
    return _stream_state(seed, stream, epoch, index)


@kernel
def _stream_keys(seed: np.uint64, stream: np.uint64, epoch: np.uint64, keys: U64) -> None:
    for index in range(keys.size):
        keys[index] = _stream_state(seed, stream, epoch, np.uint64(index))


@kernel
def _hash_strings(data: U8, offsets: I64, hashes: U64) -> None:
    for i in range(hashes.size):
        state = _FNV_BASIS
        for j in range(offsets[i], offsets[i + 1]):
            state = (state ^ np.uint64(data[j])) * _FNV_PRIME
        hashes[i] = mix(state)


@kernel
def _uniforms(stream: np.uint64, member_keys: U64, numbers: F64) -> None:
    for i in range(member_keys.size):
        numbers[i] = _uniform(member_state(stream, member_keys[i]))


@kernel
def _pair_uniforms(stream: np.uint64, member_keys: U64, candidate_keys: U64, numbers: F64) -> None:
    for k in range(candidate_keys.size):
        for i in range(member_keys.size):
            numbers[k, i] = _uniform(pair_state(member_state(stream, member_keys[i]), candidate_keys[k]))


@kernel
def _normals(stream: np.uint64, member_keys: U64, candidate_keys: U64, states: U64, numbers: F32) -> None:
    for i in range(member_keys.size):
        states[i] = member_state(stream, member_keys[i])
    for k in range(candidate_keys.size):
        fill_normals(states, candidate_keys[k], numbers[k])


@kernel
def _replay_normals(
    streams: U64, member_key: np.uint64, candidate_keys: U64, states: U64, numbers: F32
) -> None:
    for i in range(streams.size):
        states[i] = member_state(streams[i], member_key)
    for k in range(candidate_keys.size):
        fill_normals(states, candidate_keys[k], numbers[k])


@kernel
def _tie_keys(stream: np.uint64, member_keys: U64, keys: U64) -> None:
    for i in range(member_keys.size):
        keys[i] = member_state(stream, member_keys[i]) & _NOT_PLACE
