"""What a run takes from its caller: members that it has not had, a token that it gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.decision.request import RunRequest
from decider.errors import InvalidInput, Violation
from decider.members import Snapshot


def new_rows(
    snapshot: Snapshot, member_ids: NDArray[np.int64] | Sequence[str], seen: NDArray[np.bool_], field: str
) -> NDArray[np.int64]:
    """Rows of members that a run has not had.

    Parameters
    ----------
    snapshot
        Where they stand.
    member_ids
        n ids of its kind.
    seen
        [n_members] rows that the run has had.
    field
        What the ids are called in an error.

    Raises
    ------
    InvalidInput
        For no ids, unknown members, and members that come twice or came before: the first ten are named.
    """
    if len(member_ids) == 0:
        raise InvalidInput.of(field, "must not be empty", 0)
    rows = snapshot.rows_of(member_ids)
    _refuse(field, "must name a member of the snapshot", member_ids, np.flatnonzero(rows < 0))
    again = np.full(rows.size, True)
    again[np.unique(rows, return_index=True)[1]] = False
    _refuse(field, "must come only once in a run", member_ids, np.flatnonzero(again | seen[rows]))
    return rows


def _refuse(
    field: str, rule: str, member_ids: NDArray[np.int64] | Sequence[str], places: NDArray[np.int64]
) -> None:
    if not places.size:
        return
    ids = pl.Series(member_ids)
    first = [Violation(f"{field}[{place}]", f"{rule}, got {ids[place]!r}") for place in places[:10].tolist()]
    if places.size > 10:
        first.append(Violation(field, f"{rule}, got {places.size} that break it; the first ten are named"))
    raise InvalidInput(first)


def resume_at(request: RunRequest, run_id: str) -> int:
    """Members that the caller of a broken run was answered, by its token; 0 without one."""
    if not request.resume_token:
        return 0
    token_run, _, answered = request.resume_token.partition(":")
    if token_run != run_id or not (answered.isascii() and answered.isdigit()) or request.dry_run:
        refuse_token(request)
    return int(answered)


def refuse_token(request: RunRequest) -> NoReturn:
    """Refuse a token that this run never gave."""
    raise InvalidInput.of("resume_token", "must be one that this request_id received", request.resume_token)
