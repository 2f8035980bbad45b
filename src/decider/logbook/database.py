"""The SQLite file beneath the logbook: its tables, its schema version, and the lock that keeps one writer.

One process writes to a logbook directory at a time; any number may read it meanwhile.
Several writers on one machine take one directory each.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from zlib import crc32

from decider import errors

SCHEMA_VERSION = 2
APPLICATION_ID = 0x44454349
"""``DECI``: tells our files from other SQLite files."""

DATABASE_NAME = "log.sqlite"
LOCK_NAME = "lock"
BUSY_TIMEOUT_MS = 5_000
_CACHED_STATEMENTS = 256
"""Statements that insert rows come in as many kinds as there are rows in one."""
MAX_WAL_PAGES = 20_000
"""Of 4 KiB: beyond it a commit copies them into the database itself; see :mod:`decider.logbook.checkpoint`."""
MAX_WAL_BYTES = 32 + MAX_WAL_PAGES * (24 + 4_096)
"""A header, and a header for each page: https://sqlite.org/fileformat2.html#walformat."""
MAX_SEQUENCE = 2**63 - 1
"""Sequence numbers end where SQLite's integers do."""

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE decisions (
    sequence INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    time_micros INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    time_micros INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE segments (
    run_id TEXT NOT NULL REFERENCES runs,
    first_ordinal INTEGER NOT NULL,
    n_rows INTEGER NOT NULL,
    sequence INTEGER NOT NULL UNIQUE,
    file TEXT NOT NULL UNIQUE,
    n_bytes INTEGER NOT NULL,
    xxh3_128 TEXT NOT NULL,
    PRIMARY KEY (run_id, first_ordinal)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the database for writing, make its tables when it is new, and refuse another schema.

    Raises
    ------
    errors.CorruptArtifact
        It is not a database of ours, is damaged, or is of an older or newer schema.
    """
    connection = _connect(path)
    try:
        with _corrupt(path):
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                connection.executescript(_TABLES)
            _check_schema(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL makes every commit survive a power cut: WAL alone only survives the process.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA wal_autocheckpoint = {MAX_WAL_PAGES}")
            # What a statement of many rows changes is kept until it has succeeded: beyond 64 KiB in a file, made and
            # deleted in each commit, a third of what a commit takes.
            connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def open_checkpointer(path: Path) -> sqlite3.Connection:
    """Open a database that :func:`open_writer` has opened, to copy its write-ahead log into it."""
    connection = _connect(path)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Readers:
    """Connections for reading, as many as there are readers at once.

    Parameters
    ----------
    path
        The database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        connection = self._take()
        try:
            with _corrupt(path):
                _check_schema(connection, path)
        finally:
            self._give_back(connection)

    def rows(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Fetch all rows of one statement; it sees all that is committed when it begins.

        Raises
        ------
        errors.CorruptArtifact
            The file is damaged.
        errors.NotReady
            The log is closed.
        """
        connection = self._take()
        try:
            return connection.execute(statement, parameters).fetchall()
        except sqlite3.DatabaseError as cause:
            raise _refusal(self._path, cause) from cause
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise errors.NotReady(f"logbook {self._path.parent} is closed")
        # Popping from and appending to a list are atomic, so a connection is never with two readers.
        try:
            return self._idle.pop()
        except IndexError:
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()


def paged_rows(
    readers: Readers,
    statement: str,
    since_micros: int,
    page_rows: int,
    after_sequence: int = 0,
    until_sequence: int = MAX_SEQUENCE,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a log table in the order of their sequence numbers, a page at a time.

    Rows outside of ``after_sequence < sequence <= until_sequence`` are not read at all.

    No read transaction outlives a page, so that a slow reader does not keep the WAL from being checkpointed.

    Parameters
    ----------
    statement
        ``SELECT sequence, ... FROM ... WHERE`` a condition with one placeholder, for `since_micros`.
    """
    last = after_sequence
    ordered = f"{statement} AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
    while page := readers.rows(ordered, (since_micros, last, until_sequence, page_rows)):
        yield page
        last = page[-1][0]


def lock_directory(directory: Path) -> TextIO:
    """Take the directory's only right to write; closing the returned file, or dying, gives it back.

    Raises
    ------
    errors.NotReady
        Another process (or this one) holds it: its process id is named.
    """
    file = (directory / LOCK_NAME).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise errors.NotReady(f"logbook {directory} is open for writing in process {holder}") from None
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def checked_body(path: Path, what: str, crc: int, body: bytes) -> bytes:
    """Return a row's body if it is as it was written.

    Raises
    ------
    errors.CorruptArtifact
        Its CRC-32 differs: SQLite itself does not notice a flipped bit.
    """
    if crc32(body) != crc:
        raise errors.CorruptArtifact(path, f"{what} must have CRC-32 {crc:08x}, got {crc32(body):08x}")
    return body


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are begun and ended by hand; a connection moves between threads but is in one at a time.
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=_CACHED_STATEMENTS
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return connection


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise errors.CorruptArtifact(
            path, f"its application id must be {APPLICATION_ID}, got {application_id}"
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        age = "newer" if version > SCHEMA_VERSION else "older"
        raise errors.CorruptArtifact(
            path, f"its schema version {version} is {age} than {SCHEMA_VERSION}, the one this program knows"
        )


@contextmanager
def _corrupt(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as cause:
        raise _refusal(path, cause) from cause


def _refusal(path: Path, cause: sqlite3.DatabaseError) -> errors.DeciderError:
    # Busy, locked, out of memory or disk: the file may be sound.
    if isinstance(cause, sqlite3.OperationalError):
        return errors.Unavailable(f"logbook {path}: {cause}")
    return errors.CorruptArtifact(path, str(cause))
