"""What can be said: messages on channels, as plain records and as arrays by candidate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from decider.catalog.rules import Rules, compile_rules
from decider_core.history import HistoryRules
from decider_core.random import hash_string
from decider_core.reasons import ELIGIBLE, NOT_LIVE

Array = npt.NDArray[Any]

SCOPES: Final = ("none", "topic", "type", "either")
"""What makes two messages similar for a suppression; the place is the code in `HistoryRules`."""

ALWAYS_FROM: Final = np.iinfo(np.int64).min
ALWAYS_UNTIL: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Cap:
    """At most `count` messages in any window of `window_seconds`."""

    count: int
    window_seconds: int


@dataclass(frozen=True)
class QuietHours:
    """Minutes after local midnight, from `start` (in) to `end` (out); runs over midnight if start > end."""

    start: int
    end: int


@dataclass(frozen=True)
class Channel:
    """One way to reach a member."""

    name: str
    cap: Cap | None
    quiet_hours: QuietHours | None


@dataclass(frozen=True)
class Message:
    """One thing that can be said."""

    id: str
    type: str
    topic: str
    title: str
    channels: tuple[str, ...]
    costs: tuple[float, ...]
    """Cost on each of `channels`, in the unit of the budget."""
    priority: float | str
    """A number, or a Polars SQL expression over member columns; used by the heuristic policy only."""
    weight: float
    """Weight in the explore stratum, > 0."""
    valid_from_micros: int
    valid_until_micros: int
    audience: str | None
    """A Polars SQL expression that is true for the members it may go to; None is everybody."""
    suppress_scope: str
    suppress_seconds: int


@dataclass(frozen=True)
class Candidate:
    """A message on a channel."""

    index: int
    id: str
    message: str
    type: str
    topic: str
    channel: str


@dataclass(frozen=True)
class Catalog:
    """The live candidates and the rules on them.

    Arrays are read-only and by candidate, in the order of the file: messages, then their channels.
    """

    name: str
    version: str
    """``sha256:`` and 16 hex digits of the content; comments, spaces and the path do not enter."""
    text: str
    """The TOML source, kept so that a logged decision can be replayed."""
    channels: tuple[Channel, ...]
    messages: tuple[Message, ...]
    max_messages: int
    """Most messages in one decision, 1 to 8."""
    member_cap: Cap | None
    topic_caps: tuple[Cap | None, ...]
    """By topic, in the order of `topic_names`."""

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every message on each of its channels."""
        pairs = [(message, channel) for message in self.messages for channel in message.channels]
        return tuple(
            Candidate(index, f"{message.id}@{channel}", message.id, message.type, message.topic, channel)
            for index, (message, channel) in enumerate(pairs)
        )

    @cached_property
    def rules(self) -> Rules:
        """Audience and priority expressions, compiled once."""
        return compile_rules(self.messages, np.array([len(message.channels) for message in self.messages]))

    @property
    def n_candidates(self) -> int:
        """Number of candidates K."""
        return len(self.candidates)

    @cached_property
    def validity_edges(self) -> list[int]:
        """Times at which a message comes or goes, in order: between two of them the same ones are live."""
        edges = {*self.valid_from.tolist(), *self.valid_until.tolist()}
        return sorted(edges - {int(ALWAYS_FROM), int(ALWAYS_UNTIL)})

    @cached_property
    def live_between(self) -> dict[int, Array]:
        """What :func:`live` found already, by how many of the edges had passed."""
        return {}

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Index of a candidate by its id."""
        return {candidate.id: candidate.index for candidate in self.candidates}

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """Channels in the order of the file."""
        return tuple(channel.name for channel in self.channels)

    @cached_property
    def topic_names(self) -> tuple[str, ...]:
        """Topics in the order of their first message."""
        return tuple(dict.fromkeys(message.topic for message in self.messages))

    @cached_property
    def type_names(self) -> tuple[str, ...]:
        """Message types in the order of their first message."""
        return tuple(dict.fromkeys(message.type for message in self.messages))

    @cached_property
    def cost(self) -> Array:
        """float32[K], >= 0."""
        return _sealed([cost for message in self.messages for cost in message.costs], np.float32)

    @cached_property
    def weight(self) -> Array:
        """float64[K] exploration weights, > 0."""
        return self._by_message(lambda message: message.weight, np.float64)

    @cached_property
    def channel(self) -> Array:
        """int32[K] places in `channel_names`."""
        return self._places(self.channel_names, [candidate.channel for candidate in self.candidates])

    @cached_property
    def topic(self) -> Array:
        """int32[K] places in `topic_names`."""
        return self._places(self.topic_names, [candidate.topic for candidate in self.candidates])

    @cached_property
    def type(self) -> Array:
        """int32[K] places in `type_names`."""
        return self._places(self.type_names, [candidate.type for candidate in self.candidates])

    @cached_property
    def keys(self) -> Array:
        """uint64[K] keys of the candidates' random streams: hashes of their ids."""
        return _sealed([hash_string(candidate.id) for candidate in self.candidates], np.uint64)

    @cached_property
    def valid_from(self) -> Array:
        """int64[K] first microsecond at which a candidate is live."""
        return self._by_message(lambda message: message.valid_from_micros, np.int64)

    @cached_property
    def valid_until(self) -> Array:
        """int64[K] first microsecond at which a candidate is no longer live."""
        return self._by_message(lambda message: message.valid_until_micros, np.int64)

    @cached_property
    def history_rules(self) -> HistoryRules:
        """Suppressions and caps in the form of `decider_core.history.apply_history`; -1 is no cap."""
        channel_caps = [channel.cap for channel in self.channels]
        return HistoryRules(
            suppress_seconds=self._by_message(lambda message: message.suppress_seconds, np.int64),
            suppress_scope=self._by_message(lambda message: SCOPES.index(message.suppress_scope), np.uint8),
            member_cap=self.member_cap.count if self.member_cap else -1,
            member_window_seconds=self.member_cap.window_seconds if self.member_cap else 0,
            channel_cap=_sealed([cap.count if cap else -1 for cap in channel_caps], np.int32),
            channel_window_seconds=_sealed(
                [cap.window_seconds if cap else 0 for cap in channel_caps], np.int64
            ),
            topic_cap=_sealed([cap.count if cap else -1 for cap in self.topic_caps], np.int32),
            topic_window_seconds=_sealed(
                [cap.window_seconds if cap else 0 for cap in self.topic_caps], np.int64
            ),
        )

    @cached_property
    def longest_window_seconds(self) -> int:
        """How far back any cap or suppression looks; what was sent before does not matter."""
        caps = [self.member_cap, *self.topic_caps, *(channel.cap for channel in self.channels)]
        windows = [cap.window_seconds for cap in caps if cap is not None]
        return max([0, *windows, *(message.suppress_seconds for message in self.messages)])

    def code_tables(self, vocabulary: Sequence[tuple[str, str, str, str]]) -> tuple[Array, Array, Array]:
        """Translate the names of past sends into places of this catalog.

        Parameters
        ----------
        vocabulary
            (message, type, topic, channel) that each code of a history stands for.

        Returns
        -------
        tuple of int32[n_codes]
            Type, topic and channel of every code, as places in `type_names`, `topic_names` and
            `channel_names`; -1 where the catalog does not have it. A send that is known by its message alone
            (type and topic empty, as events from outside are) has those of this catalog's message.
        """
        messages = {message.id: message for message in self.messages}
        named = []
        for message, type_, topic, channel in vocabulary:
            known = messages.get(message) if not (type_ or topic) else None
            named.append((known.type, known.topic, channel) if known else (type_, topic, channel))
        tables = []
        for part, names in enumerate((self.type_names, self.topic_names, self.channel_names)):
            place = {name: index for index, name in enumerate(names)}
            tables.append(_sealed([place.get(entry[part], -1) for entry in named], np.int32))
        return tables[0], tables[1], tables[2]

    def _by_message(self, value: Callable[[Message], Any], dtype: npt.DTypeLike) -> Array:
        return _sealed([value(message) for message in self.messages for _ in message.channels], dtype)

    def _places(self, names: tuple[str, ...], wanted: list[str]) -> Array:
        place = {name: index for index, name in enumerate(names)}
        return _sealed([place[name] for name in wanted], np.int32)


def live(catalog: Catalog, time_micros: int) -> Array:
    """Which candidates are inside their validity window.

    Parameters
    ----------
    catalog
        The catalog.
    time_micros
        Decision time, microseconds since the Unix epoch.

    Returns
    -------
    uint8[n_candidates]
        0, or `NOT_LIVE`; read-only. The window is closed at `valid_from` and open at `valid_until`.
    """
    between = bisect_right(catalog.validity_edges, time_micros)
    known = catalog.live_between.get(between)
    if known is None:
        inside = (catalog.valid_from <= time_micros) & (time_micros < catalog.valid_until)
        known = np.where(inside, np.uint8(ELIGIBLE), np.uint8(NOT_LIVE))
        known.flags.writeable = False
        catalog.live_between[between] = known
    return known


def quiet(catalog: Catalog, local_minutes: Array) -> Array:
    """Which channels must keep still at the members' local times.

    Parameters
    ----------
    catalog
        The catalog.
    local_minutes
        int16[n_members] minutes after each member's local midnight.

    Returns
    -------
    uint8[n_channels, n_members]
        1 inside the channel's quiet hours, else 0. The hours are closed at their start and open at their end.
    """
    out = np.zeros((len(catalog.channels), len(local_minutes)), np.uint8)
    for row, channel in zip(out, catalog.channels, strict=True):
        hours = channel.quiet_hours
        if hours is None:
            continue
        after, before = local_minutes >= hours.start, local_minutes < hours.end
        # Over midnight (22:00-08:00) either side will do; inside one day both must hold.
        row[:] = after | before if hours.start > hours.end else after & before
    return out


def _sealed(values: list[Any], dtype: npt.DTypeLike) -> Array:
    """A read-only array."""
    out = np.array(values, dtype=dtype)
    out.flags.writeable = False
    return out
