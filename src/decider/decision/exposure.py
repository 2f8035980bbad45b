"""What each member was already sent, as decisions see it and add to it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.catalog import Catalog
from decider.logbook.schema import HistoryEntry, SentSets
from decider.members import OPT_OUT, CodeTables, LiveHistory, LiveView, Snapshot
from decider_core.history import LiveSends
from decider_core.sends import mark_later

BATCH = 65_536
"""Log entries that are entered at once."""


_CHANGED = -2
"""No member's newest entry."""


class Seen(NamedTuple):
    """The history of some members at one moment."""

    heads: NDArray[np.int32]
    """[n] newest entry of each member: as long as it stays, nothing was sent to that member since."""
    sends: LiveSends
    until_sequence: int
    """Last log entry that the history held."""


class Exposure:
    """The sends and opt-outs since the snapshot, by its rows.

    Decisions are optimistic: they read what was sent (`observe`), decide without any lock, and under the
    `reserving` lock make sure that it still stands (`changed`) before they enter the log and come back here.
    So caps hold under concurrent calls, and the log's order is the order in which members were exposed.

    Parameters
    ----------
    snapshot
        Gives the rows.
    entries
        What the log holds already.
    last_sequence
        Last entry of the log that `entries` reach.
    since_micros
        Sends before this time are not among the entries.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        entries: Iterable[HistoryEntry | SentSets],
        last_sequence: int,
        since_micros: int,
    ) -> None:
        self._snapshot = snapshot
        # Room for two entries a member: pages that nothing is written to cost nothing, growing copies all of it.
        self._history = LiveHistory(snapshot.n_members, capacity=max(1024, 2 * snapshot.n_members))
        self.reserving: threading.RLock = self._history.lock
        self._since_micros = since_micros
        self._sequence = 0
        self._sends: tuple[LiveView, CodeTables, LiveSends] | None = None
        self._codes: tuple[Catalog | None, NDArray[np.int32]] = None, np.empty(0, np.int32)
        self.add_entries(entries, last_sequence)

    def serves(self, snapshot: Snapshot, since_micros: int) -> bool:
        """Whether it is about that snapshot's rows and reaches back to that time."""
        return self._snapshot.version == snapshot.version and self._since_micros <= since_micros

    @property
    def last_sequence(self) -> int:
        """Last log entry that it holds."""
        return self._sequence

    def observe(self, rows: NDArray[np.int64], catalog: Catalog, until: int | None = None) -> Seen:
        """Give the history of `rows` as it stands now, or as it stood after entry `until`.

        Members to whom something was sent since then count as changed from the start.
        """
        with self.reserving:
            heads, sends = self._history.heads(rows), self.sends(catalog)
            if until is None or until >= self._sequence:
                return Seen(heads, sends, self._sequence)
        mark_later(heads, sends.occasion, sends.sequence, until, _CHANGED)
        return Seen(heads, sends, until)

    def sends(self, catalog: Catalog) -> LiveSends:
        """Give all of the history, with the codes of `catalog`."""
        with self.reserving:
            view, tables = self._history.view(), self._history.code_tables(catalog)
            known = self._sends
            if known is None or known[0] is not view or known[1] is not tables:
                known = self._sends = view, tables, LiveSends(*view, *tables)
            return known[2]

    def changed(self, rows: NDArray[np.int64], seen: Seen) -> NDArray[np.int64]:
        """Places in `rows` whose member was sent something since `seen`. Call under `reserving`."""
        return self._history.changed(rows, seen.heads)

    def add_sets(
        self,
        rows: NDArray[np.int64],
        sets: NDArray[np.int16],
        catalog: Catalog,
        time_micros: int | NDArray[np.int64],
        sequence: int | NDArray[np.int64],
    ) -> None:
        """Enter message sets that were logged, [M, n] candidates of `catalog`. Call under `reserving`.

        Parameters
        ----------
        time_micros, sequence
            Decision time and log entry: one for all, or int64 [n], sequences rising.
        """
        self._history.extend_sets(rows, sets, self._codes_of(catalog), time_micros, sequence)
        self._sequence = sequence if isinstance(sequence, int) else int(sequence[-1])

    def _codes_of(self, catalog: Catalog) -> NDArray[np.int32]:
        """The history's code of each candidate."""
        known, codes = self._codes
        if known is not catalog:
            names = [(c.message, c.type, c.topic, c.channel) for c in catalog.candidates]
            codes = np.array([self._history.code(*name) for name in names], np.int32)
            self._codes = catalog, codes
        return codes

    def add_entries(self, entries: Iterable[HistoryEntry | SentSets], sequence: int) -> None:
        """Enter sends and opt-outs as the log tells them; members the snapshot lacks are left out."""
        with self.reserving:
            waiting: list[HistoryEntry] = []
            for entry in entries:
                if isinstance(entry, HistoryEntry):
                    waiting.append(entry)
                if len(waiting) == BATCH or isinstance(entry, SentSets):
                    self._extend(waiting)
                    waiting = []
                if isinstance(entry, SentSets):
                    self._extend_sets(entry)
            self._extend(waiting)
            self._sequence = max(self._sequence, sequence)

    def _extend(self, entries: list[HistoryEntry]) -> None:
        kind = int if self._snapshot.id_type == "int64" else str
        entries = [entry for entry in entries if isinstance(entry.member_id, kind)]
        if not entries:
            return
        ids = pl.Series([entry.member_id for entry in entries], dtype=pl.Int64 if kind is int else pl.String)
        rows = self._snapshot.rows_of(ids)
        known = np.flatnonzero(rows >= 0)
        kept = [entries[place] for place in known.tolist()]
        self._history.extend(
            rows[known],
            np.array([entry.time_micros for entry in kept], np.int64),
            np.array([self._code(entry) for entry in kept], np.int32),
            np.array([entry.kind for entry in kept], np.uint8),
            np.array([entry.sequence for entry in kept], np.int64),
        )

    def _extend_sets(self, sent: SentSets) -> None:
        if (sent.member_ids.dtype == pl.Int64) != (self._snapshot.id_type == "int64"):
            return
        rows, sets = self._snapshot.rows_of(sent.member_ids), sent.sets
        known = rows >= 0
        if not known.all():
            rows, sets = rows[known], np.ascontiguousarray(sets[:, known])
        codes = np.array([self._code_of(*candidate) for candidate in sent.candidates], np.int32)
        self._history.extend_sets(rows, sets, codes, sent.time_micros, sent.sequence)

    def _code(self, entry: HistoryEntry) -> int:
        return self._code_of(entry.candidate, entry.type, entry.topic)

    def _code_of(self, candidate: str, kind: str, topic: str) -> int:
        message, _, channel = candidate.rpartition("@")
        return self._history.code(message, kind, topic, channel)


def rehearse() -> None:
    """Enter and look up a set and an opt-out in a history that is thrown away: no decision waits for a compiler."""
    history, rows = LiveHistory(1), np.zeros(1_000, np.int64)  # of a few NumPy looks them up
    codes = np.array([history.code("message", "type", "topic", "channel")], np.int32)
    for when in (0, np.zeros(rows.size, np.int64)):  # of one occasion they are entered by another kernel
        history.extend_sets(rows, np.zeros((1, rows.size), np.int16), codes, when, when)
    history.append(0, 0, 0, OPT_OUT, 1)
    view = history.view()
    history.changed(rows, history.heads(rows))
    mark_later(history.heads(rows), view.occasion, view.sequence, 0, _CHANGED)
