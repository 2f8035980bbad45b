"""The server as a whole: health, reflection, metrics, overload, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from decider.errors import DeciderError, InvalidInput
from decider.models import Registry
from decider.service.client import DeciderClient
from decider.service.fronts import build_fronts
from decider.service.listening import N_SERVERS
from decider.service.server import SERVICES, Server, build_server

from .conftest import NOON, SETTINGS
from .fake import Engine

ROOT = Path(__file__).parents[2]


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_client_needs_nothing_of_ours_but_reflection(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    names = set(database.get_services())
    assert names == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    pool = DescriptorPool(database)
    methods = {
        service: [method.name for method in pool.FindServiceByName(service).methods] for service in SERVICES
    }
    assert methods == {
        "decider.v1.DecisionService": ["Decide", "BatchDecide", "ExplainDecision"],
        "decider.v1.FeedbackService": ["RecordEvents", "RecordEventStream"],
        "decider.v1.ModelService": ["ListModels", "GetModel", "PublishModel", "RollBackModel", "Reload"],
    }
    decide = pool.FindServiceByName("decider.v1.DecisionService").FindMethodByName("Decide")
    request = GetMessageClass(decide.input_type)()
    request.member_id.number = 102
    request.request_id = "from-another-language"
    request.decision_time.seconds = int(NOON.timestamp())
    answer = channel.unary_unary(
        f"/{decide.containing_service.full_name}/{decide.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(decide.output_type).FromString,
    )(request, timeout=10)
    (message,) = answer.decision.messages
    assert message.candidate == "mens@email"


def test_health_tells_of_every_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", *SERVICES):
        status = stub.Check(health_pb2.HealthCheckRequest(service=service)).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_watchers_hear_of_the_end_and_hold_no_thread(serve: Callable[..., Server]) -> None:
    server = serve(max_concurrent_rpcs=8)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(4)]
        assert {next(watch).status for watch in watches} == {health_pb2.HealthCheckResponse.SERVING}
        with DeciderClient(f"127.0.0.1:{server.port}") as client:
            assert client.decide(102, request_id="r", decision_time=NOON).messages
        stopping = threading.Thread(target=server.stop, args=(0.5,))
        stopping.start()
        assert next(watches[0]).status == health_pb2.HealthCheckResponse.NOT_SERVING
        stopping.join()


def test_the_metrics_page_counts_calls_decisions_and_events(serve: Callable[..., Server]) -> None:
    server = serve(metrics_port=0)
    with DeciderClient(f"127.0.0.1:{server.port}") as client:
        client.decide(102, request_id="r1", decision_time=NOON)
        with pytest.raises(InvalidInput):
            client.decide(102, request_id="", decision_time=NOON)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as page:
        text = page.read().decode()
    assert 'decider_calls_total{code="OK",method="Decide"} 1.0' in text
    assert 'decider_calls_total{code="INVALID_ARGUMENT",method="Decide"} 1.0' in text
    assert 'decider_decisions_total{stratum="exploit"} 1.0' in text
    assert 'decider_sends_total{channel="email"} 1.0' in text
    assert 'decider_call_seconds_count{method="Decide"} 2.0' in text
    assert "decider_calls_in_flight 0.0" in text


def test_calls_beyond_the_limit_are_refused_and_retried(
    serve: Callable[..., Server], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(max_concurrent_rpcs=2)
    go_on, decide = threading.Event(), engine.decide

    def slow(request: Any) -> Any:
        go_on.wait(10)
        return decide(request)

    monkeypatch.setattr(engine, "decide", slow)
    with DeciderClient(f"127.0.0.1:{server.port}") as client, ThreadPoolExecutor(4) as pool:
        ask = lambda n: client.decide(102, request_id=f"r{n}", decision_time=NOON)  # noqa: E731
        first = [pool.submit(ask, n) for n in range(2)]
        wait_until(lambda: server.metrics.n_in_flight == 2)
        late = [pool.submit(ask, n) for n in range(2, 4)]
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            with pytest.raises(grpc.RpcError) as caught:
                check(health_pb2.HealthCheckRequest())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        assert all(call.result(10).messages for call in (*first, *late))


def test_a_taken_port_is_a_clear_error(engine: Engine, registry: Registry) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = replace(SETTINGS, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(InvalidInput, match="listen must be an address and a free port"):
            build_server(engine, registry, settings)


def test_a_port_is_shared_with_no_process_that_was_not_told_to(
    serve: Callable[..., Server], engine: Engine, registry: Registry
) -> None:
    first = serve()
    settings = replace(SETTINGS, listen=f"127.0.0.1:{first.port}")
    with pytest.raises(InvalidInput, match="listen must be an address and a free port"):
        build_server(engine, registry, settings)
    with pytest.raises(InvalidInput, match="listen must be an address and a free port"):
        build_fronts(engine, registry, settings, 1)
    with DeciderClient(f"127.0.0.1:{first.port}") as client:
        assert client.decide(102, request_id="before", decision_time=NOON).messages
        first.stop(0.0)
    # Connections that have just ended are no hindrance.
    again = serve(listen=settings.listen)
    with DeciderClient(f"127.0.0.1:{again.port}") as client:
        assert client.decide(102, request_id="after", decision_time=NOON).messages


def test_every_connection_is_served_whichever_server_took_it(serve: Callable[..., Server]) -> None:
    server = serve()
    with ExitStack() as stack:
        for place in range(4 * N_SERVERS):
            client = stack.enter_context(DeciderClient(f"127.0.0.1:{server.port}"))
            assert client.decide(102, request_id=f"r{place}", decision_time=NOON).messages


def test_each_client_has_a_connection_of_its_own() -> None:
    def ask(client: DeciderClient) -> None:
        with pytest.raises(DeciderError):
            client.decide(102, request_id="r", decision_time=NOON)

    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(10.0)
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        clients = [
            stack.enter_context(DeciderClient(target, timeout_seconds=2.0, retries=False)) for _ in range(3)
        ]
        asking = [pool.submit(ask, client) for client in clients]
        # Held open, so that none is made in place of another.
        for _ in clients:
            stack.enter_context(listener.accept()[0])
        for each in asking:
            each.result(20)


def test_two_servers_share_a_port_when_told_to(serve: Callable[..., Server]) -> None:
    first = serve(reuse_port=True)
    second = serve(reuse_port=True, listen=f"127.0.0.1:{first.port}")
    assert first.port == second.port


PROGRAM = """
import sys, time
from pathlib import Path
from dataclasses import replace
sys.path[:0] = [{tests!r}]
from decider.models import Registry
from decider.service.server import build_server, serve
from service.conftest import SETTINGS
from service.fake import Engine

engine = Engine()
decide = engine.decide
def slow(request):
    print("deciding", flush=True)
    time.sleep(1.0)
    return decide(request)
engine.decide = slow
server = build_server(engine, Registry(Path({registry!r})), SETTINGS)
print(server.port, flush=True)
def reload():
    print("reloaded", flush=True)
    raise RuntimeError("the new parts are bad")
serve(server, reload, lambda: print("closed", flush=True))
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    program = textwrap.dedent(PROGRAM).format(tests=str(ROOT / "tests"), registry=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    yield process
    process.kill()
    process.communicate()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    pytest.fail(f"the process ended without {word!r}")


def ask(port: int, at: datetime = NOON) -> Any:
    with DeciderClient(f"127.0.0.1:{port}") as client:
        return client.decide(102, request_id="r1", decision_time=at)


def test_sigterm_finishes_calls_under_way_then_closes(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, port)
        read_until(process, "deciding")
        process.send_signal(signal.SIGTERM)
        assert call.result(10).messages
    read_until(process, "closed")
    assert process.wait(10) == 0


def test_sighup_reloads_and_a_refused_reload_changes_nothing(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    port = int(process.stdout.readline())
    read_until(process, "serving")
    process.send_signal(signal.SIGHUP)
    read_until(process, "reload refused")
    assert ask(port).messages
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_what_is_there_for_good_is_out_of_the_collectors_rounds() -> None:
    program = """
import gc
from decider.service.heap import made_to_stay, settle_heap
rounds = []
gc.callbacks.append(lambda phase, told: rounds.append(phase))
usual = gc.get_threshold()
try:
    with made_to_stay():
        import decider.service.start
        held = [[place] for place in range(1000)]
        assert not rounds
        raise KeyError
except KeyError:
    assert gc.get_threshold() == usual
    assert len(rounds) < 4, "what there is was gone over, and nothing of it is garbage"
assert gc.get_freeze_count() > 10_000
assert not any(each is held for each in gc.get_objects())
loop = []
loop.append(loop)
gc.freeze()
del loop
settle_heap()
assert rounds
assert gc.get_freeze_count() > 10_000
gc.unfreeze()
assert any(each is held for each in gc.get_objects())
class Garbage:
    n_left = 0
    def __init__(self):
        self.itself = self
        Garbage.n_left += 1
    def __del__(self):
        Garbage.n_left -= 1
with made_to_stay():
    for _ in range(700_000):
        Garbage()
    assert Garbage.n_left < 600_000, "garbage gathers while much of it is made"
assert not Garbage.n_left, "garbage is kept for good"
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=100)
