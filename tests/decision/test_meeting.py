"""Several threads make one whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from decider.decision.meeting import Meeting


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_whole_is_made_by_the_last_in_the_order_of_places(pool: ThreadPoolExecutor) -> None:
    may_end = threading.Event()
    makers: list[int] = []

    def first() -> str:
        assert may_end.wait(10.0)
        makers.append(threading.get_ident())
        return "a"

    def whole(parts: list[str]) -> str:
        makers.append(threading.get_ident())
        return "".join(parts)

    meeting = Meeting(3, whole)
    meeting.bring(pool, 0, first)
    meeting.bring(pool, 2, lambda: "c")
    meeting.bring(pool, 1, lambda: "b")
    assert not meeting.made.done()
    may_end.set()
    assert meeting.made.result(10.0) == "abc"
    assert len(makers) == 2
    assert makers[0] == makers[1]


def test_nothing_may_be_none(pool: ThreadPoolExecutor) -> None:
    meeting = Meeting(2, len)
    for place in range(2):
        meeting.bring(pool, place, lambda: None)
    assert meeting.made.result(10.0) == 2


def test_an_error_of_a_part_or_of_the_whole_is_told(pool: ThreadPoolExecutor) -> None:
    def fail(*_: object) -> int:
        raise ValueError("broken")

    of_part = Meeting(3, len)
    for place, part in enumerate((int, fail, fail)):
        of_part.bring(pool, place, part)
    of_whole = Meeting(1, fail)
    of_whole.bring(pool, 0, int)
    for meeting in (of_part, of_whole):
        with pytest.raises(ValueError, match="broken"):
            meeting.made.result(10.0)


def test_a_whole_that_nobody_wants_is_not_made(pool: ThreadPoolExecutor) -> None:
    made: list[list[int]] = []
    may_end = threading.Event()
    meeting = Meeting(1, made.append)
    meeting.bring(pool, 0, lambda: int(may_end.wait(10.0)))
    assert meeting.made.cancel()
    may_end.set()
    pool.shutdown()
    assert made == []
    with pytest.raises(CancelledError):
        meeting.made.result(0.0)
