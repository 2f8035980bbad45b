"""Decide calls that wait are decided together, and each is answered for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest

from decider.decision.request import MemberRequest
from decider.decision.together import Outcome
from decider.errors import Unavailable

from .conftest import decide_request
from .fake import Engine


class Gate:
    """The fake engine behind a gate: tells which requests came together."""

    def __init__(self, engine: Engine) -> None:
        self.open, self.groups = threading.Event(), []
        self._engine, self._decide = engine, engine.decide_together

    def __call__(self, requests: Sequence[MemberRequest]) -> list[Outcome]:
        self.groups.append([request.request_id for request in requests])
        assert self.open.wait(10)
        return self._decide(requests)


@pytest.fixture
def gate(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(engine)
    monkeypatch.setattr(engine, "decide_together", gate)
    yield gate
    gate.open.set()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def ask(stub: Any, *names: str, **changes: object) -> list[Any]:
    return [stub.Decide.future(decide_request(request_id=name, **changes)) for name in names]


def test_what_comes_while_the_engine_is_busy_is_the_next_group(stub: Any, gate: Gate, server: Any) -> None:
    (first,) = ask(stub, "r0")
    wait_until(lambda: gate.groups == [["r0"]])
    rest = ask(stub, "r1", "r2", "r3")
    (wrong,) = ask(stub, "")
    assert wrong.exception(10).code() is grpc.StatusCode.INVALID_ARGUMENT
    wait_until(lambda: server.metrics.n_in_flight == 4)
    assert not any(call.done() for call in (first, *rest))
    gate.open.set()
    assert [call.result(10).decision.messages[0].candidate for call in (first, *rest)] == ["mens@email"] * 4
    assert [sorted(group) for group in gate.groups] == [["r0"], ["r1", "r2", "r3"]]


def test_one_request_that_is_wrong_does_not_harm_the_others(stub: Any, gate: Gate, server: Any) -> None:
    first = ask(stub, "r0")
    wait_until(lambda: gate.groups == [["r0"]])
    good, unknown = *ask(stub, "r1"), *ask(stub, "r2", policy="nobody")
    wait_until(lambda: server.metrics.n_in_flight == 3)
    gate.open.set()
    assert unknown.exception(10).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert good.result(10).decision.messages
    assert first[0].result(10).decision.messages
    assert len(gate.groups) == 2


def test_a_caller_that_left_keeps_nobody_waiting(stub: Any, gate: Gate, server: Any) -> None:
    first = ask(stub, "r0")
    wait_until(lambda: gate.groups == [["r0"]])
    left, stays = ask(stub, "r1", "r2")
    wait_until(lambda: server.metrics.n_in_flight == 3)
    left.cancel()
    wait_until(lambda: server.metrics.n_in_flight == 2)
    gate.open.set()
    assert stays.result(10).decision.messages
    assert first[0].result(10).decision.messages
    wait_until(lambda: server.metrics.n_in_flight == 0)


class Ticket:
    """A place in a log whose disk is slow, and may fail."""

    def __init__(self, sequence: int, disk: threading.Event, *, fails: bool = False) -> None:
        self.sequence, self._disk, self._fails = sequence, disk, fails

    def wait(self, timeout: float | None = None) -> None:
        assert self._disk.wait(10)
        if self._fails:
            raise Unavailable("the disk is full")


@pytest.mark.parametrize("fails", [False, True])
def test_nobody_hears_of_a_decision_before_it_is_durable(
    stub: Any, gate: Gate, engine: Engine, server: Any, fails: bool
) -> None:
    disk = threading.Event()
    tickets = {"r1": Ticket(1, disk), "r2": Ticket(2, disk, fails=fails)}
    plain = gate._decide

    def with_tickets(requests: Sequence[MemberRequest]) -> list[Outcome]:
        outcomes = zip(requests, plain(requests), strict=True)
        return [replace(outcome, ticket=tickets.get(request.request_id)) for request, outcome in outcomes]

    gate._decide = with_tickets
    first = ask(stub, "r0")
    wait_until(lambda: gate.groups == [["r0"]])
    one, two = ask(stub, "r1", "r2")
    wait_until(lambda: server.metrics.n_in_flight == 3)
    gate.open.set()
    assert first[0].result(10).decision.messages
    time.sleep(0.05)
    assert not one.done()
    assert not two.done()
    disk.set()
    assert one.result(10).decision.messages
    if fails:
        assert two.exception(10).code() is grpc.StatusCode.UNAVAILABLE
    else:
        assert two.result(10).decision.messages
