"""What rules and hours mean, in plain Python from the definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def mask(rules: list[Callable[[Row], bool | None] | None], rows: list[Row]) -> list[list[int]]:
    """Words of 64 candidates for every row; no rule admits everybody, an unknown answer nobody."""
    words = []
    for first in range(0, len(rules), 64):
        part = rules[first : first + 64]
        words.append(
            [sum(1 << k for k, rule in enumerate(part) if rule is None or rule(row) is True) for row in rows]
        )
    return words


def sql_and(left: bool | None, right: bool | None) -> bool | None:
    """SQL's AND of three values."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def sql_not(value: bool | None) -> bool | None:
    """SQL's NOT of three values."""
    return None if value is None else not value


def is_quiet(hours: str, minute: int) -> bool:
    """Walk the clock from the start of the hours to their end."""
    start, end = (int(part[:2]) * 60 + int(part[3:]) for part in hours.split("-"))
    while start != end:
        if start == minute:
            return True
        start = (start + 1) % (24 * 60)
    return False
