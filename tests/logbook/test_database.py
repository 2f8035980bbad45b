"""The database forces every commit to disk, and readers share few connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from decider import errors
from decider.logbook.database import Readers, lock_directory, open_writer, paged_rows


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "log.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_readers_cannot_write(tmp_path: Path) -> None:
    open_writer(tmp_path / "log.sqlite").close()
    readers = Readers(tmp_path / "log.sqlite")
    with pytest.raises(errors.Unavailable, match="readonly"):
        readers.rows("DELETE FROM events")
    readers.close()


def test_readers_see_every_commit_that_came_before(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log.sqlite")
    readers = Readers(tmp_path / "log.sqlite")
    with ThreadPoolExecutor(4) as pool:
        for sequence in range(1, 50):
            writer.execute("INSERT INTO events VALUES (?, ?, 'sent', 0, 0, x'')", (sequence, f"e{sequence}"))
            counts = pool.map(readers.rows, ["SELECT count(*) FROM events"] * 4)
            assert [rows[0][0] for rows in counts] == [sequence] * 4
    readers.close()
    writer.close()


@pytest.mark.parametrize("page_rows", [1, 7, 10, 1_000])
def test_pages_hold_every_row_once(tmp_path: Path, page_rows: int) -> None:
    writer = open_writer(tmp_path / "log.sqlite")
    rows = [(3 * place + 1, f"e{place}", place % 5) for place in range(50)]
    writer.executemany("INSERT INTO events VALUES (?, ?, 'sent', ?, 0, x'')", rows)
    readers = Readers(tmp_path / "log.sqlite")
    statement = "SELECT sequence, event_id FROM events WHERE time_micros >= ?"
    pages = list(paged_rows(readers, statement, 2, page_rows))
    assert [row for page in pages for row in page] == [row[:2] for row in rows if row[2] >= 2]
    assert all(len(page) <= page_rows for page in pages)
    readers.close()
    writer.close()


def test_lock_names_its_holder_and_is_given_back(tmp_path: Path) -> None:
    first = lock_directory(tmp_path)
    with pytest.raises(errors.NotReady, match=r"is open for writing in process \d+"):
        lock_directory(tmp_path)
    first.close()
    lock_directory(tmp_path).close()
