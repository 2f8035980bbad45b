"""A real server on a free port, before an engine in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from decider.models import Registry
from decider.service.client import DeciderClient
from decider.service.server import Server, build_server
from decider.service.settings import ServiceSettings
from decider.v1 import decision_service_pb2, decision_service_pb2_grpc

from .fake import Engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = ServiceSettings(listen="127.0.0.1:0", max_concurrent_rpcs=16, grace_seconds=5.0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def serve(engine: Engine, registry: Registry) -> Iterator[Callable[..., Server]]:
    """Start a server with changed settings; stopped at the end."""
    servers: list[Server] = []

    def start(**changes: object) -> Server:
        server = build_server(engine, registry, replace(SETTINGS, **changes))  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop(0)


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def client(server: Server) -> Iterator[DeciderClient]:
    with DeciderClient(f"127.0.0.1:{server.port}") as client:
        yield client


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> decision_service_pb2_grpc.DecisionServiceStub:
    return decision_service_pb2_grpc.DecisionServiceStub(channel)


def decide_request(**changes: object) -> decision_service_pb2.DecideRequest:
    """A request that succeeds, with fields changed; None clears a field."""
    request = decision_service_pb2.DecideRequest(request_id="r1")
    request.member_id.number = 102
    request.decision_time.FromDatetime(NOON)
    for name, value in changes.items():
        request.ClearField(name)  # type: ignore[arg-type]
        if value is not None:
            request.MergeFrom(decision_service_pb2.DecideRequest(**{name: value}))  # type: ignore[arg-type]
    return request
