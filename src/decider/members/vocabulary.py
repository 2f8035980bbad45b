"""Names of past sends, and their translation into the places of a catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt

SendName = tuple[str, str, str, str]
"""(message, type, topic, channel) of something that was sent."""

CodeTables = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
"""Type, topic and channel of every code, int32[n_codes] each, as places in a catalog; -1 is not in it."""


class Translates(Protocol):
    """What translates names: a catalog."""

    def code_tables(self, vocabulary: Sequence[SendName]) -> CodeTables:
        """Translate each entry of a vocabulary."""
        ...
