"""Keyed random numbers from their definitions, with Python's unbounded integers."""

from __future__ import annotations

from statistics import NormalDist

MASK = 2**64 - 1
MEMBER_STEP = 0x9E3779B97F4A7C15
CANDIDATE_STEP = 0xD1B54A32D192ED03


def mix(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def stream_key(seed: int, stream: int, epoch: int = 0, index: int = 0) -> int:
    state = mix((seed + MEMBER_STEP) & MASK)
    for word in (stream, epoch, index):
        state = mix((state + word * MEMBER_STEP) & MASK)
    return state


def hash_bytes(data: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return mix(state)


def member_state(stream: int, member_key: int) -> int:
    return mix((stream + member_key * MEMBER_STEP) & MASK)


def pair_state(stream: int, member_key: int, candidate_key: int) -> int:
    return mix((member_state(stream, member_key) + candidate_key * CANDIDATE_STEP) & MASK)


def uniform(state: int) -> float:
    return (state // 2**12 + 0.5) / 2**52


def normal_of_bits(bits: int) -> float:
    """Bits as an unsigned integer of 32 bits."""
    upper_tail = (bits % 2**31 + 0.5) / 2**31 / 2
    magnitude = -NormalDist().inv_cdf(upper_tail)
    return -magnitude if bits >= 2**31 else magnitude


def normal(state: int) -> float:
    return normal_of_bits(state // 2**32)
