"""What a snapshot holds, in plain Python from the definitions."""

from __future__ import annotations

from typing import Any


def features(
    rows: list[dict[str, Any]], numbers: list[str], categories: dict[str, list[str]]
) -> list[list[float]]:
    """Numbers as they are, then one 0/1 feature for each level."""
    return [
        [float(row[name]) for name in numbers]
        + [float(row[name] == level) for name, levels in categories.items() for level in levels]
        for row in rows
    ]


def rows_of(ids: list[Any], wanted: list[Any]) -> list[int]:
    """Place of each wanted id, -1 if it is nowhere."""
    place = {one: row for row, one in enumerate(ids)}
    return [place.get(one, -1) for one in wanted]


def sends_by_member(ids: list[Any], sends: list[dict[str, Any]]) -> list[list[tuple[Any, ...]]]:
    """(time, message, type, topic, channel) of each member's sends, by time, then name."""
    found: dict[Any, list[tuple[Any, ...]]] = {one: [] for one in ids}
    for send in sends:
        found[send["member_id"]].append(
            (send["time"], send["message"], send["type"], send["topic"], send["channel"])
        )
    return [sorted(found[one]) for one in ids]


def chain(entries: list[tuple[int, int]], row: int) -> list[int]:
    """Places of a member's entries, the newest first; entries are (row, anything)."""
    return [place for place in range(len(entries) - 1, -1, -1) if entries[place][0] == row]
