import naive_history as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core import reasons
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.history import (
    EITHER,
    NO_SCOPE,
    OPT_OUT,
    SAME_TOPIC,
    SAME_TYPE,
    SEND,
    Candidates,
    HistoryRules,
    LiveSends,
    SnapshotSends,
    apply_history,
)

DAY = 86_400
NOW = 1_750_000_000_000_000


def i32(*numbers):
    return np.array(numbers, np.int32)


def i64(*numbers):
    return np.array(numbers, np.int64)


def no_rules(n_candidates, n_channels=1, n_topics=1):
    return HistoryRules(
        np.zeros(n_candidates, np.int64),
        np.zeros(n_candidates, np.uint8),
        -1,
        0,
        np.full(n_channels, -1, np.int32),
        np.zeros(n_channels, np.int64),
        np.full(n_topics, -1, np.int32),
        np.zeros(n_topics, np.int64),
    )


def snapshot_of(per_row, type=i32(0), topic=i32(0), channel=i32(0)):  # noqa: A002, B008
    """`per_row`: for each row a list of (time_micros, code)."""
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in per_row])]).astype(np.int64)
    flat = [e for r in per_row for e in r]
    return SnapshotSends(
        offsets, i64(*(e[0] for e in flat)), i32(*(e[1] for e in flat)), type, topic, channel
    )


def live_of(n_rows, log, type=i32(0), topic=i32(0), channel=i32(0)):  # noqa: A002, B008
    """`log`: (row, time_micros, code, kind, sequence) in the order appended."""
    head, before = np.full(n_rows, -1, np.int32), []
    for entry, (row, *_) in enumerate(log):
        before.append(head[row])
        head[row] = entry
    time, code, kind, sequence = (
        np.array([e[j] for e in log], d)
        for j, d in ((1, np.int64), (2, np.int32), (3, np.uint8), (4, np.int64))
    )
    occasion = np.arange(len(log), dtype=np.int32)
    return LiveSends(head, i32(*before), code, kind, occasion, time, sequence, type, topic, channel)


def instance(seed, n_rows=12, n_members=15, n_candidates=8):
    g = np.random.default_rng(seed)
    n_types, n_topics, n_channels = 3, 4, 2

    def tables(n):
        return {
            "type": g.integers(-1, n_types + 2, n).astype(np.int32),
            "topic": g.integers(-1, n_topics, n).astype(np.int32),
            "channel": g.integers(-1, n_channels, n).astype(np.int32),
        }

    def time():
        # Whole days hit the edges of the windows; some sends lie in the future.
        return NOW - int(g.integers(-2, 9)) * DAY * 1_000_000 + int(g.integers(-1, 2))

    per_row = [[(time(), int(g.integers(5))) for _ in range(g.integers(0, 4))] for _ in range(n_rows)]
    per_row[0] = []
    log = [
        (int(g.integers(1, n_rows)), time(), int(g.integers(6)), int(g.random() < 0.15), s) for s in range(20)
    ]
    windows = np.array([0, 1, 3, 7]) * DAY
    return {
        "rows": g.integers(0, n_rows, n_members),
        "decision_time_micros": NOW + g.integers(-1, 2, n_members),
        "snapshot_sends": snapshot_of(per_row, **tables(5)),
        "live_sends": live_of(n_rows, log, **tables(6)),
        "until_sequence": int(g.integers(0, 20)),
        "candidates": Candidates(
            g.integers(0, n_channels, n_candidates).astype(np.int32),
            g.integers(0, n_topics, n_candidates).astype(np.int32),
            g.integers(0, n_types, n_candidates).astype(np.int32),
        ),
        "rules": HistoryRules(
            g.choice(windows, n_candidates),
            g.integers(0, 4, n_candidates).astype(np.uint8),
            int(g.integers(-1, 5)),
            int(g.choice(windows)),
            g.integers(-1, 4, n_channels).astype(np.int32),
            g.choice(windows, n_channels),
            g.integers(-1, 3, n_topics).astype(np.int32),
            g.choice(windows, n_topics),
        ),
        "max_messages": int(g.integers(1, 9)),
        "reason": (
            g.integers(0, 11, (n_candidates, n_members)) * (g.random((n_candidates, n_members)) < 0.3)
        ).astype(np.uint8),
    }


@settings(deadline=None, max_examples=20 if INTERPRETED else 300)
@given(st.integers(0, 2**32))
def test_equals_twin(seed):
    case = instance(seed)
    expected = naive.apply_history(*case.values())
    caps = apply_history(**case)
    got = (case["reason"], caps.room_member, caps.room_channel, caps.room_topic)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(caps.channel, case["candidates"].channel)
    np.testing.assert_array_equal(caps.topic, case["candidates"].topic)
    assert caps.max_messages == case["max_messages"]
    assert caps.room_member.dtype == caps.room_channel.dtype == caps.room_topic.dtype == np.int16


@pytest.mark.parametrize("chunk", [1, 7])
def test_same_in_any_batch(chunk):
    case = instance(9)
    before = case["reason"].copy()
    whole = apply_history(**case)
    for first in range(0, 15, chunk):
        part = slice(first, first + chunk)
        reason = before[:, part].copy()
        some = {n: case[n][part] for n in ("rows", "decision_time_micros")}
        caps = apply_history(**case | some | {"reason": reason})
        np.testing.assert_array_equal(reason, case["reason"][:, part])
        np.testing.assert_array_equal(caps.room_topic, whole.room_topic[:, part])
        np.testing.assert_array_equal(caps.room_member, whole.room_member[part])


@pytest.mark.parametrize("every", [1, 3, 400])
@pytest.mark.parametrize("ordered", [True, False])
def test_same_among_many_who_were_sent_something_or_not(every, ordered):
    """One row in `every` has sends; more members than are looked at, or counted, together."""
    case = instance(3)
    n = 30 if INTERPRETED else 900
    sent = case["snapshot_sends"]
    per_row = [[] if row % every else [(NOW - row % 8 * DAY * 1_000_000, row % 5)] for row in range(n)]
    sends = snapshot_of(per_row, sent.type, sent.topic, sent.channel)
    log = [(row, NOW - row * 10**9, row % 6, int(row % 4 == 0), row) for row in range(0, n, 2 * every)]
    live = live_of(n, log, *case["live_sends"][-3:])
    rows = np.arange(n) if ordered else np.random.default_rng(0).permutation(n)
    reason = np.zeros((8, n), np.uint8)
    whole = case | {"snapshot_sends": sends, "live_sends": live, "decision_time_micros": NOW}
    whole |= {"rows": rows, "reason": reason, "until_sequence": n}
    expected = naive.apply_history(*(whole | {"decision_time_micros": np.full(n, NOW)}).values())
    caps = apply_history(**whole)
    for a, b in zip((reason, caps.room_member, caps.room_channel, caps.room_topic), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [(NO_SCOPE, [0, 0, 0]), (SAME_TOPIC, [6, 0, 0]), (SAME_TYPE, [6, 6, 0]), (EITHER, [6, 6, 0])],
)
def test_nothing_similar_in_the_past_days(scope, expected):
    """Sent three days ago: candidate 0 shares topic and type, 1 the type, 2 nothing."""
    sends = snapshot_of([[(NOW - 3 * DAY * 1_000_000, 0)]])
    rules = no_rules(3, n_topics=2)._replace(
        suppress_seconds=i64(*[4 * DAY] * 3), suppress_scope=np.full(3, scope, np.uint8)
    )
    candidates = Candidates(i32(0, 0, 0), i32(0, 1, 1), i32(0, 0, 1))
    reason = np.zeros((3, 1), np.uint8)
    apply_history(i64(0), NOW, sends, live_of(1, []), 0, candidates, rules, 3, reason)
    assert reason[:, 0].tolist() == expected


def test_window_is_open_at_its_start_and_closed_at_the_decision():
    rules = no_rules(1)._replace(member_cap=5, member_window_seconds=10)
    candidates = Candidates(i32(0), i32(0), i32(0))
    for time, room in ((NOW - 10_000_000, 5), (NOW - 9_999_999, 4), (NOW, 4), (NOW + 1, 5)):
        caps = apply_history(
            i64(0),
            NOW,
            snapshot_of([[(time, 0)]]),
            live_of(1, []),
            0,
            candidates,
            rules,
            8,
            np.zeros((1, 1), np.uint8),
        )
        assert caps.room_member[0] == room


def test_both_sources_count_and_later_sequences_do_not():
    rules = no_rules(1)._replace(member_cap=7, member_window_seconds=DAY)
    candidates = Candidates(i32(0), i32(0), i32(0))
    live = live_of(1, [(0, NOW - 5, 0, SEND, 10), (0, NOW - 4, 0, SEND, 11), (0, NOW - 3, 0, SEND, 12)])
    for until, room in ((9, 6), (10, 5), (11, 4), (99, 3)):
        caps = apply_history(
            i64(0),
            NOW,
            snapshot_of([[(NOW - 9, 0)]]),
            live,
            until,
            candidates,
            rules,
            8,
            np.zeros((1, 1), np.uint8),
        )
        assert caps.room_member[0] == room


def test_opt_out_bars_the_channel_whatever_its_time_and_is_no_send():
    rules = no_rules(2, n_channels=2)._replace(member_cap=1, member_window_seconds=DAY)
    candidates = Candidates(i32(0, 1), i32(0, 0), i32(0, 0))
    reason = np.zeros((2, 2), np.uint8)
    live = live_of(2, [(1, NOW + 10**9, 0, OPT_OUT, 3)], channel=i32(1))
    caps = apply_history(i64(0, 1), NOW, snapshot_of([[], []]), live, 3, candidates, rules, 1, reason)
    assert reason.tolist() == [[0, 0], [0, reasons.CONSENT]]
    assert caps.room_member.tolist() == [1, 1]
    earlier = np.zeros((2, 2), np.uint8)
    apply_history(i64(0, 1), NOW, snapshot_of([[], []]), live, 2, candidates, rules, 1, earlier)
    assert not earlier.any()


def test_caps_explain_the_exclusion():
    """Each cap alone leaves no room, then two of them: the lower code is the reason."""
    candidates = Candidates(i32(0), i32(0), i32(0))
    zero = {"member_cap": 0, "channel_cap": i32(0), "topic_cap": i32(0)}
    expected = {
        ("member_cap",): reasons.MEMBER_CAP,
        ("channel_cap",): reasons.CHANNEL_CAP,
        ("topic_cap",): reasons.TOPIC_CAP,
        ("channel_cap", "topic_cap"): reasons.CHANNEL_CAP,
    }
    for names, code in expected.items():
        reason = np.zeros((1, 1), np.uint8)
        rules = no_rules(1)._replace(**{n: zero[n] for n in names})
        apply_history(i64(0), NOW, snapshot_of([[]]), live_of(1, []), 0, candidates, rules, 3, reason)
        assert reason[0, 0] == code


def test_only_reason_is_written():
    case = instance(4)
    parts = [case["snapshot_sends"], case["live_sends"], case["candidates"], case["rules"], (case["rows"],)]
    arrays = [a for part in parts for a in part if isinstance(a, np.ndarray)]
    for a in arrays:
        a.flags.writeable = False
    apply_history(**case)


def circle(case):
    live = case["live_sends"]
    row = int(case["rows"][0])
    head, before = live.head.copy(), live.next.copy()
    head[row], before[3] = 3, 3
    return {"live_sends": live._replace(head=head, next=before)}


def read_only(case):
    reason = case["reason"].copy()
    reason.flags.writeable = False
    return {"reason": reason}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: {"rows": c["rows"] - 20}, r"rows must be in \[0, 11\]"),
        (lambda _: {"max_messages": 9}, r"max_messages must be in \[1, 8\], got 9"),
        (lambda _: {"decision_time_micros": 5 * 10**18}, "decision_time_micros must be"),
        (lambda c: {"decision_time_micros": c["rows"][1:]}, r"decision_time_micros must have shape \(15\)"),
        (lambda c: {"rules": c["rules"]._replace(member_cap=-2)}, "member_cap must be in .* got -2"),
        (lambda c: {"rules": c["rules"]._replace(member_window_seconds=-1)}, "member_window_seconds must be"),
        (
            lambda c: {"rules": c["rules"]._replace(suppress_scope=np.full(8, 4, np.uint8))},
            r"suppress_scope must be in \[0, 3\], got 4 at \[0\]",
        ),
        (
            lambda c: {"candidates": c["candidates"]._replace(topic=np.full(8, 4, np.int32))},
            "topic must be in",
        ),
        (
            lambda c: {"candidates": c["candidates"]._replace(type=np.full(8, -1, np.int32))},
            "type must be in",
        ),
        (circle, "must lie within their arrays"),
        (
            lambda c: {"snapshot_sends": c["snapshot_sends"]._replace(offsets=np.arange(13) * 10)},
            "must lie within their arrays",
        ),
        (
            lambda c: {"snapshot_sends": c["snapshot_sends"]._replace(topic=np.full(5, 4, np.int32))},
            "must lie within their arrays",
        ),
        (read_only, "reason must be writeable"),
    ],
)
def test_refuses(change, text):
    case = instance(0)
    with pytest.raises(ContractError, match=text):
        apply_history(**case | change(case))
