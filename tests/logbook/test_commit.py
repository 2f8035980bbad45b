"""Group commit: contiguous numbers in order, all of a write or nothing, no append after a failure."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from decider import errors
from decider.logbook import commit
from decider.logbook.commit import MAX_GROUP_ROWS, GroupCommit, Ticket

ADD = "INSERT INTO t VALUES (?, ?)"


def opened(tmp_path: Path) -> tuple[GroupCommit, sqlite3.Connection]:
    path = tmp_path / "t.sqlite"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    return GroupCommit(writer, 1), sqlite3.connect(path, isolation_level=None)


def stored(reader: sqlite3.Connection) -> list[tuple[int, str]]:
    return reader.execute("SELECT sequence, name FROM t ORDER BY sequence").fetchall()


def test_numbers_follow_the_calls(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    one = commits.submit(ADD, [("a",)], numbered=True)
    three = commits.submit(ADD, [("b",), ("c",), ("d",)], numbered=True)
    last = commits.submit(ADD, [("e",)], numbered=True)
    last.wait()
    assert (one.sequence, three.sequence, last.sequence, commits.next_sequence) == (1, 2, 5, 6)
    assert one.durable
    assert stored(reader) == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]
    commits.close()
    reader.close()


def test_what_waits_is_one_group_up_to_its_limit(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    reader.execute("BEGIN IMMEDIATE")
    first = commits.submit(ADD, [("first",)], numbered=True)
    with pytest.raises(errors.Unavailable, match=r"sequence 1 is not on disk after 0\.02 s"):
        first.wait(0.02)
    tickets = [commits.submit(ADD, [(f"n{i}",)], numbered=True) for i in range(MAX_GROUP_ROWS + 5)]
    assert len({id(ticket._group) for ticket in tickets}) == 2
    reader.execute("ROLLBACK")
    tickets[-1].wait()
    assert [row[0] for row in stored(reader)] == list(range(1, MAX_GROUP_ROWS + 7))
    commits.close()
    reader.close()


def test_tickets_do_not_hold_the_rows_once_these_are_settled(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    tickets = [commits.submit(ADD, [(f"n{i}",)], numbered=True) for i in range(20)]
    tickets[-1].wait()
    assert not any(ticket._group.writes for ticket in tickets)
    assert len(stored(reader)) == 20
    commits.close()
    reader.close()


def test_failed_group_leaves_nothing_and_ends_all(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    commits.submit(ADD, [("a",)], numbered=True).wait()
    doomed = commits.submit(ADD, [("b",), ("a",)], numbered=True)
    with pytest.raises(errors.Unavailable, match="cannot write until it is opened again: UNIQUE") as caught:
        doomed.wait()
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)
    assert not doomed.durable
    for again in (lambda: commits.submit(ADD, [("c",)], numbered=True), commits.flush):
        with pytest.raises(errors.Unavailable, match="until it is opened again"):
            again()
    assert stored(reader) == [(1, "a")]
    commits.close()
    reader.close()


def test_groups_behind_a_failed_one_fail_too(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    reader.execute("BEGIN IMMEDIATE")
    commits.submit(ADD, [("a",)], numbered=True)
    doomed = commits.submit(ADD, [("b",)] * MAX_GROUP_ROWS, numbered=True)
    behind = commits.submit(ADD, [("c",)], numbered=True)
    reader.execute("ROLLBACK")
    for ticket in (doomed, behind):
        with pytest.raises(errors.Unavailable):
            ticket.wait(10)
    assert [name for _, name in stored(reader)] in ([], ["a"])
    commits.close()
    reader.close()


def test_close_commits_what_waits(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    tickets = [commits.submit(ADD, [(f"n{i}",)], numbered=True) for i in range(100)]
    commits.close()
    assert all(ticket.durable for ticket in tickets)
    assert len(stored(reader)) == 100
    with pytest.raises(errors.NotReady, match="closed"):
        commits.submit(ADD, [("x",)], numbered=True)
    reader.close()


def test_who_waits_commits(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    ticket = commits.submit(ADD, [("a",), ("b",)], numbered=True, awaited=True)
    time.sleep(0.05)
    assert not ticket.durable
    assert stored(reader) == []
    by_whom: list[int] = []
    commits._connection.create_function("whom", 0, lambda: by_whom.append(threading.get_ident()))
    commits.submit(
        "INSERT INTO t SELECT ?1, ?2 || coalesce(whom(), '')", [("c",)], numbered=True, awaited=True
    )
    ticket.wait()
    assert by_whom == [threading.get_ident()]
    assert stored(reader) == [(1, "a"), (2, "b"), (3, "c")]
    commits.close()
    reader.close()


def test_what_nobody_waits_for_in_the_end_is_committed_with_the_next(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    left = commits.submit(ADD, [("a",)], numbered=True, awaited=True)
    commits.flush()
    assert left.durable
    timed = commits.submit(ADD, [("b",)], numbered=True, awaited=True)
    timed.wait(10)
    last = commits.submit(ADD, [("c",)], numbered=True, awaited=True)
    commits.close()
    assert (timed.durable, last.durable) == (True, True)
    assert [name for _, name in stored(reader)] == ["a", "b", "c"]
    reader.close()


def test_a_failure_reaches_who_commits_and_who_comes_after(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    doomed = commits.submit(ADD, [("a",), ("a",)], numbered=True, awaited=True)
    with pytest.raises(errors.Unavailable, match="UNIQUE"):
        doomed.wait()
    with pytest.raises(errors.Unavailable, match="until it is opened again"):
        commits.submit(ADD, [("b",)], numbered=True, awaited=True)
    assert stored(reader) == []
    commits.close()
    reader.close()


def test_an_interrupt_goes_on_and_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, reader = opened(tmp_path)
    doomed = commits.submit(ADD, [("a",)], numbered=True, awaited=True)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commit, "_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        doomed.wait()
    with pytest.raises(errors.Unavailable):
        doomed.wait()
    assert stored(reader) == []
    commits.close()
    reader.close()


def test_the_writers_connection_reads_what_is_committed(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    commits.submit(ADD, [("a",)], numbered=True).wait()
    assert commits.rows("SELECT name FROM t WHERE sequence = ?", (1,)) == [("a",)]
    with commits._using:
        assert commits.rows("SELECT name FROM t WHERE sequence = ?", (1,)) is None
    commits.close()
    assert commits.rows("SELECT name FROM t WHERE sequence = ?", (1,)) is None
    reader.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_many_threads(tmp_path: Path, awaited: bool) -> None:
    commits, reader = opened(tmp_path)
    given: list[tuple[int, str]] = []

    def submit(worker: int) -> None:
        for count in range(100):
            ticket = commits.submit(ADD, [(f"{worker}-{count}",)], numbered=True, awaited=awaited)
            ticket.wait()
            given.append((ticket.sequence, f"{worker}-{count}"))

    threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == stored(reader)
    assert [sequence for sequence, _ in sorted(given)] == list(range(1, 801))
    commits.close()
    reader.close()


def test_stored_ticket_waits_for_nothing() -> None:
    ticket = Ticket.stored(7)
    ticket.wait(0)
    assert (ticket.sequence, ticket.durable) == (7, True)


def test_rows_of_any_number_are_written_in_order(tmp_path: Path) -> None:
    commits, reader = opened(tmp_path)
    names = [f"n{place}" for place in range(2 * 64 + 3)]
    ticket = commits.submit(ADD, [(name,) for name in names], numbered=True)
    last = ticket.following(len(names) - 1)
    last.wait()
    assert (last.sequence, last.durable) == (len(names), True)
    assert stored(reader) == [(place + 1, name) for place, name in enumerate(names)]
    commits.close()
    reader.close()
