import numpy as np
import pytest

from decider_core.contracts import ContractError
from decider_core.sending import append_sets, check_writable
from decider_core.sends import LiveView, changed_places, mark_later

OCCASION = np.array([0, 0, 1, 2], np.int32)
SEQUENCE = np.array([5, 6, 9], np.int64)


@pytest.mark.parametrize(
    ("until", "expected"),
    [(4, [-1, -2, -2, -2]), (5, [-1, 1, -2, -2]), (8, [-1, 1, 2, -2]), (9, [-1, 1, 2, 3])],
)
def test_marks_what_came_later(until, expected):
    newest = np.array([-1, 1, 2, 3], np.int32)
    mark_later(newest, OCCASION, SEQUENCE, until, -2)
    assert newest.tolist() == expected


def test_refuses_what_points_outside():
    with pytest.raises(ContractError, match=r"newest must be in \[-1, 3\], got 4 at \[1\]"):
        mark_later(np.array([0, 4], np.int32), OCCASION, SEQUENCE, 5, -2)
    with pytest.raises(ContractError, match=r"occasion must be in .* got another at 3"):
        mark_later(np.array([3], np.int32), OCCASION, SEQUENCE[:2], 5, -2)


@pytest.mark.parametrize("rows", [[3, 4, 5, 6], [6, 0, 0, 4], [5], []])
@pytest.mark.parametrize("changed", [[], [4], [0, 5, 6]])
def test_finds_whose_newest_entry_is_another(rows, changed):
    rows, head = np.array(rows, np.int64), np.arange(8, dtype=np.int32)
    before = head[rows]
    head[changed] += 10
    assert changed_places(rows, head, before).tolist() == [i for i, row in enumerate(rows) if row in changed]
    with pytest.raises(ContractError, match=r"rows must be in \[0, 7\], got 8"):
        changed_places(rows * 0 + 8, head, before) if rows.size else changed_places(
            np.array([8]), head, head[:1]
        )


def lists_of(sets, rows, codes, first, n_rows):
    """What each row's list leads to, newest first, and where its entries lie, by putting in one send after another."""
    lists, entry = [[] for _ in range(n_rows)], first
    for r, row in enumerate(rows):
        for k in sets[:, r]:
            if k >= 0:
                lists[row].insert(0, (entry, int(codes[k])))
                entry += 1
    return lists, entry


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("n_members", [1, 2, 40])
@pytest.mark.parametrize("n_places", [1, 3, 8])
def test_sets_are_entered_as_their_sends(together, n_members, n_places):
    """Empty places anywhere, rows that come again, and no room for one entry more."""
    g = np.random.default_rng(n_members)
    sets = g.integers(-2, 5, (n_places, n_members)).clip(-1).astype(np.int16)
    rows, codes = g.integers(0, 7, n_members), np.array([4, 2, 9, 0, 1], np.int32)
    sends = int((sets >= 0).sum())
    n_times = 1 if together else n_members
    times, sequence = np.arange(n_times) + 100, np.arange(n_times) + 200
    first, n_entries, n_occasions = 3, 3 + sends, 2 + n_times
    head, following, code = (
        np.full(7, -1, np.int32),
        np.full(n_entries, 77, np.int32),
        np.zeros(n_entries, np.int32),
    )
    kind, occasion = np.full(n_entries, 9, np.uint8), np.full(n_entries, 77, np.int32)
    when, place = np.zeros(n_occasions, np.int64), np.zeros(n_occasions, np.int64)
    live = check_writable(LiveView(head, following, code, kind, occasion, when, place))
    end = append_sets(sets, rows, codes, times, sequence, (first, 2), live)
    expected, last = lists_of(sets, rows, codes, first, 7)
    assert end == (last, 2 + (min(sends, 1) if together else int((sets >= 0).any(axis=0).sum())))
    of_member = np.searchsorted(np.cumsum((sets >= 0).sum(axis=0)), np.arange(sends), side="right")
    for row in range(7):
        found, entry = [], int(head[row])
        while entry >= 0:
            found.append((entry, int(code[entry])))
            r = 0 if together else int(of_member[entry - first])
            assert kind[entry] == 0
            assert (when[occasion[entry]], place[occasion[entry]]) == (times[r], sequence[r])
            entry = int(following[entry])
        assert found == expected[row]
    assert following[:3].tolist() == [77] * 3


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": [[0, 2]]}, r"sets must be in \[-1, 1\], got 2 at \[0, 1\]"),
        ({"sets": [[-2, 0]]}, r"sets must be in \[-1, 1\], got -2 at \[0, 0\]"),
        ({"rows": [0, 3]}, r"rows must be in \[0, 2\], got 3 at \[1\]"),
        ({"rows": [-1, 0]}, r"rows must be in \[0, 2\], got -1 at \[0\]"),
        ({"first": (3, 0)}, r"last entry must be finite and in \[0, 4\], got 5.0"),
        ({"first": (0, 4)}, r"last occasion must be finite and in \[0, 4\], got"),
    ],
)
def test_refuses_sets_that_cannot_be_entered(together, change, message):
    """And writes nothing then."""
    live = [np.zeros(n, kind) for n, kind in ((3, "i4"), (4, "i4"), (4, "i4"), (4, "u1"), (4, "i4"))]
    live += [np.zeros(4, np.int64), np.zeros(4, np.int64)]
    asked = {"sets": [[0, 1]], "rows": [0, 2], "first": (0, 0)} | change
    when = np.ones(1 if together else 2, np.int64)
    with pytest.raises(ContractError, match=message):
        append_sets(
            np.array(asked["sets"], np.int16), np.array(asked["rows"]), np.array([7, 8], np.int32), when, when,
            asked["first"], check_writable(LiveView(*live)),
        )  # fmt: skip
    assert not any(array.any() for array in live)
