"""Copying what is committed from SQLite's write-ahead log into the database, beside the thread that commits.

SQLite does it by itself within whatever commit comes after 1,000 pages: several milliseconds, for which every caller of
that group would wait. Here another thread does it, and the writer only when its log has grown twenty times as large: as
long as groups follow each other without a pause, a log that is never copied to its end is never begun anew.

A commit that makes the write-ahead log longer takes twice as long as one that writes over what was copied: the file's
new length and blocks go to the disk too, and pages that are new are cleared first. So a log that is written to in
earnest is made as long as it may get at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from pathlib import Path

from decider.logbook.database import MAX_WAL_BYTES, open_checkpointer

EVERY_ROWS = 500
"""A decision changes about two pages."""
_PIECE = bytes(1 << 20)
"""Forced to the disk one by one: a commit that comes meanwhile waits a millisecond for it at most."""
_ROOM = 8
"""So many times what the write-ahead log may take must be free on the disk before it is made longer."""


class Checkpoints:
    """The thread that copies; :meth:`close` it after the last commit.

    Parameters
    ----------
    database
        Path of the database.
    """

    def __init__(self, database: Path) -> None:
        self._connection = open_checkpointer(database)
        self._wal = database.with_name(f"{database.name}-wal")
        self._due = threading.Event()
        self._n_rows = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="logbook-checkpoint", daemon=True)
        self._thread.start()

    def committed(self, n_rows: int) -> None:
        """Say that so many rows have been committed; one thread may say so."""
        self._n_rows += n_rows
        if self._n_rows >= EVERY_ROWS:
            self._n_rows = 0
            self._due.set()

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        self._closed = True
        self._due.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closed:
                return
            # Without it commits are slower, and no more: those that find the disk full say so themselves.
            with contextlib.suppress(OSError):
                if shutil.disk_usage(self._wal.parent).free > _ROOM * MAX_WAL_BYTES:
                    lengthen(self._wal, MAX_WAL_BYTES)
            try:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error:
                # What is committed is safe in the write-ahead log. The writer copies it when that has grown, and says
                # what is wrong with the disk when that keeps it from committing.
                continue


def lengthen(wal: Path, n_bytes: int) -> None:
    """Append zeros to a write-ahead log until it has so many bytes; its writer may write meanwhile.

    What SQLite has not written is not part of a log: its frames say of which log they are, and have checksums. Zeros
    are put behind whatever is its end then, so that nothing is written over.

    Raises
    ------
    OSError
        The disk is full, or broken.
    """
    with os.fdopen(os.open(wal, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
        while os.fstat(file.fileno()).st_size < n_bytes:
            file.write(_PIECE)
            os.fsync(file.fileno())
