"""What the log tells of sends, entered at once or one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from decider.decision.exposure import Exposure
from decider.logbook.schema import HistoryEntry, HistoryKind, SentSets

from .world import TIME, World, build_world

CANDIDATES = [
    ("picks@email", "top_picks", ""),
    ("season@push", "new_season", "title:north"),
    ("old@email", "", ""),
]


@pytest.fixture(scope="module")
def text_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("text"), 50, text_ids=True)


def sent_sets(world: World, sequence: int, seed: int) -> SentSets:
    """Sets of members, some of whom the snapshot lacks."""
    rng = np.random.default_rng(seed)
    snapshot = world.parts.snapshot
    ids = snapshot.ids(rng.permutation(snapshot.n_members)[:40].astype(np.int64))
    unknown = pl.Series(["nobody", "gone"]) if ids.dtype == pl.String else pl.Series([1, 2])
    ids = pl.concat([ids[:10], unknown, ids[10:]])
    sets = rng.integers(0, 3, (3, ids.len())).astype(np.int16)
    sets[np.arange(3)[:, None] >= rng.integers(0, 4, ids.len())] = -1
    return SentSets(sequence, TIME + sequence, ids, sets, CANDIDATES)


def one_by_one(sent: SentSets) -> list[HistoryEntry]:
    return [
        HistoryEntry(
            sent.sequence, member, sent.time_micros, *candidate[:1], HistoryKind.SEND, *candidate[1:]
        )
        for member, codes in zip(sent.member_ids.to_list(), sent.sets.T.tolist(), strict=True)
        for candidate in [sent.candidates[code] for code in codes if code >= 0]
    ]


@pytest.mark.parametrize("ids", ["numbers", "text"])
def test_sets_are_entered_as_their_sends_would_be(ids: str, world: World, text_world: World) -> None:
    of = world if ids == "numbers" else text_world
    other = text_world if ids == "numbers" else world
    first, second = sent_sets(of, 1, seed=1), sent_sets(of, 3, seed=2)
    member = of.parts.snapshot.ids(np.zeros(1, np.int64))[0]
    outside = HistoryEntry(2, member, TIME + 2, "picks@email", HistoryKind.OPT_OUT)
    not_here = sent_sets(other, 4, seed=3)
    together = Exposure(of.parts.snapshot, [first, outside, second, not_here], 4, 0)
    apart = Exposure(of.parts.snapshot, [*one_by_one(first), outside, *one_by_one(second)], 4, 0)
    n_entries = sum(int((sent.sets >= 0).sum()) for sent in (first, second)) + 1
    rows = np.arange(of.parts.snapshot.n_members)
    assert together.last_sequence == apart.last_sequence == 4
    assert (together.observe(rows, of.parts.catalog).heads >= 0).sum() > 30
    assert _lists(together, of) == _lists(apart, of)
    assert sum(map(len, _lists(together, of))) < n_entries  # the snapshot lacks two of them


def _lists(exposure: Exposure, world: World) -> list[list[tuple[int, ...]]]:
    """Of each member what was sent, the newest first: time, sequence, kind, type, topic, channel."""
    sends = exposure.sends(world.parts.catalog)
    found = []
    for head in sends.head.tolist():
        entries = []
        while head >= 0:
            code, when = sends.code[head], sends.occasion[head]
            what = (sends.type[code], sends.topic[code], sends.channel[code])
            entries.append(
                tuple(map(int, (sends.time_micros[when], sends.sequence[when], sends.kind[head], *what)))
            )
            head = int(sends.next[head])
        found.append(entries)
    return found
