"""Decisions of a run as a table for whoever asked: Arrow's layout, made in one pass over each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from decider.decision.result import STRATA, ResultChunk
from decider_core.lists import set_lists
from decider_core.text import Texts, numbered_texts, take_texts, texts_of


class ResultTables:
    """Tables of a run's decisions.

    Parameters
    ----------
    candidates
        Candidate ids by index.
    run_id
        Of the run: ``decision_id`` is ``<run_id>-<ordinal>``.
    """

    def __init__(self, candidates: Sequence[str], run_id: str) -> None:
        self._candidates, self._strata = texts_of(candidates), texts_of(STRATA)
        self._prefix = f"{run_id}-"

    def batch(self, chunk: ResultChunk) -> Any:
        """One row a member, its message set as lists in the order assembled.

        Returns
        -------
        pyarrow.RecordBatch
            Columns ``decision_id str, member_id, stratum str, candidates list[str], marginal_gain list[f32],
            expected_incrementality list[f32], standard_deviation list[f32], propensity f64 (null when
            deferred), expected_incremental_reward f32``.
        """
        lists = set_lists(chunk.sets, chunk.gains, chunk.mean, chunk.sd)
        offsets = pa.py_buffer(lists.offsets)
        names = _text_array(take_texts(self._candidates, lists.codes))
        gain, mean, sd = (_number_array(values) for values in lists.values)
        columns = {
            "decision_id": _text_array(numbered_texts(self._prefix, chunk.first_ordinal, chunk.n_members)),
            "member_id": chunk.member_ids.to_arrow(compat_level=pl.CompatLevel.oldest()),
            "stratum": _text_array(take_texts(self._strata, chunk.stratum.astype(np.int16))),
            "candidates": _list_array(names, offsets, chunk.n_members),
            "marginal_gain": _list_array(gain, offsets, chunk.n_members),
            "expected_incrementality": _list_array(mean, offsets, chunk.n_members),
            "standard_deviation": _list_array(sd, offsets, chunk.n_members),
            "propensity": null_where_nan(chunk.propensity),
            "expected_incremental_reward": _number_array(chunk.expected),
        }
        return pa.RecordBatch.from_pydict(columns)

    def frame(self, chunk: ResultChunk) -> pl.DataFrame:
        """The same for Polars."""
        frame = pl.from_arrow(self.batch(chunk))
        assert isinstance(frame, pl.DataFrame)
        return frame


def null_where_nan(values: NDArray[np.float64]) -> Any:
    """The values without a copy as an array of Arrow, those that are NaN null."""
    known = ~np.isnan(values)
    bits = pa.py_buffer(np.packbits(known, bitorder="little"))
    n_null = values.size - int(np.count_nonzero(known))
    return pa.Array.from_buffers(pa.float64(), values.size, [bits, pa.py_buffer(values)], n_null)


def _number_array(values: NDArray[np.float32]) -> Any:
    """The values without a copy; pyarrow.array would look whether they are of pandas, and import it for that."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.float32(), values.size, buffers, 0)


def _text_array(texts: Texts) -> Any:
    buffers = [None, pa.py_buffer(texts.offsets), pa.py_buffer(texts.data)]
    return pa.Array.from_buffers(pa.string(), texts.offsets.size - 1, buffers, 0)


def _list_array(values: Any, offsets: Any, n_rows: int) -> Any:
    """Cut flat values into lists, without a copy; many columns may have their offsets in common."""
    return pa.Array.from_buffers(pa.list_(values.type), n_rows, [None, offsets], 0, children=[values])
