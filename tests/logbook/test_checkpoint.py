"""What is committed gets into the database without a commit that does it, and the write-ahead log stays bounded."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from decider.logbook.checkpoint import EVERY_ROWS, Checkpoints
from decider.logbook.commit import GroupCommit
from decider.logbook.database import MAX_WAL_PAGES, open_writer

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
