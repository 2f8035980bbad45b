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
