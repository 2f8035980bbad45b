"""Feedback in parts, and read in chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decider.errors import UnknownName
from decider.logbook import feedback as module
from decider.logbook.feedback import Feedback, seal_feedback, seal_parts

LAYOUT: dict[str, Any] = {
    "arms": ["none", "sale"],
    "control": "none",
    "rewards": ["visit"],
    "feature_names": ["a"],
    "facts": {},
}


def frame(n: int) -> pl.DataFrame:
    arm = np.arange(n) % 2
    return pl.DataFrame(
        {
            "member_id": np.arange(n),
            "arm": pl.Series(["none", "sale"]).gather(arm),
            "propensity": np.full(n, 0.5),
            "p:none": np.full(n, 0.5),
            "p:sale": np.full(n, 0.5),
            "y:visit": np.arange(n, dtype=np.float64),
            "x:a": np.arange(n, dtype=np.float32),
        }
    )


def test_parts_are_one_log(tmp_path: Path) -> None:
    whole = frame(25)
    seal_parts(whole.iter_slices(10), tmp_path / "log", **LAYOUT)
    log = Feedback.open(tmp_path / "log")
    assert log.n_rows == 25
    assert log.read().equals(whole)


@pytest.mark.parametrize("chunk_rows", [1, 4, 7, 100])
def test_chunks_follow_one_another_over_parts_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", 6)
    whole = frame(25)
    log = seal_parts(whole.iter_slices(10), tmp_path / "log", **LAYOUT)
    columns = ["x:a", "member_id"]
    chunks = list(log.chunks(columns, chunk_rows))
    assert max(chunk.height for chunk in chunks) <= min(chunk_rows, 6)
    assert pl.concat(chunks).equals(whole.select(columns))


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    log = seal_feedback(frame(5), tmp_path / "log", **LAYOUT)
    with pytest.raises(UnknownName, match="'x:b'"):
        next(log.chunks(["x:b"]))
