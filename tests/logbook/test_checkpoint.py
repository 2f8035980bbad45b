"""What is committed gets into the database without a commit that does it, and the write-ahead log stays bounded."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from decider.logbook import checkpoint
from decider.logbook.checkpoint import EVERY_ROWS, Checkpoints, lengthen
from decider.logbook.commit import GroupCommit
from decider.logbook.database import MAX_WAL_BYTES, MAX_WAL_PAGES, open_writer

ADD = "INSERT INTO decisions (sequence, run_id, time_micros, crc, body) VALUES (?, ?, ?, ?, ?)"


def rows(name: str, n: int) -> list[tuple[object, ...]]:
    return [(f"{name}-{place}", 0, 0, bytes(900)) for place in range(n)]


def soon(holds: Callable[[], bool]) -> bool:
    for _ in range(1_000):
        if holds():
            return True
        time.sleep(0.01)
    return False


def in_database(path: Path) -> int:
    """Rows in the database's file itself: a copy of it has no write-ahead log."""
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    connection = sqlite3.connect(copy)
    try:
        (n,) = connection.execute("SELECT count(*) FROM decisions").fetchone()
        return int(n)
    except sqlite3.DatabaseError:  # it was being written
        return -1
    finally:
        connection.close()
        copy.unlink()


def test_rows_reach_the_database_beside_the_commits(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    commits = GroupCommit(open_writer(path), 1, Checkpoints(path))
    commits.submit(ADD, rows("few", EVERY_ROWS - 1), numbered=True).wait()
    assert in_database(path) <= 0
    commits.submit(ADD, rows("last", 1), numbered=True).wait()
    assert soon(lambda: in_database(path) == EVERY_ROWS)
    commits.close()
    commits.close()
    assert in_database(path) == EVERY_ROWS
    assert not path.with_name("log.sqlite-wal").exists()


def test_a_log_that_is_made_longer_beside_its_writer_keeps_every_row(tmp_path: Path) -> None:
    path, copied = tmp_path / "log.sqlite", tmp_path / "after-a-crash"
    wal = path.with_name("log.sqlite-wal")
    connection = open_writer(path)
    connection.execute(ADD, (1, "first", 0, 0, b""))
    went_on = Thread(target=lengthen, args=(wal, MAX_WAL_BYTES))
    went_on.start()
    n_rows = 1
    while went_on.is_alive() or n_rows < 100:
        n_rows += 1
        connection.execute(ADD, (n_rows, f"r-{n_rows}", 0, 0, bytes(n_rows % 5_000)))
    assert wal.stat().st_size >= MAX_WAL_BYTES
    copied.mkdir()
    for each in (path, wal):
        shutil.copy(each, copied / each.name)
    connection.close()
    for database in (path, copied / path.name):
        reopened = open_writer(database)
        assert reopened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = reopened.execute("SELECT sequence, length(body) FROM decisions").fetchall()
        assert found == [(n, n % 5_000 if n > 1 else 0) for n in range(1, n_rows + 1)]
        reopened.close()


def test_a_log_in_use_is_made_as_long_as_it_may_get_and_then_written_over(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    wal = path.with_name("log.sqlite-wal")
    commits = GroupCommit(open_writer(path), 1, Checkpoints(path))
    commits.submit(ADD, rows("few", EVERY_ROWS - 1), numbered=True).wait()
    assert wal.stat().st_size < MAX_WAL_BYTES // 10
    commits.submit(ADD, rows("last", 1), numbered=True).wait()
    assert soon(lambda: wal.stat().st_size >= MAX_WAL_BYTES)
    size = wal.stat().st_size
    for turn in range(30):
        commits.submit(ADD, rows(f"turn-{turn}", EVERY_ROWS), numbered=True).wait()
    assert wal.stat().st_size == size
    commits.close()
    assert in_database(path) == 31 * EVERY_ROWS


@pytest.mark.parametrize("free", [0, 8 * MAX_WAL_BYTES, 1 << 40])
def test_a_disk_without_room_for_a_longer_log_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    tried = []

    def full(wal: Path, n_bytes: int) -> None:
        tried.append(n_bytes)
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "lengthen", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    path = tmp_path / "log.sqlite"
    commits = GroupCommit(open_writer(path), 1, Checkpoints(path))
    commits.submit(ADD, rows("r", EVERY_ROWS), numbered=True).wait()
    assert soon(lambda: in_database(path) == EVERY_ROWS)
    commits.close()
    assert bool(tried) == (free > 8 * MAX_WAL_BYTES)


def test_without_the_thread_nothing_is_copied_before_the_log_is_long(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    commits = GroupCommit(open_writer(path), 1)
    commits.submit(ADD, rows("r", 3 * EVERY_ROWS), numbered=True).wait()
    assert in_database(path) <= 0
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM decisions").fetchone() == (3 * EVERY_ROWS,)
    reader.close()
    commits.close()


def test_the_writers_own_bound_is_set(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "log.sqlite")
    assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (MAX_WAL_PAGES,)
    assert connection.execute("PRAGMA temp_store").fetchone() == (2,)
    connection.close()
