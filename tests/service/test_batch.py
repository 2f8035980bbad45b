"""BatchDecide over a real socket: results, order, limits, and clients that go away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import polars as pl
import pytest

from decider.decision.request import Budget
from decider.errors import InvalidInput, Overloaded
from decider.logbook.schema import run_id_of
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.columns import write_members
from decider.service.server import Server
from decider.v1 import decision_service_pb2, decision_service_pb2_grpc, run_pb2

from .conftest import NOON
from .fake import MEMBERS, SEGMENT, Engine
from .test_bad_input import violations_of

Request = decision_service_pb2.BatchDecideRequest
ALL = list(MEMBERS)


def options(**changes: Any) -> BatchOptions:
    return BatchOptions(request_id="run", decision_time=NOON, **changes)


def header(**changes: Any) -> Request:
    request = Request(header=decision_service_pb2.BatchHeader(request_id="run", **changes))
    request.header.decision_time.FromDatetime(NOON)
    return request


def rows(*ids: int) -> Request:
    request = Request()
    for member_id in ids:
        request.rows.member_ids.add(number=member_id)
    return request


def end(n_members: int) -> Request:
    return Request(end=decision_service_pb2.BatchEnd(member_count=n_members))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < deadline, "it did not come true within 10 s"
        time.sleep(0.01)


def test_all_members_are_answered_in_order(client: DeciderClient) -> None:
    answers = client.batch_decide(ALL, options())
    table = pl.concat(list(answers))
    assert table["member_id"].to_list() == ALL
    assert table["decision_id"].to_list() == [f"{run_id_of('run')}-{n}" for n in range(len(ALL))]
    assert table["candidates"].to_list() == [["mens@email"] if member % 2 == 0 else [] for member in ALL]
    assert table["marginal_gain"].to_list() == [[0.5] if member % 2 == 0 else [] for member in ALL]
    assert answers.started is not None
    assert list(answers.started.candidates) == ["mens@email", "mens@push"]
    assert answers.started.run_id == run_id_of("run")
    assert answers.price == 0.0
    assert answers.progress is not None
    assert answers.progress.done_count == len(ALL)
    assert answers.summary is not None
    assert answers.summary.member_count == len(ALL)
    assert answers.summary.volume == len(ALL) // 2
    assert [(c.name, c.count) for c in answers.summary.per_channel] == [("email", 500), ("push", 0)]
    assert answers.resume_token == f"{run_id_of('run')}:1000"


@pytest.mark.parametrize("size", [1, 7, SEGMENT, 500])
def test_the_answer_does_not_depend_on_how_members_are_sent(stub: Any, size: int) -> None:
    def requests() -> Iterator[Request]:
        yield header(result_format=run_pb2.RESULT_FORMAT_ROWS)
        for start in range(0, 500, size):
            yield rows(*ALL[start : min(start + size, 500)])
        yield end(500)

    decisions = [d for answer in stub.BatchDecide(requests()) for d in answer.rows.decisions]
    assert [d.member_id.number for d in decisions] == ALL[:500]
    assert [d.decision_id for d in decisions] == [f"{run_id_of('run')}-{n}" for n in range(500)]
    assert [[m.candidate for m in d.messages] for d in decisions[:2]] == [["mens@email"], []]


def test_answers_hold_no_more_members_than_asked(client: DeciderClient) -> None:
    tables = list(client.batch_decide(ALL, options(max_members_per_answer=10)))
    assert max(table.height for table in tables) == 10
    assert pl.concat(tables)["member_id"].to_list() == ALL


def test_a_volume_is_priced_before_the_first_result(stub: Any) -> None:
    requests = [header(volume=3, result_format=run_pb2.RESULT_FORMAT_ROWS), rows(*ALL), end(len(ALL))]
    answers = [answer.WhichOneof("response") for answer in stub.BatchDecide(iter(requests))]
    assert answers[0] == "started"
    assert answers[1] == "priced"
    assert answers[2] == "rows"
    assert answers[-2:] == ["progress", "summary"]
    assert answers.count("priced") == 1


def test_the_price_of_a_volume_reaches_the_client(client: DeciderClient) -> None:
    answers = client.batch_decide(ALL, options(volume=3, summary_only=True))
    assert list(answers) == []
    assert answers.price == 0.25
    assert answers.summary is not None
    assert answers.summary.volume == 3


def test_the_whole_snapshot_needs_no_members(client: DeciderClient) -> None:
    table = pl.concat(list(client.batch_decide(None, options())))
    assert table["member_id"].to_list() == ALL


def test_a_long_run_tells_how_far_it_is(
    serve: Callable[..., Server], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(progress_seconds=0.02)
    start_run = engine.start_run

    def slow_run(*args: Any) -> Any:
        run = start_run(*args)
        finish = run.finish

        def slowly() -> Iterator[Any]:
            for chunk in finish():
                time.sleep(0.02)
                yield chunk

        monkeypatch.setattr(run, "finish", slowly)
        return run

    monkeypatch.setattr(engine, "start_run", slow_run)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        answers = list(stub.BatchDecide(iter([header(whole_snapshot=True)])))
    told = [a.progress.done_count for a in answers if a.HasField("progress")]
    assert len(told) >= 3
    assert told == sorted(told)


BAD_STREAMS = [
    ("nothing at all", [], "request", "must be a header"),
    ("members first", [rows(100)], "request", "got members"),
    ("an empty request", [Request()], "request", "got nothing"),
    ("a header twice", [header(), header()], "request", "only once"),
    ("no members", [header(), end(0)], "members", "must not be empty"),
    ("an empty chunk", [header(), Request(rows={})], "rows.member_ids", "got 0"),
    ("no end", [header(), rows(100)], "end", "is required"),
    ("another count", [header(), rows(100, 101), end(3)], "end.member_count", "got 3"),
    ("an unknown member", [header(), rows(100, 7)], "rows.member_ids[1]", "got 7"),
    ("a member twice", [header(), rows(100, 101, 100)], "rows.member_ids[2]", "only once"),
    ("a member again", [header(), rows(100), rows(100)], "rows.member_ids[0]", "only once"),
    (
        "both kinds of ids",
        [
            header(),
            Request(rows={"member_ids": [{"number": 100}, {"text": "b"}]}),  # type: ignore[arg-type]
        ],
        "rows.member_ids[1]",
        "must hold a number",
    ),
    ("members of a snapshot", [header(whole_snapshot=True), rows(100)], "request", "whole snapshot"),
    ("an unknown policy", [header(policy="wild"), rows(100), end(1)], "policy", "'wild'"),
    ("a negative volume", [header(volume=-1)], "header.volume", "-1"),
    (
        "no budget",
        [header(budgets={"budgets": []})],
        "header.budgets.budgets",
        "at least one budget, got none",
    ),
    (
        "a budget of nothing",
        [header(budgets={"budgets": [{"channel": "email"}]})],
        "header.budgets.budgets[0]",
        "must give messages or cost",
    ),
    (
        "a negative budget",
        [header(budgets={"budgets": [{"channel": "email", "messages": -2}]})],
        "header.budgets.budgets[0].messages",
        "-2",
    ),
    (
        "a NaN budget",
        [header(budgets={"budgets": [{"channel": "push", "messages": 2}, {"cost": float("nan")}]})],
        "header.budgets.budgets[1].cost",
        "nan",
    ),
    ("a NaN price", [header(price=float("nan"))], "header.price", "nan"),
    ("too many an answer", [header(max_members_per_answer=65_537)], "header.max_members_per_answer", "65537"),
    ("an unknown format", [header(result_format=9)], "header.result_format", "9"),
    ("no time", [Request(header={"request_id": "run"})], "header.decision_time", "nothing"),  # type: ignore[arg-type]
    ("bad Arrow", [header(), Request(columns={"arrow_ipc": b"ARROW1?"})], "columns.arrow_ipc", "7 bytes"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("requests", "field", "text"), [row[1:] for row in BAD_STREAMS], ids=[row[0] for row in BAD_STREAMS]
)
def test_a_bad_stream_names_its_field(
    stub: Any, engine: Engine, client: DeciderClient, requests: list[Request], field: str, text: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.BatchDecide(iter(requests), timeout=10))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in violations_of(caught.value)[field]
    assert all(run.closed and not run.finished for run in engine.runs)
    assert client.batch_decide(ALL, options()).finish().member_count == len(ALL)


def test_price_and_volume_do_not_go_together(client: DeciderClient) -> None:
    with pytest.raises(InvalidInput, match="price must not be given together with volume"):
        client.batch_decide(ALL, options(price=1.0, volume=3))
    with pytest.raises(InvalidInput, match="budgets must not be given together with volume"):
        client.batch_decide(ALL, options(budgets=[Budget(channel="email", messages=1)], volume=3))
    with pytest.raises(InvalidInput, match=r"budgets\[0\] must give either messages or cost"):
        client.batch_decide(ALL, options(budgets=[Budget(channel="email")]))


def test_a_client_that_breaks_off_ends_its_run(stub: Any, engine: Engine, server: Server) -> None:
    go_on = threading.Event()

    def requests() -> Iterator[Request]:
        yield header()
        yield rows(*ALL[:SEGMENT])
        go_on.wait(10)

    call = stub.BatchDecide(requests())
    assert next(call).WhichOneof("response") == "started"
    call.cancel()
    wait_until(lambda: engine.runs[0].closed)
    go_on.set()
    assert not engine.runs[0].finished
    wait_until(lambda: server.metrics.n_in_flight == 0)


def test_a_client_that_stops_reading_stops_the_run(
    serve: Callable[..., Server], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(stall_seconds=0.5)
    n_given = 0

    class Endless:
        def __init__(self, run: Any) -> None:
            self._run = run

        def __getattr__(self, name: str) -> Any:
            return getattr(self._run, name)

        def finish(self) -> Iterator[Any]:
            nonlocal n_given
            (chunk,) = self._run.add(ALL[:SEGMENT])
            while True:
                n_given += 1
                yield chunk

    start_run = engine.start_run
    monkeypatch.setattr(engine, "start_run", lambda *args: Endless(start_run(*args)))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        call = stub.BatchDecide(iter([header(whole_snapshot=True)]))
        next(call)
        wait_until(lambda: engine.runs[0].closed)
        n_when_closed = n_given
        # What fits the windows of HTTP/2 and no more: about 2 KiB each, so far below 64 MiB in all.
        assert n_when_closed < 30_000
        with pytest.raises(grpc.RpcError):
            for _ in call:
                pass
    assert n_given == n_when_closed


def test_more_batches_than_allowed_are_refused_at_once(serve: Callable[..., Server]) -> None:
    server = serve(max_runs=1)
    go_on = threading.Event()

    def requests() -> Iterator[Request]:
        yield header()
        go_on.wait(10)
        yield rows(100)
        yield end(1)

    target = f"127.0.0.1:{server.port}"
    with grpc.insecure_channel(target) as channel, DeciderClient(target) as client:
        first = decision_service_pb2_grpc.DecisionServiceStub(channel).BatchDecide(requests())
        next(first)
        with pytest.raises(Overloaded, match="1 batches are under way"):
            client.batch_decide(ALL, options()).finish()
        assert client.decide(102, request_id="r", decision_time=NOON).messages
        go_on.set()
        assert [a.WhichOneof("response") for a in first][-1] == "summary"
        assert client.batch_decide(ALL, options()).finish().member_count == len(ALL)


def test_columns_travel_as_arrow(stub: Any) -> None:
    columns = Request(columns={"arrow_ipc": write_members(pl.Series(ALL))})  # type: ignore[arg-type]
    answers = list(stub.BatchDecide(iter([header(), columns, end(len(ALL))])))
    table = pl.concat([pl.read_ipc_stream(a.columns.arrow_ipc) for a in answers if a.HasField("columns")])
    assert table["member_id"].to_list() == ALL
    assert sum(a.columns.member_count for a in answers) == len(ALL)
