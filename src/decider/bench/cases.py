"""The cases by name, each a module of this room with a `CASE`; loaded when asked for, as some need much."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from decider.bench.case import Case
from decider.errors import InvalidInput

NAMES: Final = (
    "thompson",
    "diagonal",
    "forest",
    "price",
    "gram",
    "ope",
    "bulk",
    "batch",
    "decide",
)
"""In the order in which they are run."""
_OF_MANY_PROCESSES: Final = ("bulk", "batch", "decide")
SHORT: Final = tuple(name for name in NAMES if name not in _OF_MANY_PROCESSES)
"""The short form runs these unless told otherwise: on one thread, by its processor time, so that a busy machine
does not change their ratios."""


def case_named(name: str) -> Case:
    """Return a case.

    Raises
    ------
    InvalidInput
        If there is none of that name.
    """
    if name not in NAMES:
        raise InvalidInput.of("case", f"must be one of {', '.join(NAMES)}", name)
    case: Case = import_module(f"decider.bench.{name}").CASE
    return case
