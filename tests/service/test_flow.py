"""The hand-over between threads."""

from __future__ import annotations

import threading

import pytest

from decider.service.flow import BrokenOff, Closed, Flow


def test_items_come_in_order_then_the_end() -> None:
    flow = Flow[int](3, 1.0)
    for item in range(3):
        flow.put(item)
    flow.close()
    assert [flow.take(1.0) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Closed):
        flow.take(1.0)


def test_an_error_comes_after_the_items() -> None:
    flow = Flow[int](3, 1.0)
    flow.put(1)
    flow.close(RuntimeError("late"))
    assert flow.take(1.0) == 1
    with pytest.raises(RuntimeError, match="late"):
        flow.take(1.0)


def test_the_giver_waits_for_room_and_no_longer_than_it_must() -> None:
    flow = Flow[int](1, 0.05)
    flow.put(1)
    with pytest.raises(BrokenOff, match=r"nothing was taken for 0\.05 s"):
        flow.put(2)


def test_a_full_flow_takes_the_next_item_once_there_is_room() -> None:
    flow = Flow[int](1, 10.0)
    flow.put(1)
    giver = threading.Thread(target=flow.put, args=(2,))
    giver.start()
    assert flow.take(10.0) == 1
    assert flow.take(10.0) == 2
    giver.join()


def test_nothing_comes_in_time() -> None:
    assert Flow[int](1, 1.0).take(0.01) is None


def test_stopping_frees_both_sides() -> None:
    flow = Flow[int](1, 10.0)
    taken: list[str] = []

    def take() -> None:
        try:
            flow.take(10.0)
        except BrokenOff:
            taken.append("stopped")

    taker = threading.Thread(target=take)
    taker.start()
    flow.stop()
    taker.join(10.0)
    assert taken == ["stopped"]
    with pytest.raises(BrokenOff):
        flow.put(1)
