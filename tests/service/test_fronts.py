"""Front processes before an engine: every call comes through as if there were none."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from decider.errors import Conflict, InvalidInput, NotFound
from decider.models import Registry
from decider.service.batch_client import BatchOptions
from decider.service.client import DeciderClient
from decider.service.fronts import FrontedServer, build_fronts
from decider.service.link import Answer, Call, Frames, answers_frame, call_frame
from decider.service.server import SERVICES

from .conftest import NOON, SETTINGS, decide_request
from .fake import MEMBERS, Engine

DECIDE = "/decider.v1.DecisionService/Decide"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def fronted(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontedServer]:
    server = build_fronts(engine, Registry(tmp_path_factory.mktemp("models")), SETTINGS, 2)
    server.start()
    yield server
    server.stop(1.0)


@pytest.fixture
def client(fronted: FrontedServer) -> Iterator[DeciderClient]:
    with DeciderClient(f"127.0.0.1:{fronted.port}") as client:
        yield client


@pytest.fixture
def channel(fronted: FrontedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{fronted.port}") as channel:
        yield channel


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_decisions_and_errors_come_through(client: DeciderClient, channel: grpc.Channel) -> None:
    first = client.decide(102, request_id="r1", decision_time=NOON, trace=True)
    assert [message.candidate for message in first.messages] == ["mens@email"]
    assert len(first.trace) == 2
    assert client.decide(102, request_id="r1", decision_time=NOON).already_decided
    with pytest.raises(Conflict, match="request_id"):
        client.decide(104, request_id="r1", decision_time=NOON)
    with pytest.raises(NotFound, match="member_id"):
        client.decide(5, request_id="r2", decision_time=NOON)
    with pytest.raises(InvalidInput, match="request_id must have 1 to 200 characters"):
        client.decide(102, request_id="", decision_time=NOON)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(DECIDE)(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_many_callers_each_get_their_own_answer(fronted: FrontedServer) -> None:
    clients = [DeciderClient(f"127.0.0.1:{fronted.port}") for _ in range(4)]

    def ask(place: int) -> tuple[int, Any]:
        member = MEMBERS[place % len(MEMBERS)]
        return member, clients[place % 4].decide(member, request_id=f"many-{place}", decision_time=NOON)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(600)))
    assert all(decision.member_id.number == member for member, decision in answers)
    assert all(bool(decision.messages) == (member % 2 == 0) for member, decision in answers)
    for client in clients:
        client.close()


def test_every_other_method_is_relayed(client: DeciderClient, channel: grpc.Channel, engine: Engine) -> None:
    decision = client.decide(102, request_id="explained", decision_time=NOON)
    assert client.explain(decision.decision_id).reproduced
    with pytest.raises(NotFound, match="decision_id"):
        client.explain("nothing-0")
    options = BatchOptions(request_id="batch", decision_time=NOON)
    assert client.batch_decide(list(MEMBERS), options).finish().member_count == len(MEMBERS)
    with pytest.raises(InvalidInput, match="must name a member"):
        client.batch_decide([5], BatchOptions(request_id="unknown", decision_time=NOON)).finish()
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", *SERVICES):
        status = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    assert set(SERVICES) <= set(ProtoReflectionDescriptorDatabase(channel).get_services())
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/decider.v1.DecisionService/Nothing")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_calls_are_counted_by_the_engine(fronted: FrontedServer, client: DeciderClient) -> None:
    value = lambda code: fronted.metrics.calls.labels("Decide", code)._value.get()  # noqa: E731
    good, bad = value("OK"), value("NOT_FOUND")
    client.decide(104, request_id="counted", decision_time=NOON)
    with pytest.raises(NotFound):
        client.decide(5, request_id="counted-not", decision_time=NOON)
    assert (value("OK"), value("NOT_FOUND")) == (good + 1, bad + 1)


def test_a_front_that_dies_is_started_again(fronted: FrontedServer) -> None:
    before = fronted._fronts.pids
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: fronted._fronts.pids[0] != before[0])
    assert fronted._fronts.pids[1] == before[1]

    def answers() -> bool:
        # Each connection comes to one of the fronts by chance.
        with DeciderClient(f"127.0.0.1:{fronted.port}") as client:
            return bool(client.decide(102, request_id="after", decision_time=NOON).messages)

    wait_until(answers)


def test_stopping_finishes_calls_under_way_and_ends_every_process(tmp_path: Path) -> None:
    engine = Engine()
    decide = engine.decide

    def slow(request: Any) -> Any:
        time.sleep(0.5)
        return decide(request)

    engine.decide = slow  # type: ignore[method-assign]
    server = build_fronts(engine, Registry(tmp_path), SETTINGS, 1)
    server.start()
    (pid,) = server._fronts.pids
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary(DECIDE).future(decide_request().SerializeToString(), timeout=10)
        wait_until(lambda: server.metrics.n_in_flight >= 0 and not call.done())
        time.sleep(0.2)
        server.stop(5.0)
        assert call.result(10)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_limit_is_of_a_front_whichever_of_its_servers_took_a_call(tmp_path: Path) -> None:
    engine, go_on = Engine(), Event()
    decide = engine.decide

    def held(request: Any) -> Any:
        assert go_on.wait(20.0)
        return decide(request)

    engine.decide = held  # type: ignore[method-assign]
    server = build_fronts(engine, Registry(tmp_path), replace(SETTINGS, max_concurrent_rpcs=5), 1)
    server.start()
    own = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        stack.callback(server.stop, 5.0)
        stack.callback(go_on.set)
        channels = [
            stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}", own)) for _ in range(12)
        ]
        watch = health_pb2_grpc.HealthStub(channels[0]).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        next(watch)

        def ask(channels: list[grpc.Channel], name: str) -> list[Any]:
            requests = [decide_request(request_id=f"{name}-{place}") for place in range(len(channels))]
            return [
                channel.unary_unary(DECIDE).future(request.SerializeToString(), timeout=20)
                for channel, request in zip(channels, requests, strict=True)
            ]

        calls = ask(channels, "limit")
        wait_until(lambda: sum(call.done() for call in calls) >= 8)
        time.sleep(0.2)
        refused = [call for call in calls if call.done()]
        assert {call.code() for call in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        go_on.set()
        assert sum(call.exception(20) is None for call in calls) == 4
        # Places are left again, by calls that were answered and by those whose callers went.
        watch.cancel()
        wait_until(lambda: all(call.exception(20) is None for call in ask(channels[:5], "again")))


def test_a_taken_port_is_a_clear_error(engine: Engine, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = replace(SETTINGS, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(InvalidInput, match="listen must be an address and a free port"):
            build_fronts(engine, Registry(tmp_path), settings, 1)


def test_services_with_fronts_share_a_port_when_told_to(engine: Engine, tmp_path: Path) -> None:
    settings = replace(SETTINGS, reuse_port=True)
    first = build_fronts(engine, Registry(tmp_path), settings, 1)
    try:
        second = build_fronts(
            engine, Registry(tmp_path), replace(settings, listen=f"127.0.0.1:{first.port}"), 1
        )
        second.stop(0.0)
    finally:
        first.stop(0.0)
    assert second.port == first.port


def test_frames_survive_any_cut() -> None:
    calls = [Call(place, bytes([place]) * (place * 37)) for place in range(20)]
    answers = [Answer(1, b"yes"), Answer(2, b"", b"status")]
    sent = b"".join(call_frame(*call) for call in calls)
    for step in (1, 3, 7, 1000, len(sent)):
        frames, got = Frames(), []
        for at in range(0, len(sent), step):
            got += frames.calls(sent[at : at + step])
        assert got == calls
    assert Frames().answers(answers_frame(answers)) == answers
