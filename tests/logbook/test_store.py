"""The logbook keeps what it acknowledged, once, in order, and refuses the rest by name."""

from __future__ import annotations

import gc
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from decider import errors
from decider.logbook import singles
from decider.logbook.database import SCHEMA_VERSION
from decider.logbook.schema import EventType, HistoryEntry, HistoryKind, decision_id, run_id_of
from decider.logbook.singles import Appended
from decider.logbook.store import Logbook

from . import records


def test_decision_comes_back_bit_for_bit_after_reopening(tmp_path: Path) -> None:
    record = records.decision(theta=0.1 + 0.2, member_id=2**63 - 1)
    with Logbook.open(tmp_path) as logbook:
        appended = logbook.append_decision(record)
        appended.wait()
        assert appended.sequence == 1
        assert appended.is_new
    with Logbook.open(tmp_path) as logbook:
        assert logbook.find_request("r1") == record
        assert logbook.get_decision(record.decision_id) == record
        assert logbook.has_decision(record.decision_id)
        assert logbook.last_sequence == 1


@pytest.mark.parametrize("durable", [False, True])
def test_retry_gives_the_first_record(tmp_path: Path, durable: bool) -> None:
    first = records.decision()
    with Logbook.open(tmp_path) as logbook:
        appended = logbook.append_decision(first)
        if durable:
            appended.wait()
        retry = logbook.append_decision(records.decision(theta=9.0))
        assert retry.record == first
        assert not retry.is_new
        assert retry.sequence == appended.sequence
        retry.wait()
        assert logbook.last_sequence == 1


@pytest.mark.parametrize("durable", [False, True])
def test_request_id_with_another_body_is_refused(tmp_path: Path, durable: bool) -> None:
    with Logbook.open(tmp_path) as logbook:
        appended = logbook.append_decision(records.decision())
        if durable:
            appended.wait()
        with pytest.raises(errors.Conflict, match="request_id 'r1' was used before with another body"):
            logbook.append_decision(records.decision(request_digest="other"))


def test_find_request_sees_what_is_queued_only_once_it_is_durable(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        blocker = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        appended = logbook.append_decision(records.decision())
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(logbook.find_request, "r1")
            with pytest.raises(errors.Unavailable, match=r"not on disk after 0\.05 s"):
                appended.wait(timeout=0.05)
            assert not found.done()
            blocker.execute("ROLLBACK")
            blocker.close()
            assert found.result() == records.decision()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ordinal": 1}, "ordinal must be 0 for a single decision, got 1"),
        ({"decision_id": "x-0"}, "decision_id must be .*, got 'x-0'"),
        ({"decision_time_micros": -1}, "decision_time_micros must be in 0..*, got -1"),
        ({"propensity": 0.0}, r"propensity must be in \(0, 1\], got 0\.0"),
        ({"propensity": float("nan")}, r"propensity must be in \(0, 1\], got nan"),
        ({"propensity": None}, "propensity_kind must be 'deferred'"),
    ],
)
def test_wrong_decision_is_refused(tmp_path: Path, changes: dict[str, object], match: str) -> None:
    with Logbook.open(tmp_path) as logbook:
        with pytest.raises(errors.InvalidInput, match=match):
            logbook.append_decision(records.decision(**changes))  # type: ignore[arg-type]
        assert logbook.last_sequence == 0


def test_many_threads_get_contiguous_sequences_and_no_double(tmp_path: Path) -> None:
    n_requests, n_threads = 400, 8
    start = threading.Barrier(n_threads)

    def append(_: int) -> list[tuple[str, int]]:
        start.wait()
        got = []
        for place in range(n_requests):
            appended = logbook.append_decision(records.decision(f"r{place}"))
            appended.wait()
            got.append((appended.record.request_id, appended.sequence))
        return got

    with Logbook.open(tmp_path) as logbook, ThreadPoolExecutor(n_threads) as pool:
        answers = list(pool.map(append, range(n_threads)))
    assert all(answer == answers[0] for answer in answers)
    assert sorted(dict(answers[0]).values()) == list(range(1, n_requests + 1))


def test_sequences_go_on_after_reopening(tmp_path: Path) -> None:
    for place in range(3):
        with Logbook.open(tmp_path) as logbook:
            assert logbook.append_decision(records.decision(f"r{place}")).sequence == 2 * place + 1
            logbook.append_events([records.event(f"e{place}")])
            assert logbook.last_sequence == 2 * place + 2


def test_unknown_decision(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.append_decision(records.decision()).wait()
        for wrong in (
            "",
            "x",
            "x-0",
            decision_id("r1", 1),
            decision_id("r1") + "0",
            "r" * 24 + "-" + "9" * 9999,
        ):
            assert not logbook.has_decision(wrong)
            with pytest.raises(errors.NotFound, match="decision_id names no known decision"):
                logbook.get_decision(wrong)
        assert logbook.find_request("r2") is None


def test_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.append_decision(records.decision()).wait()
        with pytest.raises(errors.NotReady, match=r"is open for writing in process \d+"):
            Logbook.open(tmp_path)
        with Logbook.open(tmp_path, read_only=True) as reader:
            assert reader.find_request("r1") == records.decision()
            with pytest.raises(errors.NotReady, match="open for reading only"):
                reader.append_decision(records.decision("r2"))
    with Logbook.open(tmp_path) as logbook:
        assert logbook.last_sequence == 1


def test_reading_what_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(errors.NotReady, match="does not exist"):
        Logbook.open(tmp_path / "none", read_only=True)


@pytest.mark.parametrize(("version", "age"), [(SCHEMA_VERSION + 1, "newer"), (SCHEMA_VERSION - 1, "older")])
def test_other_schema_is_refused_by_name(tmp_path: Path, version: int, age: str) -> None:
    Logbook.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "log.sqlite")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(errors.CorruptArtifact, match=rf"log\.sqlite .*version {version} is {age}"):
            Logbook.open(tmp_path, read_only=read_only)


def test_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_bytes(b"not a database, but long enough to look at" * 20)
    with pytest.raises(errors.CorruptArtifact, match=r"log\.sqlite is refused"):
        Logbook.open(tmp_path)
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    (tmp_path / "other.sqlite").replace(tmp_path / "log.sqlite")
    with pytest.raises(errors.CorruptArtifact, match="application id must be"):
        Logbook.open(tmp_path)


def test_flipped_bit_in_a_row_is_noticed(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.append_decision(records.decision()).wait()
        logbook.append_decision(records.decision("r2")).wait()
        assert logbook.verify() == 2
    path = tmp_path / "log.sqlite"
    content = bytearray(path.read_bytes())
    place = content.rindex(b"Europe/Paris")
    content[place] ^= 1
    path.write_bytes(content)
    with Logbook.open(tmp_path) as logbook:
        with pytest.raises(errors.CorruptArtifact, match=r"decision \w+-0 must have CRC-32"):
            logbook.verify()
        found = []
        for name in ("r1", "r2"):
            try:
                found.append(logbook.find_request(name))
            except errors.CorruptArtifact:
                continue
        assert len(found) == 1


def test_closed_logbook_says_so(tmp_path: Path) -> None:
    logbook = Logbook.open(tmp_path)
    waiting = logbook.append_decision(records.decision())
    logbook.close()
    logbook.close()
    waiting.wait(timeout=0)
    with pytest.raises(errors.NotReady, match="is closed"):
        logbook.append_decision(records.decision("r2"))
    with pytest.raises(errors.NotReady, match="is closed"):
        logbook.find_request("r2")


def test_history_tells_sends_and_opt_outs_in_order(tmp_path: Path) -> None:
    hour = records.HOUR
    with Logbook.open(tmp_path) as logbook:
        logbook.append_decision(records.decision("r1", sent=("mens@email", "top@push"), time_micros=hour))
        logbook.append_decision(records.decision("r2", sent=(), time_micros=hour))
        logbook.append_decision(records.decision("r3", member_id="anna", time_micros=5 * hour))
        told = logbook.append_events(
            [
                records.event("e1", EventType.SENT, decision_id=decision_id("r1")),
                records.event("e2", EventType.UNSUBSCRIBED, decision_id=decision_id("r1")),
                records.event("e3", EventType.SENT, decision_id=None, member_id=8, candidate="top@push"),
                records.event(
                    "e4", EventType.COMPLAINED, decision_id=decision_id("r1"), candidate="top@push"
                ),
                records.event("e5", EventType.CLICKED),
            ]
        ).history
        send, out = HistoryKind.SEND, HistoryKind.OPT_OUT
        events = [
            HistoryEntry(5, 7, 2 * hour, "mens@email", out),
            HistoryEntry(5, 7, 2 * hour, "top@push", out),
            HistoryEntry(6, 8, 2 * hour, "top@push", send),
            HistoryEntry(7, 7, 2 * hour, "top@push", out),
        ]
        assert told == events
        assert records.history_entries(logbook) == [
            HistoryEntry(1, 7, hour, "mens@email", send),
            HistoryEntry(1, 7, hour, "top@push", send),
            HistoryEntry(3, "anna", 5 * hour, "mens@email", send),
            *events,
        ]
        late = records.history_entries(logbook, 3 * hour)
        assert [entry.sequence for entry in late] == [3, 5, 5, 7]


def test_history_holds_what_is_still_queued(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        for count in range(1, 50):
            logbook.append_decision(records.decision(f"r{count}"))
            assert len(records.history_entries(logbook)) == count
            assert logbook.last_sequence == count


def test_frames_hold_every_decision_and_event(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        logbook.append_decision(records.decision("r1", sent=("mens@email", "top@push")))
        logbook.append_decision(records.decision("r2", sent=(), propensity=None, propensity_kind="deferred"))
        logbook.append_decision(records.decision("r3", member_id="anna"))
        logbook.append_events([records.event("e1", value=2), records.event("e2", member_id=7)])
        integer, string = logbook.decision_frames()
        assert integer["member_id"].to_list() == [7, 7]
        assert integer["candidates"].to_list() == [["mens@email", "top@push"], []]
        assert integer["propensity"].to_list() == [0.5, None]
        assert string["member_id"].to_list() == ["anna"]
        assert string["theta"].to_list() == [float("-inf")]
        without, with_member = logbook.event_frames()
        assert without["value"].to_list() == [2.0]
        assert with_member["member_id"].to_list() == [7]
        assert not list(logbook.event_frames(since_micros=3 * records.HOUR))
        first, second = without["sequence"].item(), with_member["sequence"].item()
        for after, until, names in ((0, first, ["e1"]), (first, second, ["e2"]), (second, 2**62, [])):
            stretch = logbook.event_frames(after_sequence=after, until_sequence=until)
            assert [name for frame in stretch for name in frame["event_id"]] == names


def test_many_at_once_are_one_transaction_and_conflicts_stand_alone(tmp_path: Path) -> None:
    with Logbook.open(tmp_path) as logbook:
        first = logbook.append_decision(records.decision("r1"))
        logbook.start_run(records.run("bulk"))
        found = logbook.find_requests([run_id_of(name) for name in ("r1", "r2", "bulk")])
        assert set(found.known) == {run_id_of("r1")}
        other = records.decision("r1", request_digest="other")
        some = [records.decision("r2"), other, records.decision("bulk"), records.decision("r3")]
        two, conflict, taken, three = logbook.append_decisions(some, found)
        assert isinstance(conflict, errors.Conflict)
        assert isinstance(taken, errors.Conflict)
        assert isinstance(two, Appended)
        assert isinstance(three, Appended)
        assert [two.is_new, three.is_new] == [True, True]
        assert [first.sequence, two.sequence, three.sequence] == [1, 2, 3]
        # What was found before is stale by now, and must not hide what was appended since.
        (again,) = logbook.append_decisions([records.decision("r2", theta=9.0)], found)
        assert isinstance(again, Appended)
        assert not again.is_new
        assert again.wait() == some[0]
        assert logbook.last_sequence == 3


def test_what_was_found_long_ago_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singles, "RECENT", 3)
    with Logbook.open(tmp_path) as logbook:
        found = logbook.find_requests([run_id_of("r0"), run_id_of("bulk")])
        for place in range(8):
            logbook.append_decision(records.decision(f"r{place}")).wait()
        (again,) = logbook.append_decisions([records.decision("r0")], found)
        assert isinstance(again, Appended)
        assert not again.is_new
        found = logbook.find_requests([run_id_of("bulk")])
        logbook.start_run(records.run("bulk"))
        (conflict,) = logbook.append_decisions([records.decision("bulk")], found)
        assert isinstance(conflict, errors.Conflict)


def test_what_a_server_keeps_is_out_of_the_collectors_sight() -> None:
    record = records.decision()
    assert not gc.is_tracked(record)
    assert not gc.is_tracked(record.messages[0])
