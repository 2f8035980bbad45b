"""The logbook: group commit against one commit per row, and sealing a segment of a million decisions.

``pytest benchmarks/bench_logbook.py --benchmark-only``; each figure is the whole round, so rows a second are
``N_ROWS`` over it. The ratio of `test_group_commit` to `test_commit_per_row` is what grouping earns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.logbook.database import open_writer
from decider.logbook.schema import (
    DecisionRecord,
    EventRecord,
    EventType,
    RunRecord,
    SetEntry,
    decision_id,
    run_id_of,
)
from decider.logbook.store import Logbook

N_ROWS = 4_096
N_SEGMENT_ROWS = 1_000_000
N_CANDIDATES = 32
_fresh = itertools.count()


def decision(request_id: str) -> DecisionRecord:
    return DecisionRecord(
        decision_id=decision_id(request_id),
        request_id=request_id,
        request_digest="0" * 64,
        ordinal=0,
        member_id=123_456_789,
        decision_time_micros=1_700_000_000_000_000,
        epoch=19_675,
        policy="thompson",
        policy_version="sha256:0123456789abcdef",
        model_version="sha256:0123456789abcdef",
        snapshot_version="sha256:0123456789abcdef",
        catalog_version="sha256:0123456789abcdef",
        stratum=2,
        theta=0.031,
        tie_cut=0,
        messages=[SetEntry(f"message{place}@email", 0.07, 0.01, 0.05) for place in range(2)],
        propensity=None,
        propensity_kind="deferred",
    )


def decisions() -> list[DecisionRecord]:
    batch = next(_fresh)
    return [decision(f"{batch}-{place}") for place in range(N_ROWS)]


@pytest.fixture
def logbook(tmp_path: Path) -> Iterator[Logbook]:
    with Logbook.open(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("n_waiting", [1, 16, 256, N_ROWS])
def test_group_commit(benchmark: BenchmarkFixture, logbook: Logbook, n_waiting: int) -> None:
    """One thread that lets `n_waiting` decisions wait together, as that many concurrent calls would."""

    def append(records: list[DecisionRecord]) -> None:
        for first in range(0, N_ROWS, n_waiting):
            for ticket in [logbook.append_decision(each) for each in records[first : first + n_waiting]]:
                ticket.wait()

    benchmark.pedantic(append, setup=lambda: ((decisions(),), {}), rounds=3)


@pytest.mark.parametrize("n_threads", [8, 64])
def test_group_commit_threads(benchmark: BenchmarkFixture, logbook: Logbook, n_threads: int) -> None:
    """Threads that each wait for their own decision, as a server's do."""

    def append(records: list[DecisionRecord]) -> None:
        list(pool.map(lambda record: logbook.append_decision(record).wait(), records))

    with ThreadPoolExecutor(n_threads) as pool:
        benchmark.pedantic(append, setup=lambda: ((decisions(),), {}), rounds=3)


def test_commit_per_row(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The baseline: the same rows in the same table, each in a transaction of its own."""
    connection = open_writer(tmp_path / "log.sqlite")
    sequence = itertools.count(1)

    def append(records: list[DecisionRecord]) -> None:
        for record in records:
            body = msgspec.msgpack.encode(record)
            row = (next(sequence), run_id_of(record.request_id), 0, crc32(body), body)
            connection.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", row)

    benchmark.pedantic(append, setup=lambda: ((decisions(),), {}), rounds=3)
    connection.close()


def test_rows_in_one_transaction(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The bound: SQLite alone, one transaction, rows made beforehand."""
    connection = open_writer(tmp_path / "log.sqlite")
    sequence = itertools.count(1)

    def rows() -> list[tuple[object, ...]]:
        made = []
        for record in decisions():
            body = msgspec.msgpack.encode(record)
            made.append((next(sequence), run_id_of(record.request_id), 0, crc32(body), body))
        return made

    def append(prepared: list[tuple[object, ...]]) -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", prepared)
        connection.execute("COMMIT")

    benchmark.pedantic(append, setup=lambda: ((rows(),), {}), rounds=3)
    connection.close()


def test_events(benchmark: BenchmarkFixture, logbook: Logbook) -> None:
    def batch() -> list[EventRecord]:
        name, target = next(_fresh), decision_id("r")
        return [
            EventRecord(
                event_id=f"{name}-{place}", type=EventType.CLICKED, event_time_micros=1, decision_id=target
            )
            for place in range(N_ROWS)
        ]

    benchmark.pedantic(logbook.append_events, setup=lambda: ((batch(),), {}), rounds=3)


def segment(n: int) -> pl.DataFrame:
    noise = np.random.default_rng(1)
    count = noise.integers(0, 4, n).astype(np.uint8)
    columns: dict[str, object] = {
        "ordinal": np.arange(n),
        "member_id": noise.integers(0, 1 << 40, n),
        "stratum": np.full(n, 2, np.uint8),
        "n_messages": count,
    }
    for place in range(3):
        code = noise.integers(0, N_CANDIDATES, n)
        columns[f"c{place}"] = np.where(count > place, code, -1).astype(np.int16)
    for name in ("mean", "sd", "gain"):
        columns |= {f"{name}{place}": noise.normal(size=n).astype(np.float32) for place in range(3)}
    columns["propensity"] = pl.Series([None], dtype=pl.Float64).new_from_index(0, n)
    columns["propensity_hits"] = np.full(n, -1, np.int32)
    columns["expected"] = noise.normal(size=n).astype(np.float32)
    columns["history_sequence"] = np.zeros(n, np.int64)
    return pl.DataFrame(columns)


def _started(logbook: Logbook) -> str:
    request_id = f"bulk-{next(_fresh)}"
    run = RunRecord(
        run_id=run_id_of(request_id),
        request_id=request_id,
        request_digest="",
        decision_time_micros=0,
        epoch=0,
        policy="thompson",
        policy_version="",
        model_version="",
        snapshot_version="",
        catalog_version="",
        candidates=[f"message{place}@email" for place in range(N_CANDIDATES)],
        theta=0.1,
        tie_cut=0,
    )
    return logbook.start_run(run).run_id


def test_seal_segment(benchmark: BenchmarkFixture, logbook: Logbook) -> None:
    frame = segment(N_SEGMENT_ROWS)
    benchmark.pedantic(
        lambda run_id: logbook.commit_segment(logbook.seal_segment(run_id, 0, frame)).wait(),
        setup=lambda: ((_started(logbook),), {}),
        rounds=3,
    )


def test_write_parquet_only(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The baseline of sealing: Polars' default file, neither checked, forced to disk, hashed nor noted."""
    frame = segment(N_SEGMENT_ROWS)
    benchmark.pedantic(frame.write_parquet, args=(tmp_path / "segment.parquet",), rounds=3)


def test_one_bulk_decision(benchmark: BenchmarkFixture, logbook: Logbook) -> None:
    run_id = _started(logbook)
    logbook.commit_segment(logbook.seal_segment(run_id, 0, segment(N_SEGMENT_ROWS))).wait()
    benchmark.pedantic(logbook.get_decision, args=(f"{run_id}-654321",), warmup_rounds=1, rounds=20)
