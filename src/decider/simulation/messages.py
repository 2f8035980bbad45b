"""The candidates of a simulated world: every message on every channel of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decider.simulation.spec import CHANNELS, TYPES, MessageSpec
from decider_core.random import hash_string
from decider_core.reasons import ELIGIBLE, NOT_LIVE


@dataclass(frozen=True)
class Messages:
    """K candidates, by index."""

    messages: tuple[MessageSpec, ...]
    """[K] the message of each candidate."""
    channel: NDArray[np.int32]
    """[K] index into CHANNELS."""

    @classmethod
    def of(cls, messages: tuple[MessageSpec, ...]) -> Messages:
        """Put every message on every one of its channels."""
        pairs = [(message, CHANNELS.index(name)) for message in messages for name in message.channels]
        return cls(tuple(message for message, _ in pairs), np.array([c for _, c in pairs], np.int32))

    @property
    def n(self) -> int:
        """K."""
        return len(self.messages)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """``message@channel`` of each."""
        pairs = zip(self.messages, self.channel, strict=True)
        return tuple(f"{message.id}@{CHANNELS[channel]}" for message, channel in pairs)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """u64[K] for keyed draws; the same whatever other candidates there are."""
        return np.array([hash_string(name) for name in self.ids], np.uint64)

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """All topics."""
        return tuple(dict.fromkeys(message.topic for message in self.messages))

    @cached_property
    def topic(self) -> NDArray[np.int32]:
        """i32[K] index into `topics`."""
        return np.array([self.topics.index(message.topic) for message in self.messages], np.int32)

    @cached_property
    def type(self) -> NDArray[np.int32]:
        """i32[K] index into TYPES."""
        return np.array([TYPES.index(message.type) for message in self.messages], np.int32)

    @cached_property
    def message(self) -> NDArray[np.int32]:
        """i32[K] number of the message: candidates of one message share it."""
        first = list(dict.fromkeys(message.id for message in self.messages))
        return np.array([first.index(message.id) for message in self.messages], np.int32)

    def live(self, epoch: int) -> NDArray[np.uint8]:
        """u8[K]: 0, or NOT_LIVE before it appears and from when it expires."""
        on = [message.appears <= epoch < message.expires for message in self.messages]
        return np.where(on, ELIGIBLE, NOT_LIVE).astype(np.uint8)
