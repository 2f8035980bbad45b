"""Bulk runs: sealed segments come back as they went in, or are refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from decider import errors
from decider.logbook.schema import (
    DecisionRecord,
    HistoryEntry,
    HistoryKind,
    RunCell,
    RunRecord,
    SetEntry,
    run_id_of,
)
from decider.logbook.store import Logbook

from . import records

RUN_ID = run_id_of("bulk")


@pytest.mark.parametrize("string_ids", [False, True])
def test_segment_comes_back_after_reopening(tmp_path: Path, string_ids: bool) -> None:
    frames = [records.segment(300, first, string_ids=string_ids) for first in (0, 300)]
    with Logbook.open(tmp_path) as logbook:
        assert logbook.start_run(records.run()) == records.run()
        sealed = [
            records.log_segment(logbook, RUN_ID, 300 * place, frame) for place, frame in enumerate(frames)
        ]
        assert [info.sequence for info in sealed] == [1, 2]
    with Logbook.open(tmp_path) as logbook:
        assert logbook.segments(RUN_ID) == sealed
        for info, frame in zip(sealed, frames, strict=True):
            assert logbook.read_segment(info).equals(frame)
        assert logbook.verify() == 600
        assert logbook.last_sequence == 2


def test_bulk_decision_is_put_together_again(tmp_path: Path) -> None:
    n = 200_000
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        records.log_segment(logbook, RUN_ID, 10, records.segment(n, 10))
        found = logbook.get_decision(f"{RUN_ID}-100001")
        # 100001 % 3 = 2 messages, of candidates (100001 + place) % 3; 100001 % 4 = 1, so it was not replayed.
        gain = [float(np.float32(100001 / 64 + place)) for place in range(2)]
        assert found.messages == [
            SetEntry("top@push", gain[0], gain[0], gain[0]),
            SetEntry("mens@email", gain[1], gain[1], gain[1]),
        ]
        assert (found.member_id, found.stratum, found.ordinal) == (101_001, 2, 100_001)
        assert (found.theta, found.tie_cut, found.history_sequence) == (0.125, 2**63 + 1, 9)
        assert (found.propensity, found.propensity_kind, found.propensity_draws) == (0.5, "exact", 0)
        replayed = logbook.get_decision(f"{RUN_ID}-100000")
        assert (replayed.propensity_kind, replayed.propensity_draws, replayed.propensity_hits) == (
            "replayed",
            100,
            50,
        )
        deferred = logbook.get_decision(f"{RUN_ID}-100009")
        assert (deferred.propensity, deferred.propensity_kind) == (None, "deferred")
        assert logbook.has_decision(f"{RUN_ID}-10")
        assert logbook.has_decision(f"{RUN_ID}-{n + 9}")
        for outside in (0, 9, n + 10):
            assert not logbook.has_decision(f"{RUN_ID}-{outside}")
            with pytest.raises(errors.NotFound):
                logbook.get_decision(f"{RUN_ID}-{outside}")


def test_run_is_priced_once_and_finished_once(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run(theta=None, tie_cut=None))
        with pytest.raises(errors.InvalidInput, match="theta must be set before decisions are logged"):
            records.log_segment(logbook, RUN_ID, 0, records.segment(3))
        logbook.set_price(RUN_ID, 0.5, 2**64 - 1)
        logbook.set_price(RUN_ID, 0.5, 2**64 - 1)
        with pytest.raises(errors.Conflict, match=r"has the price 0\.5 already, got 0\.25"):
            logbook.set_price(RUN_ID, 0.25, 0)
        with pytest.raises(errors.InvalidInput, match="theta must be a number"):
            logbook.set_price(RUN_ID, float("nan"), 0)
        records.log_segment(logbook, RUN_ID, 0, records.segment(3))
        logbook.finish_run(RUN_ID, {"volume": 2, "reward": float("nan"), "counts": (1, 2)})
        logbook.finish_run(RUN_ID, {"volume": 2, "counts": (1, 2), "reward": float("nan")})
        done = logbook.run(RUN_ID)
        assert (done.finished, done.summary["volume"], done.summary["counts"]) == (True, 2, [1, 2])
        with pytest.raises(errors.Conflict, match="finished with another summary"):
            logbook.finish_run(RUN_ID, {"volume": 3})
        with pytest.raises(errors.Conflict, match="finished and takes no more"):
            records.log_segment(logbook, RUN_ID, 3, records.segment(3, 3))
    with Logbook.open(tmp_path) as logbook:
        assert logbook.run(RUN_ID).run_id == logbook.run(request_id="bulk").run_id
        assert [run.run_id for run in logbook.runs()] == [RUN_ID]
        assert logbook.run(RUN_ID).finished
        assert logbook.get_decision(f"{RUN_ID}-2").theta == 0.5
        with pytest.raises(errors.NotFound, match="request_id names no known run, got 'other'"):
            logbook.run(request_id="other")


def test_request_id_is_of_one_body_and_one_kind(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        assert logbook.start_run(records.run(theta=9.0)) == records.run()
        with pytest.raises(errors.Conflict, match="'bulk' was used before with another body"):
            logbook.start_run(records.run(request_digest="other"))
        with pytest.raises(errors.Conflict, match="'bulk' was used before by a bulk run"):
            logbook.append_decision(records.decision("bulk"))
        logbook.append_decision(records.decision("r1"))
        with pytest.raises(errors.Conflict, match="'r1' was used before by a single decision"):
            logbook.start_run(records.run("r1"))
        with pytest.raises(errors.InvalidInput, match="run_id must be"):
            logbook.start_run(records.run("r2", run_id=RUN_ID))


def test_ordinals_are_logged_once(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        records.log_segment(logbook, RUN_ID, 10, records.segment(10, 10))
        for start, n in ((10, 10), (0, 11), (19, 1), (5, 20), (10, 9)):
            with pytest.raises(errors.Conflict, match=r"reaches into the ordinals 10\.\.19"):
                records.log_segment(logbook, RUN_ID, start, records.segment(n, start))
        records.log_segment(logbook, RUN_ID, 20, records.segment(5, 20))
        records.log_segment(logbook, RUN_ID, 0, records.segment(10, 0))
        assert [info.first_ordinal for info in logbook.segments(RUN_ID)] == [0, 10, 20]
        assert [info.sequence for info in logbook.segments(RUN_ID)] == [3, 1, 2]


def test_sealed_segment_is_committed_or_discarded(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        sealed = logbook.seal_segment(RUN_ID, 0, records.segment(10))
        assert not logbook.has_decision(f"{RUN_ID}-0")
        with pytest.raises(
            errors.Conflict, match=r"reaches into the ordinals 0\.\.9 that are logged or about"
        ):
            logbook.seal_segment(RUN_ID, 5, records.segment(10, 5))
        with pytest.raises(errors.Conflict, match="has a segment that is sealed and not logged yet"):
            logbook.finish_run(RUN_ID, {})
        logbook.discard_segment(sealed)
        assert list((tmp_path / "segments").iterdir()) == []
        with pytest.raises(errors.Conflict, match="is not sealed and waiting"):
            logbook.commit_segment(sealed)
        again = logbook.seal_segment(RUN_ID, 0, records.segment(20))
        ticket = logbook.commit_segment(again)
        for settle in (logbook.commit_segment, logbook.discard_segment):
            with pytest.raises(errors.Conflict, match="is not sealed and waiting"):
                settle(again)
        ticket.wait()
        assert ticket.sequence == 1
        assert logbook.verify() == 20


def test_segment_that_the_disk_refuses_leaves_its_ordinals_free(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        (tmp_path / "segments").rmdir()
        refused, given_up = (logbook.seal_segment(RUN_ID, at, records.segment(10, at)) for at in (0, 10))
        with pytest.raises(errors.Unavailable, match="cannot seal a segment"):
            refused.written.result(10.0)
        with pytest.raises(errors.Unavailable, match="cannot seal a segment"):
            logbook.commit_segment(refused)
        logbook.discard_segment(given_up)
        (tmp_path / "segments").mkdir()
        records.log_segment(logbook, RUN_ID, 0, records.segment(20))
        assert logbook.verify() == 20


def test_threads_seal_segments_of_one_run(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook, ThreadPoolExecutor(4) as pool:
        logbook.start_run(records.run())
        firsts = [50 * place for place in range(20)]
        list(
            pool.map(
                lambda first: records.log_segment(logbook, RUN_ID, first, records.segment(50, first)), firsts
            )
        )
        assert sorted(info.sequence for info in logbook.segments(RUN_ID)) == list(range(1, 21))
        assert logbook.verify() == 1_000


def change(name: str, values: object, dtype: pl.DataType | type[pl.DataType]) -> pl.DataFrame:
    return records.segment(3).with_columns(pl.Series(name, values, dtype=dtype))


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (records.segment(0), "frame must have at least one row"),
        (records.segment(3).drop("gain1"), "gain1 must be of type Float32, got None"),
        (records.segment(3).drop("c0"), "c1"),
        (records.segment(3).with_columns(x=1), "x must be of type None"),
        (records.segment(3).reverse(), "ordinal must rise by one from 0, got 2 at row 0"),
        (change("stratum", [0, 3, 1], pl.UInt8), "stratum must be 0, 1 or 2, got 3 at row 1"),
        (change("stratum", [0, 1, 2], pl.Int8), "stratum must be of type UInt8, got Int8"),
        (change("n_messages", [0, 1, 3], pl.UInt8), "n_messages must be at most 2, got 3 at row 2"),
        (change("c0", [-1, 3, 2], pl.Int16), r"c0 must be in 0\.\.2 where filled and -1 where empty, got 3"),
        (change("c1", [0, -1, 0], pl.Int16), "c1 must be in .*, got 0 at row 0"),
        (change("gain0", [0.0, None, 0.0], pl.Float32), "gain0 must not be null, got None at row 1"),
        (change("propensity", [0.5, 0.0, None], pl.Float64), r"propensity must be in .*, got 0\.0 at row 1"),
        (change("propensity", [0.5, float("nan"), 1.0], pl.Float64), "propensity .* got nan at row 1"),
        (change("propensity", [0.5, 1.5, 1.0], pl.Float64), r"propensity .* got 1\.5 at row 1"),
        (change("propensity_hits", [1, -2, -1], pl.Int32), "propensity_hits must be >= -1, got -2 at row 1"),
        (change("member_id", [1.0, 2.0, 3.0], pl.Float64), "member_id must be of type Int64, got Float64"),
    ],
)  # fmt: skip
def test_wrong_segment_is_refused(tmp_path: Path, frame: pl.DataFrame, match: str) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        with pytest.raises(errors.InvalidInput, match=match):
            records.log_segment(logbook, RUN_ID, 0, frame)
        assert logbook.segments() == []
        assert list((tmp_path / "segments").iterdir()) == []


def test_unacknowledged_files_are_removed_at_open(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        info = records.log_segment(logbook, RUN_ID, 0, records.segment(10))
    folder = tmp_path / "segments"
    (folder / f"{RUN_ID}-{10:018d}.parquet").write_bytes((folder / info.file).read_bytes())
    (folder / f".{info.file}.12.tmp").write_bytes(b"half")
    with Logbook.open(tmp_path, read_only=True):
        assert len(list(folder.iterdir())) == 3
    with Logbook.open(tmp_path) as logbook:
        assert [path.name for path in folder.iterdir()] == [info.file]
        records.log_segment(logbook, RUN_ID, 10, records.segment(10, 10))
        assert logbook.verify() == 20


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "the file is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "it must have"),
        (lambda path: path.write_bytes(flipped(path.read_bytes())), "its xxh3_128 must be"),
    ],
)
def test_damaged_segment_is_refused_by_name(tmp_path: Path, damage: object, why: str) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        info = records.log_segment(logbook, RUN_ID, 0, records.segment(1000))
        logbook.read_segment(info)
        damage(tmp_path / "segments" / info.file)  # type: ignore[operator]
        with pytest.raises(errors.CorruptArtifact, match=rf"{info.file} is refused: {why}"):
            logbook.get_decision(f"{RUN_ID}-5")
        with pytest.raises(errors.CorruptArtifact, match=why):
            logbook.verify()


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 4
    return bytes(changed)


def test_bulk_sends_are_in_the_history(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.append_decision(records.decision())
        logbook.start_run(records.run())
        records.log_segment(logbook, RUN_ID, 0, records.segment(3))
        # Row 0 sends nothing, row 1 candidate 1, row 2 candidates 2 and 0.
        expected = [
            (7, "mens@email", 1),
            (1_001, "womens@email", 2),
            (1_002, "top@push", 2),
            (1_002, "mens@email", 2),
        ]
        assert records.history_entries(logbook) == [
            HistoryEntry(sequence, member_id, records.HOUR, candidate, HistoryKind.SEND)
            for member_id, candidate, sequence in expected
        ]
        assert not records.history_entries(logbook, records.HOUR + 1)


def test_frame_of_a_segment_tells_what_single_decisions_would(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(records.run())
        records.log_segment(logbook, RUN_ID, 0, records.segment(60))
        (frame,) = logbook.decision_frames()
        for row in frame.iter_rows(named=True):
            found = logbook.get_decision(row["decision_id"])
            assert row["candidates"] == [entry.candidate for entry in found.messages]
            assert row["gains"] == [entry.gain for entry in found.messages]
            for name in ("member_id", "stratum", "theta", "propensity", "propensity_kind", "policy", "epoch"):
                assert row[name] == getattr(found, name)


CELLS = [
    RunCell(name="today", policy="heuristic", policy_version="p2", model_version=""),
    RunCell(name="few", policy="greedy", policy_version="p3", model_version="m3", propensity_draws=50),
]


def in_cells(**changes: object) -> RunRecord:
    named = {"experiment": "fewer", "experiment_version": "x1", "evaluation": True, "cells": CELLS}
    return records.run(theta=None, tie_cut=None, **named | changes)


def test_decisions_of_cells_have_their_policy_and_price(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.start_run(in_cells())
        frame = records.segment(40).with_columns(cell=(pl.col("ordinal") % 2).cast(pl.UInt8))
        with pytest.raises(errors.InvalidInput, match="theta must be set"):
            logbook.seal_segment(RUN_ID, 0, frame)
        with pytest.raises(errors.InvalidInput, match="cells must be 2 prices, got 0"):
            logbook.set_price(RUN_ID, 0.5, 1)
        logbook.set_price(RUN_ID, 0.5, 1, [(0.5, 1), (0.25, 2)])
        logbook.set_price(RUN_ID, 0.5, 1, [(0.5, 1), (0.25, 2)])
        with pytest.raises(errors.Conflict, match=r"has the price 0\.5 already"):
            logbook.set_price(RUN_ID, 0.5, 1, [(0.5, 1), (0.3, 2)])
        with pytest.raises(errors.InvalidInput, match="cell must be of type UInt8, got None"):
            logbook.seal_segment(RUN_ID, 0, frame.drop("cell"))
        with pytest.raises(errors.InvalidInput, match="cell must be below 2, got 2"):
            logbook.seal_segment(RUN_ID, 0, frame.with_columns(cell=pl.lit(2, pl.UInt8)))
        records.log_segment(logbook, RUN_ID, 0, frame)
        (found,) = logbook.decision_frames()
        for row in found.iter_rows(named=True):
            single = logbook.get_decision(row["decision_id"])
            made = CELLS[single.ordinal % 2]
            assert (single.policy, single.policy_version, single.cell) == (
                made.policy, made.policy_version, made.name,
            )  # fmt: skip
            assert single.theta == (0.5, 0.25)[single.ordinal % 2]
            assert single.evaluation
            for name in ("policy", "policy_version", "model_version", "theta", "experiment",
                         "experiment_version", "cell", "evaluation"):  # fmt: skip
                assert row[name] == getattr(single, name)


def test_logs_from_before_experiments_are_read() -> None:
    new = {
        DecisionRecord: {"experiment", "experiment_version", "cell", "evaluation"},
        RunRecord: {"experiment", "experiment_version", "evaluation", "cells"},
    }
    for record in (records.decision(), records.run()):
        # As they were stored then: with all that has its default.
        fields = msgspec.structs.asdict(record)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=type(record)) == record
        old = {name: value for name, value in fields.items() if name not in new[type(record)]}
        assert len(old) < len(fields)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=type(record)) == record
