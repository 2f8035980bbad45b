"""Group commit: many threads append, one at a time writes, each append waits only for the commit it is in."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from decider import errors
from decider.logbook.checkpoint import Checkpoints

MAX_GROUP_ROWS = 4_096
_ROWS_AT_ONCE = 64

Row = tuple[object, ...]


class Group:
    """Rows that are committed together, by `commits`.

    Many are at hand long after they are settled, and a round of the garbage collector looks at each: so it is one lock
    that its waiters pass through, where an event is five objects.
    """

    __slots__ = ("_unsettled", "commits", "failure", "n_rows", "writes")

    def __init__(self, commits: GroupCommit | None = None) -> None:
        self.commits = commits
        self.writes: list[tuple[str, list[Row]]] = []
        self.n_rows = 0
        self.failure: BaseException | None = None
        self._unsettled: threading.Lock | None = threading.Lock()
        self._unsettled.acquire()

    @property
    def settled(self) -> bool:
        """Whether it is on disk, or known never to be."""
        return self._unsettled is None

    def add(self, statement: str, rows: list[Row]) -> None:
        """Rows of a statement, after those that are there."""
        if self.writes and self.writes[-1][0] == statement:
            self.writes[-1][1].extend(rows)
        elif rows:
            self.writes.append((statement, rows))
        self.n_rows += len(rows)

    def settle(self, failure: BaseException | None = None) -> None:
        """Say that it is on disk, or why it never will be; whoever waits goes on."""
        self.failure = failure
        self.writes = _NO_WRITES  # tickets outlive it by thousands of decisions, and would hold the rows
        unsettled, self._unsettled = self._unsettled, None
        assert unsettled is not None
        unsettled.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is settled, for so many seconds at most; return whether it is."""
        unsettled = self._unsettled
        if unsettled is not None and unsettled.acquire(timeout=-1 if timeout is None else timeout):
            unsettled.release()
        return self.settled


_NO_WRITES: Final[list[tuple[str, list[Row]]]] = []
_STORED = Group()
_STORED.settle()


class Ticket:
    """A claim on a write that is queued: its sequence number now, its durability later.

    Attributes
    ----------
    sequence : int
        Number of the first row written; 0 for a write without one.
    """

    __slots__ = ("_group", "sequence")

    def __init__(self, sequence: int, group: Group) -> None:
        self.sequence = sequence
        self._group = group

    @classmethod
    def stored(cls, sequence: int) -> Ticket:
        """Make the ticket of a row that is on disk already."""
        return cls(sequence, _STORED)

    def following(self, places: int) -> Ticket:
        """Make the ticket of the row so many places after the first one of this write."""
        return Ticket(self.sequence + places, self._group)

    @property
    def durable(self) -> bool:
        """Whether the write is on disk."""
        return self._group.settled and self._group.failure is None

    def wait(self, timeout: float | None = None) -> None:
        """Return once the write is on disk.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None waits as long as it takes.

        Raises
        ------
        errors.Unavailable
            The commit failed (the cause is chained), or took longer than `timeout`.
        """
        if not self._group.settled and self._group.commits is not None:
            self._group.commits.bring_about(self._group, timeout)
        if not self._group.wait(timeout):
            raise errors.Unavailable(f"logbook: sequence {self.sequence} is not on disk after {timeout} s")
        if self._group.failure is not None:
            raise failed(self._group.failure)


class GroupCommit:
    """The one writer of a database.

    Whatever waits when a commit has ended is the next group: no delay is added, and the more
    callers wait, the more share one flush to disk. After a failed commit nothing more is taken, so that what
    follows can never be on disk without what came before.

    Whoever waits for a ticket commits its group, unless somebody else does: to hand it to another thread and to be
    woken by that takes longer than many a flush. What nobody waits for is committed by a thread of this class.

    Parameters
    ----------
    connection
        Owned from here on, and closed by :meth:`close`.
    next_sequence
        The first sequence number to give.
    checkpoints
        Copy what is committed into the database; owned likewise. None leaves it to the commits.
    """

    def __init__(
        self, connection: sqlite3.Connection, next_sequence: int, checkpoints: Checkpoints | None = None
    ) -> None:
        self._connection, self._checkpoints = connection, checkpoints
        self._next_sequence = next_sequence
        self._changed = threading.Condition(threading.Lock())
        # Whoever holds it uses the connection.
        self._using = threading.Lock()
        self._waiting: deque[Group] = deque()
        self._failure: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="logbook-writer", daemon=True)
        self._thread.start()

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next row gets."""
        return self._next_sequence

    def submit(self, statement: str, rows: Sequence[Row], *, numbered: bool, awaited: bool = False) -> Ticket:
        """Queue rows of one statement, all in one transaction.

        Parameters
        ----------
        statement
            SQL with one placeholder per value.
        rows
            Values; when `numbered`, each gets its sequence number put before them.
        numbered
            Whether each row takes a sequence number; they are given here, in the order of the calls.
        awaited
            The caller waits for the ticket next, so that no other thread need be woken.

        Raises
        ------
        errors.Unavailable
            An earlier commit failed.
        errors.NotReady
            The log is closed.
        """
        with self._changed:
            if self._failure is not None:
                raise failed(self._failure)
            if self._closed:
                raise errors.NotReady("logbook is closed")
            if not self._waiting or self._waiting[-1].n_rows >= MAX_GROUP_ROWS:
                self._waiting.append(Group(self))
            group = self._waiting[-1]
            if not numbered:
                group.add(statement, list(rows))
                ticket = Ticket(0, group)
            else:
                first = self._next_sequence
                group.add(statement, [(first + place, *row) for place, row in enumerate(rows)])
                self._next_sequence = first + len(rows)
                ticket = Ticket(first, group)
            if not awaited:
                self._changed.notify()
        return ticket

    def flush(self) -> None:
        """Return once everything queued before this call is on disk.

        Raises
        ------
        errors.Unavailable
            A commit failed.
        """
        self.submit("", [], numbered=False).wait()

    def close(self) -> None:
        """Commit what waits, stop the thread, close what is owned; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._connection.close()

    def bring_about(self, group: Group, timeout: float | None) -> None:
        """Have a group settled: by this thread, if it may take as long as it does, else by the writer's."""
        if timeout is not None:
            with self._changed:
                self._changed.notify()
            return
        # Groups are committed in their order: this one is among them, or with whom this waits for.
        while not group.settled:
            self._commit_next()

    def rows(self, statement: str, parameters: Sequence[object]) -> list[tuple[Any, ...]] | None:
        """Fetch rows by the writer's connection, which knows the newest pages; None while that is in use or fails."""
        if not self._using.acquire(blocking=False):
            return None
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.DatabaseError:
            return None
        finally:
            self._using.release()

    def _write(self) -> None:
        while self._await_group():
            self._commit_next()

    def _await_group(self) -> bool:
        with self._changed:
            while not self._waiting:
                if self._closed or self._failure is not None:
                    return False
                self._changed.wait()
            return True

    def _commit_next(self) -> None:
        with self._using:
            with self._changed:
                if not self._waiting:
                    return
                group = self._waiting.popleft()
            try:
                _commit(self._connection, group.writes)
            except BaseException as cause:
                self._fail(group, cause)
                if not isinstance(cause, Exception):
                    raise
                return
            n_rows = group.n_rows
            group.settle()
            if self._checkpoints is not None:
                self._checkpoints.committed(n_rows)

    def _fail(self, group: Group, cause: BaseException) -> None:
        with self._changed:
            self._failure = cause
            lost = [group, *self._waiting]
            self._waiting.clear()
            self._changed.notify()
        for each in lost:
            each.settle(cause)


def failed(cause: BaseException) -> errors.Unavailable:
    """Make the error for a log whose disk failed."""
    error = errors.Unavailable(f"logbook cannot write until it is opened again: {cause}")
    error.__cause__ = cause
    return error


def _commit(connection: sqlite3.Connection, writes: list[tuple[str, list[Row]]]) -> None:
    statements = [each for statement, rows in writes for each in _statements(statement, rows)]
    if len(statements) <= 1:  # a transaction by itself
        for text, values in statements:
            connection.execute(text, values)
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for text, values in statements:
            connection.execute(text, values)
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back by itself already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(statement: str, rows: list[Row]) -> Iterator[tuple[str, Row]]:
    """Yield the fewest statements that write the rows.

    SQLite's driver gives up the interpreter for each statement that it runs, and takes it back afterwards: with
    other threads at work that costs more than a row does.
    """
    one_by_one = not (statement.startswith("INSERT") and statement.endswith(")"))
    step = 1 if one_by_one else _ROWS_AT_ONCE
    for done in range(0, len(rows), step):
        part = rows[done : done + step]
        yield (
            _with_rows(statement, len(part)),
            part[0] if len(part) == 1 else tuple(v for row in part for v in row),
        )


@lru_cache(maxsize=4 * _ROWS_AT_ONCE)
def _with_rows(statement: str, n_rows: int) -> str:
    values = statement[statement.index("VALUES") + len("VALUES") :] if n_rows > 1 else ""
    return statement + f",{values}" * (n_rows - 1)
