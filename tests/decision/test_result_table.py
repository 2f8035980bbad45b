"""Tables of a run's decisions, against the same built member by member."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from decider.decision.result import STRATA, ResultChunk
from decider.decision.result_table import ResultTables

NAMES = ["picks@push", "\N{SNOWMAN}@email", "a-name-of-more-than-sixteen-bytes@in_app"]


def chunk(n_members: int, n_places: int, first: int = 0, *, text: bool = False) -> ResultChunk:
    draw = np.random.default_rng(n_members)
    sets = draw.integers(-1, len(NAMES), (n_places, n_members)).astype(np.int16)
    mean, sd, gains = draw.normal(size=(3, n_places, n_members)).astype(np.float32)
    ids: list[Any] = [f"m{i}" if text else i for i in range(100, 100 + n_members)]
    return ResultChunk(
        first_ordinal=first, rows=np.arange(n_members),
        member_ids=pl.Series(ids, dtype=pl.String if text else pl.Int64),
        stratum=draw.integers(0, 3, n_members).astype(np.uint8), sets=sets, mean=mean, sd=sd, gains=gains,
        propensity=np.where(draw.random(n_members) < 0.5, np.nan, draw.random(n_members)),
        propensity_hits=np.full(n_members, -1, np.int32), expected=draw.normal(size=n_members).astype(np.float32),
        history_sequence=np.zeros(n_members, np.int64),
    )  # fmt: skip


def rows_of(given: ResultChunk) -> list[dict[str, Any]]:
    rows = []
    for i, member_id in enumerate(given.member_ids.to_list()):
        places = [p for p in range(given.sets.shape[0]) if given.sets[p, i] >= 0]
        propensity = float(given.propensity[i])
        rows.append(
            {
                "decision_id": f"run-{given.first_ordinal + i}",
                "member_id": member_id,
                "stratum": STRATA[given.stratum[i]],
                "candidates": [NAMES[given.sets[p, i]] for p in places],
                "marginal_gain": [float(given.gains[p, i]) for p in places],
                "expected_incrementality": [float(given.mean[p, i]) for p in places],
                "standard_deviation": [float(given.sd[p, i]) for p in places],
                "propensity": None if np.isnan(propensity) else propensity,
                "expected_incremental_reward": float(given.expected[i]),
            }
        )
    return rows


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    ("n_members", "n_places", "first"), [(1, 1, 0), (7, 3, 9_999_996), (200, 4, 42), (5, 0, 0)]
)
def test_one_row_a_member(n_members: int, n_places: int, first: int, text: bool) -> None:
    given = chunk(n_members, n_places, first, text=text)
    tables = ResultTables(NAMES, "run")
    frame = tables.frame(given)
    assert frame.rows(named=True) == rows_of(given)
    assert frame.schema == {
        "decision_id": pl.String, "member_id": pl.String if text else pl.Int64, "stratum": pl.String,
        "candidates": pl.List(pl.String), "marginal_gain": pl.List(pl.Float32),
        "expected_incrementality": pl.List(pl.Float32), "standard_deviation": pl.List(pl.Float32),
        "propensity": pl.Float64, "expected_incremental_reward": pl.Float32,
    }  # fmt: skip
    tables.batch(given).validate(full=True)


def test_a_part_of_a_chunk() -> None:
    whole = chunk(50, 3)
    part = slice(10, 30)
    piece = replace(
        whole, first_ordinal=10, rows=whole.rows[part], member_ids=whole.member_ids[part],
        stratum=whole.stratum[part], sets=whole.sets[:, part], mean=whole.mean[:, part], sd=whole.sd[:, part],
        gains=whole.gains[:, part], propensity=whole.propensity[part], expected=whole.expected[part],
    )  # fmt: skip
    assert ResultTables(NAMES, "run").frame(piece).rows(named=True) == rows_of(whole)[part]
