"""The ratios that the short form once reached: what the gate holds against what it measures now.

A file of them is JSON, ``{"case shape / baseline": ratio}``; ``decider bench --short --record FILE`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from decider.bench.case import Row
from decider.errors import CorruptArtifact, NotFound

Reference: TypeAlias = Mapping[str, float]

LOST: Final = 0.2
"""The share of a ratio that may be lost before the gate fails."""


def read_reference(path: Path) -> dict[str, float]:
    """Read a file of reference ratios.

    Raises
    ------
    NotFound
        If there is no such file.
    CorruptArtifact
        If it holds anything but ratios.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, float])
    except FileNotFoundError:
        raise NotFound("against", "file", str(path)) from None
    except msgspec.DecodeError as error:
        raise CorruptArtifact(path, f"must hold ratios by name: {error}") from None


def write_reference(path: Path, ratios: Reference) -> None:
    """Write ratios in the order of their names; those of other cases in the file stay."""
    before = read_reference(path) if path.is_file() else {}
    rounded = {name: float(f"{ratio:.3g}") for name, ratio in ratios.items()}
    path.write_text(json.dumps(before | rounded, indent=2, sort_keys=True) + "\n", "utf-8")


def kept(row: Row, reference: Reference) -> float | None:
    """Share of the reference ratio that a row keeps, 1 for all of it; None for a row that has no reference."""
    if row.key not in reference:
        return None
    if row.at_most:
        return reference[row.key] / row.ratio
    return row.ratio / reference[row.key]
