"""Chunks of decisions as the tables that the log's segments hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.decision.result import ResultChunk
from decider.decision.result_table import null_where_nan
from decider.members import Snapshot


def segment_frame(chunk: ResultChunk) -> pl.DataFrame:
    """Columns of a sealed segment, one row a member.

    ``ordinal, member_id, stratum, n_messages, c0.., mean0.., sd0.., gain0.., propensity, propensity_hits,
    expected, history_sequence``, and ``cell`` where the run has cells.
    """
    n_places = chunk.sets.shape[0]
    columns: dict[str, Any] = {
        "ordinal": pl.Series(np.arange(chunk.first_ordinal, chunk.first_ordinal + chunk.n_members)),
        "member_id": chunk.member_ids,
        "stratum": pl.Series(chunk.stratum),
        "n_messages": pl.Series((chunk.sets >= 0).sum(axis=0, dtype=np.uint8)),
    }
    for name, array in (("c", chunk.sets), ("mean", chunk.mean), ("sd", chunk.sd), ("gain", chunk.gains)):
        columns |= {f"{name}{place}": pl.Series(array[place]) for place in range(n_places)}
    columns["propensity"] = pl.from_arrow(null_where_nan(chunk.propensity))
    columns["propensity_hits"] = pl.Series(chunk.propensity_hits)
    columns["expected"] = pl.Series(chunk.expected)
    columns["history_sequence"] = pl.Series(chunk.history_sequence)
    if chunk.cells is not None:
        columns["cell"] = pl.Series(chunk.cells)
    return pl.DataFrame(columns)


def chunk_of_segment(frame: pl.DataFrame, snapshot: Snapshot) -> ResultChunk:
    """The chunk that a sealed segment holds: the inverse of :func:`segment_frame`."""
    n_places = sum(name.startswith("c") and name[1:].isdigit() for name in frame.columns)

    def places(name: str) -> NDArray[Any]:
        return np.stack([frame[f"{name}{place}"].to_numpy() for place in range(n_places)])

    member_ids = frame["member_id"]
    return ResultChunk(
        first_ordinal=int(frame["ordinal"][0]),
        rows=snapshot.rows_of(member_ids.to_numpy() if snapshot.id_type == "int64" else member_ids.to_list()),
        member_ids=member_ids,
        stratum=frame["stratum"].to_numpy(),
        sets=places("c"),
        mean=places("mean"),
        sd=places("sd"),
        gains=places("gain"),
        propensity=frame["propensity"].fill_null(float("nan")).to_numpy(),
        propensity_hits=frame["propensity_hits"].to_numpy(),
        expected=frame["expected"].to_numpy(),
        history_sequence=frame["history_sequence"].to_numpy(),
        cells=frame["cell"].to_numpy() if "cell" in frame.columns else None,
    )
