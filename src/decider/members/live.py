"""What happened to members since their snapshot: linked lists in arrays, appended under one lock."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from decider.errors import InvalidInput, NotReady
from decider.members.vocabulary import CodeTables, SendName, Translates
from decider_core.history import OPT_OUT as OPT_OUT
from decider_core.history import SEND as SEND
from decider_core.rows import stretch_of
from decider_core.sending import append_sets, check_writable, link_entries
from decider_core.sends import LiveView as LiveView
from decider_core.sends import changed_places

Array = npt.NDArray[Any]

_NOBODY: Final[Array] = np.empty(0, np.int64)
_FEW: Final = 256
"""Up to so many members NumPy takes less time than a kernel takes to be called."""
_MAX_ENTRIES: Final = 2**31 - 1
"""Links are int32."""


class LiveHistory:
    """Sends and opt-outs since the snapshot.

    Parameters
    ----------
    n_members
        Number of members N; rows are places in the snapshot.
    capacity
        Entries to make room for at first; it doubles when full.

    Notes
    -----
    All methods may be called from any thread. 13 bytes an entry (12 for sets entered together:
    the byte of their kind stays untouched), 16 an occasion, 4 a member.
    """

    def __init__(self, n_members: int, capacity: int = 1024) -> None:
        if n_members < 1 or capacity < 1:
            raise ValueError(f"n_members and capacity must be >= 1, got {n_members} and {capacity}")
        self._lock = threading.RLock()
        self._n_entries = self._n_occasions = 0
        self._last_sequence = -1
        self._codes: dict[SendName, int] = {}
        self._vocabulary: list[SendName] = []
        nothing = np.zeros(0, np.int32)
        self._tables: tuple[Translates | None, int, CodeTables] = (None, 0, (nothing, nothing, nothing))
        view = LiveView(
            head=np.full(n_members, -1, np.int32),
            next=np.zeros(capacity, np.int32),
            code=np.zeros(capacity, np.int32),
            kind=np.zeros(capacity, np.uint8),
            occasion=np.zeros(capacity, np.int32),
            # A page that nothing is written to costs nothing.
            time_micros=np.zeros(capacity, np.int64),
            sequence=np.zeros(capacity, np.int64),
        )
        self._view, self._shown = check_writable(view), _read_only(view)

    @property
    def lock(self) -> threading.RLock:
        """The lock of all appends: hold it to check :meth:`heads` and append in one step."""
        return self._lock

    @property
    def n_entries(self) -> int:
        """Entries so far."""
        return self._n_entries

    @property
    def vocabulary(self) -> tuple[SendName, ...]:
        """What each code stands for."""
        with self._lock:
            return tuple(self._vocabulary)

    @property
    def _latest(self) -> tuple[int, int] | None:
        """Time and sequence of the latest occasion."""
        view, last = self._view, self._n_occasions - 1
        return (int(view.time_micros[last]), int(view.sequence[last])) if last >= 0 else None

    def code(self, message: str, type: str, topic: str, channel: str) -> int:  # noqa: A002  # the field's word
        """Give the code of something that is sent; a new one where it is new."""
        name = (message, type, topic, channel)
        code = self._codes.get(name)
        if code is None:
            with self._lock:
                code = self._codes.setdefault(name, len(self._vocabulary))
                if code == len(self._vocabulary):
                    self._vocabulary.append(name)
        return code

    def channel_code(self, channel: str) -> int:
        """Give the code of an opt-out of a channel, which is about no message."""
        return self.code("", "", "", channel)

    def append(self, row: int, time_micros: int, code: int, kind: int, sequence: int) -> None:
        """Add one entry; as :meth:`extend`."""
        self.extend(
            np.array([row], np.int64),
            np.array([time_micros], np.int64),
            np.array([code], np.int32),
            np.array([kind], np.uint8),
            np.array([sequence], np.int64),
        )

    def extend(self, rows: Array, time_micros: Array, code: Array, kind: Array, sequence: Array) -> None:
        """Add entries, the oldest first.

        Parameters
        ----------
        rows
            int64[n] rows of members; one may come several times.
        time_micros
            int64[n] when, microseconds since the Unix epoch.
        code
            int32[n] from :meth:`code` or :meth:`channel_code`.
        kind
            uint8[n] `SEND` or `OPT_OUT`.
        sequence
            int64[n] places in the logbook, >= 0.

        Raises
        ------
        InvalidInput
            Lengths differ, or a row, code, kind or sequence is out of range; nothing is added then.
        NotReady
            The history is full (2^31 - 1 entries): build a new snapshot.
        """
        with self._lock:
            self._check(rows, time_micros, code, kind, sequence)
            first, n_new = self._n_entries, len(rows)
            if n_new == 0:
                return
            new = np.empty(n_new, np.bool_)
            new[0] = self._latest != (time_micros[0], sequence[0])
            new[1:] = (time_micros[1:] != time_micros[:-1]) | (sequence[1:] != sequence[:-1])
            occasion = self._n_occasions - 1 + np.cumsum(new)
            n_occasions = int(occasion[-1]) + 1
            self._reserve(first + n_new, n_occasions)
            view = self._view
            view.code[first : first + n_new] = code
            view.kind[first : first + n_new] = kind
            view.occasion[first : first + n_new] = occasion
            view.time_micros[self._n_occasions : n_occasions] = time_micros[new]
            view.sequence[self._n_occasions : n_occasions] = sequence[new]
            link_entries(rows, first, view.head, view.next)
            self._n_entries, self._n_occasions = first + n_new, n_occasions
            self._last_sequence = max(self._last_sequence, int(sequence.max()))

    def extend_sets(
        self, rows: Array, sets: Array, codes: Array, time_micros: int | Array, sequence: int | Array
    ) -> None:
        """Add the sends of message sets, member after member.

        Parameters
        ----------
        rows
            int64[n] rows of members; one may come several times.
        sets
            int16[max_messages, n] candidates, -1 in empty places.
        codes
            int32[n_candidates] from :meth:`code`.
        time_micros, sequence
            As in :meth:`extend`, int64[n] of each member's sends or one number for all.

        Raises
        ------
        ContractError
            A shape, or a candidate or row, is out of range; nothing is added then.
        NotReady
            As :meth:`extend`.
        """
        times, sequences = (
            np.array([each], np.int64) if isinstance(each, int) else np.atleast_1d(np.asarray(each, np.int64))
            for each in (time_micros, sequence)
        )
        with self._lock:
            self._reserve(self._n_entries + sets.size, self._n_occasions + sequences.size)
            first = self._n_entries, self._n_occasions
            self._n_entries, self._n_occasions = append_sets(
                sets, rows, codes, times, sequences, first, self._view
            )
            if sequences.size:
                self._last_sequence = max(self._last_sequence, int(sequences.max()))

    def view(self) -> LiveView:
        """Give the lists for reading, without a copy; arrays are read-only, and the same until they have grown."""
        return self._shown

    def heads(self, rows: Array) -> Array:
        """Give the newest entry of members, int32[n], -1 for none: the same later means nothing was added."""
        stretch = stretch_of(rows) if rows.size > _FEW else rows
        heads: Array = self._view.head[stretch]
        return heads.copy() if isinstance(stretch, slice) else heads

    def changed(self, rows: Array, before: Array) -> Array:
        """Give the places of members to whom something was added since :meth:`heads` gave `before`, int64."""
        if rows.size <= _FEW:
            now = self._view.head[rows]
            # Almost always all are as they were: that they have the same bytes is soonest seen.
            return _NOBODY if now.tobytes() == before.tobytes() else np.flatnonzero(now != before)
        return changed_places(rows, self._view.head, before)

    def last_sequence(self) -> int:
        """Give the largest sequence of any entry, -1 for none."""
        return self._last_sequence

    def code_tables(self, catalog: Translates) -> CodeTables:
        """Type, topic and channel of each code as places in a catalog, int32[n_codes]; -1 if not there.

        Take the tables after the sequence that is decided at: they then know every code up to it.
        """
        with self._lock:
            known, n_codes, tables = self._tables
            if known is not catalog or n_codes != len(self._vocabulary):
                tables = catalog.code_tables(self._vocabulary)
                self._tables = (catalog, len(self._vocabulary), tables)
            return tables

    def _check(self, rows: Array, time_micros: Array, code: Array, kind: Array, sequence: Array) -> None:
        given = {"rows": rows, "time_micros": time_micros, "code": code, "kind": kind, "sequence": sequence}
        for name, values in given.items():
            if values.shape != (len(rows),):
                raise InvalidInput.of(name, f"must have {len(rows)} entries, one a row", values.shape)
        ranges = {
            "rows": len(self._view.head) - 1,
            "code": len(self._vocabulary) - 1,
            "kind": OPT_OUT,
            "sequence": np.iinfo(np.int64).max,
        }
        for name, top in ranges.items():
            values = given[name]
            wrong = (values < 0) | (values > top)
            if wrong.any():
                place = int(wrong.argmax())
                raise InvalidInput.of(name, f"must be in [0, {top}]", int(values[place]), f"at {place}")

    def _reserve(self, n_entries: int, n_occasions: int) -> None:
        """Make room. New arrays, heads included: views of the old ones then never lead past their ends."""
        if n_entries > _MAX_ENTRIES:
            raise NotReady(f"the live history is full at {_MAX_ENTRIES} entries: build a new snapshot")
        old = self._view
        if n_entries <= len(old.next) and n_occasions <= len(old.sequence):
            return
        entries, occasions = _doubled(len(old.next), n_entries), _doubled(len(old.sequence), n_occasions)
        view = LiveView(
            old.head.copy(),
            *(_grown(values, entries) for values in old[1:5]),
            *(_grown(values, occasions) for values in old[5:]),
        )
        self._view, self._shown = check_writable(view), _read_only(view)


def _doubled(capacity: int, needed: int) -> int:
    while capacity < needed:
        capacity *= 2
    return capacity


def _grown(values: Array, capacity: int) -> Array:
    out = np.zeros(capacity, values.dtype)
    out[: len(values)] = values
    return out


def _read_only(view: LiveView) -> LiveView:
    shown = LiveView._make(values[:] for values in view)
    for values in shown:
        values.flags.writeable = False
    return shown
