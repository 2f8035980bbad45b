"""Group commit: many threads append, one thread writes, each append waits only for the commit it is in."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from decider import errors
from decider.logbook.checkpoint import Checkpoints

MAX_GROUP_ROWS = 4_096
_ROWS_AT_ONCE = (64, 16, 4, 1)

Row = tuple[object, ...]


class Group:
    """Rows that are committed together."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, Row]] = []
        self.settled = threading.Event()
        self.failure: BaseException | None = None

    def settle(self, failure: BaseException | None = None) -> None:
        """Say that it is on disk, or why it never will be; whoever waits goes on."""
        self.failure = failure
        self.writes = []  # tickets outlive it by thousands of decisions, and would hold the rows
        self.settled.set()


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
        return self._group.settled.is_set() and self._group.failure is None

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
        if not self._group.settled.wait(timeout):
            raise errors.Unavailable(f"logbook: sequence {self.sequence} is not on disk after {timeout} s")
        if self._group.failure is not None:
            raise failed(self._group.failure)


class GroupCommit:
    """The one writer of a database.

    Whatever waits when the writer comes back from a commit is the next group: no delay is added, and the more
    callers wait, the more share one flush to disk. After a failed commit nothing more is taken, so that what
    follows can never be on disk without what came before.

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
        self._waiting: deque[Group] = deque()
        self._failure: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="logbook-writer", daemon=True)
        self._thread.start()

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next row gets."""
        return self._next_sequence

    def submit(self, statement: str, rows: Sequence[Row], *, numbered: bool) -> Ticket:
        """Queue rows of one statement, all in one transaction.

        Parameters
        ----------
        statement
            SQL with one placeholder per value.
        rows
            Values; when `numbered`, each gets its sequence number put before them.
        numbered
            Whether each row takes a sequence number; they are given here, in the order of the calls.

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
            if not self._waiting or len(self._waiting[-1].writes) >= MAX_GROUP_ROWS:
                self._waiting.append(Group())
            group = self._waiting[-1]
            if not numbered:
                group.writes.extend((statement, row) for row in rows)
                ticket = Ticket(0, group)
            else:
                first = self._next_sequence
                group.writes.extend((statement, (first + place, *row)) for place, row in enumerate(rows))
                self._next_sequence = first + len(rows)
                ticket = Ticket(first, group)
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

    def _write(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                _commit(self._connection, group.writes)
            except BaseException as cause:
                self._fail(group, cause)
                return
            n_rows = len(group.writes)
            group.settle()
            if self._checkpoints is not None:
                self._checkpoints.committed(n_rows)

    def _next_group(self) -> Group | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            return self._waiting.popleft()

    def _fail(self, group: Group, cause: BaseException) -> None:
        with self._changed:
            self._failure = cause
            lost = [group, *self._waiting]
            self._waiting.clear()
        for each in lost:
            each.settle(cause)


def failed(cause: BaseException) -> errors.Unavailable:
    """Make the error for a log whose disk failed."""
    error = errors.Unavailable(f"logbook cannot write until it is opened again: {cause}")
    error.__cause__ = cause
    return error


def _commit(connection: sqlite3.Connection, writes: list[tuple[str, Row]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, group in groupby(writes, key=itemgetter(0)):
            rows = [row for _, row in group]
            for text, values in _statements(statement, rows):
                connection.execute(text, values)
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back by itself already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(statement: str, rows: list[Row]) -> Iterator[tuple[str, Row]]:
    """Yield the fewest statements, of few kinds, that write the rows.

    SQLite's driver gives up the interpreter for each statement that it runs, and takes it back afterwards: with
    other threads at work that costs more than a row does.
    """
    one_by_one = not (statement.startswith("INSERT") and statement.endswith(")"))
    done = 0
    while done < len(rows):
        left = len(rows) - done
        n_rows = 1 if one_by_one else next(size for size in _ROWS_AT_ONCE if size <= left)
        part = rows[done : done + n_rows]
        yield _with_rows(statement, n_rows), part[0] if n_rows == 1 else tuple(v for row in part for v in row)
        done += n_rows


@lru_cache(maxsize=64)
def _with_rows(statement: str, n_rows: int) -> str:
    values = statement[statement.index("VALUES") + len("VALUES") :] if n_rows > 1 else ""
    return statement + f",{values}" * (n_rows - 1)
