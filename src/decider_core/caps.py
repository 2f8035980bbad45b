"""What limits a message set: room under the caps, costs, prices and penalties; each checked once, by name."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, I16, I32, INTERPRETED, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_range

MAX_MESSAGES: Final = 8
"""The largest message set; a place must also fit the low four bits of a tie key."""

LARGEST: Final = float(np.finfo(np.float32).max)


class Caps(NamedTuple):
    """How many messages still fit: per member, per channel and per topic."""

    channel: I32
    """i32[n_candidates]: the channel of each candidate."""
    topic: I32
    """i32[n_candidates]: the topic of each candidate."""
    room_member: I16
    """i16[n_members]: messages that the member may still get."""
    room_channel: I16
    """i16[n_channels, n_members]: the same on each channel."""
    room_topic: I16
    """i16[n_topics, n_members]: the same about each topic."""
    max_messages: int
    """Places in a set, 1 to 8."""


class Terms(NamedTuple):
    """What a message costs and must bring, checked by :func:`check_terms`."""

    cost: F32
    price: F32
    same_topic_penalty: np.float32
    tie_cut: np.uint64


def check_sets(sets: I16, n_candidates: int) -> None:
    """Refuse a set that holds something else than candidates and -1."""
    if INTERPRETED or sets.flags.writeable or not _are_codes(sets.reshape(-1), n_candidates):
        check_range("sets", sets, -1, n_candidates - 1)


def check_fatigue(fatigue: F32, n_members: int) -> F32:
    """Return `fatigue`, one finite number per member, not negative."""
    fatigue = check_array("fatigue", fatigue, np.float32, (n_members,))
    if not _between(fatigue, 0.0, LARGEST):
        check_range("fatigue", fatigue, 0.0, LARGEST)
    return fatigue


def check_terms(
    cost: F32, price: F32, same_topic_penalty: float, tie_cut: int | np.uint64, n_candidates: int
) -> Terms:
    """Return the terms: cost finite and not negative, price not NaN, the cut an unsigned 64-bit integer."""
    cost = check_array("cost", cost, np.float32, (n_candidates,))
    price = check_array("price", price, np.float32, (n_candidates,))
    if not (_between(cost, 0.0, LARGEST) and _between(price, -np.inf, np.inf)):
        check_range("cost", cost, 0.0, LARGEST)
        check_range("price", price, -np.inf, np.inf)
    penalty = check_number("same_topic_penalty", same_topic_penalty, 0.0, LARGEST)
    if not 0 <= tie_cut < 1 << 64:
        raise ContractError(f"tie_cut must be in [0, 2^64), got {tie_cut}")
    return Terms(cost, price, np.float32(penalty), np.uint64(tie_cut))


def check_caps(caps: Caps, n_candidates: int, n_members: int) -> Caps:
    """Return `caps` with its arrays checked against the shapes and ranges that kernels rely on."""
    if not 1 <= caps.max_messages <= MAX_MESSAGES:
        raise ContractError(f"max_messages must be in [1, {MAX_MESSAGES}], got {caps.max_messages}")
    checked = Caps(
        check_array("channel", caps.channel, np.int32, (n_candidates,)),
        check_array("topic", caps.topic, np.int32, (n_candidates,)),
        check_array("room_member", caps.room_member, np.int16, (n_members,)),
        check_array("room_channel", caps.room_channel, np.int16, (None, n_members)),
        check_array("room_topic", caps.room_topic, np.int16, (None, n_members)),
        int(caps.max_messages),
    )
    n_channels, n_topics = len(checked.room_channel), len(checked.room_topic)
    if not (_below(checked.channel, n_channels) and _below(checked.topic, n_topics)):
        check_range("channel", checked.channel, 0, n_channels - 1)
        check_range("topic", checked.topic, 0, n_topics - 1)
    return checked


# What almost always holds is found out by a kernel, in a tenth of the time that NumPy takes for one member;
# only what does not hold is then looked for and named.


@kernel
def _between(numbers: F32, low: float, high: float) -> bool:
    n_inside = 0
    for i in range(numbers.size):
        n_inside += (numbers[i] >= low) & (numbers[i] <= high)
    return n_inside == numbers.size


@kernel
def _are_codes(sets: I16, n: int) -> bool:
    least, most = np.int16(0), np.int16(-1)
    for i in range(sets.size):
        least, most = min(least, sets[i]), max(most, sets[i])
    return bool(least >= -1 and most < n)


@kernel
def _below(indices: I32, n: int) -> bool:
    n_inside = 0
    for i in range(indices.size):
        n_inside += (indices[i] >= 0) & (indices[i] < n)
    return n_inside == indices.size
