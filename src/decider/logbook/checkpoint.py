"""Copying what is committed from SQLite's write-ahead log into the database, beside the thread that commits.

SQLite does it by itself within whatever commit comes after 1,000 pages: several milliseconds, for which every caller of
that group would wait. Here another thread does it, and the writer only when its log has grown twenty times as large: as
long as groups follow each other without a pause, a log that is never copied to its end is never begun anew.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from decider.logbook.database import open_checkpointer

EVERY_ROWS = 500
"""A decision changes about two pages."""


class Checkpoints:
    """The thread that copies; :meth:`close` it after the last commit.

    Parameters
    ----------
    database
        Path of the database.
    """

    def __init__(self, database: Path) -> None:
        self._connection = open_checkpointer(database)
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
            try:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error:
                # What is committed is safe in the write-ahead log. The writer copies it when that has grown, and says
                # what is wrong with the disk when that keeps it from committing.
                continue
