"""How many of a run's members a search for prices goes through, from a few to all, and how far off it may then be."""

from __future__ import annotations

FIRST = 4_096
"""Members of the first search."""
TIMES = 8
"""As many members are in the next one, and in the one after that."""
STANDARD_ERRORS = 4.0
"""How far to either side of what some members say prices are looked for among more."""


def sizes_of_searches(n_members: int, part: int) -> list[int]:
    """Members of one search after the other, before that of all: one in `part` of them at most."""
    found, size = [], FIRST
    while part * size <= n_members:
        found.append(size)
        size *= TIMES
    return found
