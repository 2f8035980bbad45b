"""What the sends of a time allow: suppressions and caps, and what the candidates are to them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import I32, I64, U8
from decider_core.contracts import check_array, check_range

NO_SCOPE: Final = 0
SAME_TOPIC: Final = 1
SAME_TYPE: Final = 2
EITHER: Final = 3

LONGEST_SECONDS: Final = 4e12
"""The longest window; in microseconds it fits 63 bits beside any time."""


class Candidates(NamedTuple):
    """Channel, topic and message type of each candidate, i32[n_candidates] each."""

    channel: I32
    topic: I32
    type: I32


class HistoryRules(NamedTuple):
    """What the sends of a time allow. A cap of -1 is none; a window reaches back from the decision."""

    suppress_seconds: I64
    """i64[n_candidates]: nothing similar within this time."""
    suppress_scope: U8
    """u8[n_candidates]: what is similar: NO_SCOPE nothing, SAME_TOPIC, SAME_TYPE, or EITHER."""
    member_cap: int
    """Messages to a member within the window, on all channels, also those that left the catalog."""
    member_window_seconds: int
    channel_cap: I32
    """i32[n_channels]"""
    channel_window_seconds: I64
    """i64[n_channels]"""
    topic_cap: I32
    """i32[n_topics]"""
    topic_window_seconds: I64
    """i64[n_topics]"""


class CheckedHistory(NamedTuple):
    """Candidates and rules that fit each other, checked by :func:`check_history`."""

    candidates: Candidates
    rules: HistoryRules
    n_types: int
    """Message types of the candidates."""


def check_history(candidates: Candidates, rules: HistoryRules) -> CheckedHistory:
    """Return both checked: channels and topics within the rules', caps at least -1, windows not negative.

    Notes
    -----
    A catalog's tables are the same for chunk after chunk, and checking them cost more than a small chunk's
    history. So what was checked is remembered, by identity, where all of its arrays are read-only.
    """
    known = _CHECKED.get((id(candidates), id(rules)))
    if known is not None:
        return known[2]
    of_candidates = _check_candidates(candidates, rules)
    n_types = int(of_candidates.type.max(initial=-1)) + 1
    checked = CheckedHistory(of_candidates, _check_rules(rules, of_candidates.channel.size), n_types)
    if not any(isinstance(table, np.ndarray) and table.flags.writeable for table in (*candidates, *rules)):
        if len(_CHECKED) >= _MOST_CHECKED:
            _CHECKED.clear()
        # With the two themselves: as long as they are remembered, no others have their identities.
        _CHECKED[id(candidates), id(rules)] = candidates, rules, checked
    return checked


_MOST_CHECKED: Final = 16
_CHECKED: Final[dict[tuple[int, int], tuple[Candidates, HistoryRules, CheckedHistory]]] = {}


def _check_candidates(candidates: Candidates, rules: HistoryRules) -> Candidates:
    """Return `candidates` checked, with channels and topics within those of the rules."""
    n_candidates = np.size(candidates.channel)
    channel = check_array("channel", candidates.channel, np.int32, (n_candidates,))
    topic = check_array("topic", candidates.topic, np.int32, (n_candidates,))
    kind = check_array("type", candidates.type, np.int32, (n_candidates,))
    check_range("channel", channel, 0, np.size(rules.channel_cap) - 1)
    check_range("topic", topic, 0, np.size(rules.topic_cap) - 1)
    check_range("type", kind, 0, np.inf)
    return Candidates(channel, topic, kind)


def _check_rules(rules: HistoryRules, n_candidates: int) -> HistoryRules:
    """Return `rules` checked: caps at least -1, windows not negative."""
    n_channels, n_topics = np.size(rules.channel_cap), np.size(rules.topic_cap)
    checked = HistoryRules(
        check_array("suppress_seconds", rules.suppress_seconds, np.int64, (n_candidates,)),
        check_array("suppress_scope", rules.suppress_scope, np.uint8, (n_candidates,)),
        int(rules.member_cap),
        int(rules.member_window_seconds),
        check_array("channel_cap", rules.channel_cap, np.int32, (n_channels,)),
        check_array("channel_window_seconds", rules.channel_window_seconds, np.int64, (n_channels,)),
        check_array("topic_cap", rules.topic_cap, np.int32, (n_topics,)),
        check_array("topic_window_seconds", rules.topic_window_seconds, np.int64, (n_topics,)),
    )
    check_range("suppress_scope", checked.suppress_scope, NO_SCOPE, EITHER)
    for name in ("member_cap", "channel_cap", "topic_cap"):
        check_range(name, np.asarray(getattr(checked, name)), -1, np.iinfo(np.int32).max)
    for name in ("suppress", "member_window", "channel_window", "topic_window"):
        check_range(f"{name}_seconds", np.asarray(getattr(checked, f"{name}_seconds")), 0, LONGEST_SECONDS)
    return checked
