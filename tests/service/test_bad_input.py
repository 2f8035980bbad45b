"""Every bad input gets its clear error, and the server goes on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from decider.service.client import DeciderClient
from decider.service.server import Server
from decider.v1 import decision_service_pb2, decision_service_pb2_grpc, member_pb2

from .conftest import NOON, decide_request
from .fake import Engine

Decide = "/decider.v1.DecisionService/Decide"
Batch = "/decider.v1.DecisionService/BatchDecide"
Override = decision_service_pb2.ContextOverride
Pair = decision_service_pb2.PairFeature

BAD_REQUESTS = [
    ("unknown member", {"member_id": member_pb2.MemberId(number=7)}, "NOT_FOUND", "member_id", "7"),
    ("no member", {"member_id": None}, "INVALID_ARGUMENT", "member_id", "nothing"),
    ("empty member", {"member_id": member_pb2.MemberId(text="")}, "INVALID_ARGUMENT", "member_id", "''"),
    ("unknown policy", {"policy": "wild"}, "INVALID_ARGUMENT", "policy", "'wild'"),
    (
        "unknown channel",
        {"channel_filter": {"channels": ["email", "pigeon"]}},
        "INVALID_ARGUMENT", "channels[1]", "'pigeon'",
    ),
    ("no channel", {"channel_filter": {}}, "INVALID_ARGUMENT", "channel_filter.channels", "got 0"),
    (
        "a channel twice",
        {"channel_filter": {"channels": ["email", "email"]}},
        "INVALID_ARGUMENT", "channel_filter.channels", "once",
    ),
    ("no request id", {"request_id": ""}, "INVALID_ARGUMENT", "request_id", "got 0"),
    ("long request id", {"request_id": "x" * 201}, "INVALID_ARGUMENT", "request_id", "got 201"),
    ("no time", {"decision_time": None}, "INVALID_ARGUMENT", "decision_time", "nothing"),
    ("zero time", {"decision_time": {"seconds": 0}}, "INVALID_ARGUMENT", "decision_time", "got 0"),
    ("far time", {"decision_time": {"seconds": 2**62}}, "INVALID_ARGUMENT", "decision_time", str(2**62)),
    (
        "bad nanos",
        {"decision_time": {"seconds": 1_800_000_000, "nanos": -5}},
        "INVALID_ARGUMENT", "decision_time.nanos", "-5",
    ),
    (
        "NaN feature",
        {"context": [Override(column="recency", number=math.nan)]},
        "INVALID_ARGUMENT", "context[0].number", "nan",
    ),
    (
        "feature without a value",
        {"context": [Override(column="recency")]},
        "INVALID_ARGUMENT", "context[0].value", "nothing",
    ),
    (
        "feature twice",
        {"context": [Override(column="recency", integer=1), Override(column="recency", integer=2)]},
        "INVALID_ARGUMENT", "context[1].column", "'recency' again",
    ),
    (
        "unknown feature",
        {"context": [Override(column="age", integer=1)]},
        "INVALID_ARGUMENT", "context.age", "'age'",
    ),
    (
        "infinite pair feature",
        {"pair_features": [Pair(candidate="mens@email", feature="affinity", value=math.inf)]},
        "INVALID_ARGUMENT", "pair_features[0].value", "inf",
    ),
    (
        "pair feature twice",
        {"pair_features": [Pair(candidate="mens@email", feature="affinity", value=v) for v in (1, 2)]},
        "INVALID_ARGUMENT", "pair_features[1].feature", "again",
    ),
]  # fmt: skip


def violations_of(error: grpc.RpcError) -> dict[str, str]:
    status = rpc_status.from_call(error)
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(bad):
            return {violation.field: violation.description for violation in bad.field_violations}
    return {}


@pytest.mark.parametrize(
    ("changes", "code", "field", "got"),
    [row[1:] for row in BAD_REQUESTS],
    ids=[row[0] for row in BAD_REQUESTS],
)
def test_decide_names_field_rule_and_value(
    stub: Any, engine: Engine, changes: dict[str, Any], code: str, field: str, got: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(decide_request(**changes))
    assert caught.value.code().name == code
    assert got in violations_of(caught.value)[field]
    assert engine.records == {}
    assert stub.Decide(decide_request()).decision.messages


def test_all_broken_rules_are_named_at_once(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(decision_service_pb2.DecideRequest())
    assert set(violations_of(caught.value)) == {"member_id", "request_id", "decision_time"}


def test_another_body_under_the_same_request_id(stub: Any, engine: Engine) -> None:
    stub.Decide(decide_request())
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(decide_request(policy="bold"))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "another body" in violations_of(caught.value)["request_id"]
    assert engine.records["r1"].policy == "calm"


def test_an_oversized_message_is_refused_and_the_server_goes_on(serve: Callable[..., Server]) -> None:
    server = serve(max_message_bytes=100_000)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Decide(decide_request(policy="x" * 200_000))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Decide(decide_request()).decision.messages


def test_an_oversized_message_in_a_stream_ends_its_run(serve: Callable[..., Server], engine: Engine) -> None:
    server = serve(max_message_bytes=100_000)
    header = decision_service_pb2.BatchDecideRequest()
    header.header.request_id = "run"
    header.header.decision_time.FromDatetime(NOON)
    big = decision_service_pb2.BatchDecideRequest()
    big.columns.arrow_ipc = b"x" * 200_000
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        call = stub.BatchDecide(iter([header, big]), timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Decide(decide_request()).decision.messages
    assert all(run.closed and not run.finished for run in engine.runs)


def test_an_error_of_any_length_fits_the_trailers(stub: Any) -> None:
    # Each violation repeats its column's name; together they would be megabytes.
    overrides = [Override(column=f"\N{PILE OF POO}{place}" * 200) for place in range(900)]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(decide_request(context=overrides))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = violations_of(caught.value)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(caught.value).details)
    assert len(found) + int(info.metadata["violations_left_out"]) == 900


def mutated(seed: int, valid: bytes, n: int) -> Iterator[bytes]:
    """Valid bytes with some changed, cut off or put in."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        data = bytearray(valid)
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(0, len(data) + 1))
            match rng.integers(0, 3):
                case 0:
                    data[place : place + 1] = rng.bytes(1)
                case 1:
                    del data[place:]
                case _:
                    data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        yield bytes(data)


def test_thousands_of_undecodable_requests_leave_no_trace(
    channel: grpc.Channel, stub: Any, server: Server
) -> None:
    valid = decide_request(context=[Override(column="recency", integer=3)], policy="calm").SerializeToString()
    call = channel.unary_unary(Decide)
    codes = set()
    for data in mutated(0, valid, 3_000):
        try:
            call(data, timeout=10)
        except grpc.RpcError as error:
            codes.add(error.code().name)
    assert codes <= {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"}
    assert "INVALID_ARGUMENT" in codes
    # Far more than the limit of calls at once went wrong: a leaked slot would refuse these.
    calls = [stub.Decide.future(decide_request(request_id=f"after-{place}")) for place in range(16)]
    assert all(call.result(timeout=10).decision.messages for call in calls)
    assert server.metrics.n_in_flight == 0


def test_undecodable_bytes_in_a_stream_leave_no_trace(
    channel: grpc.Channel, engine: Engine, client: DeciderClient
) -> None:
    header = decision_service_pb2.BatchDecideRequest()
    header.header.request_id = "run"
    header.header.decision_time.FromDatetime(NOON)
    rows = decision_service_pb2.BatchDecideRequest()
    rows.rows.member_ids.add(number=100)
    call = channel.stream_stream(Batch)
    for place, data in enumerate(mutated(1, rows.SerializeToString(), 100)):
        first = header.SerializeToString() if place % 2 else data
        answers = call(iter([first, data]), timeout=10)
        with contextlib.suppress(grpc.RpcError):
            list(answers)
        # Never a whole run, since no stream has an end.
        assert answers.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(run.closed and not run.finished for run in engine.runs)
    assert client.decide(102, request_id="after", decision_time=NOON).messages


def test_an_unexpected_error_tells_only_its_id(
    stub: Any, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.fault = RuntimeError("the secret")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(decide_request())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert "secret" not in caught.value.details()
    # Where log lines go depends on whether the command line set them up before.
    logged = "".join(capsys.readouterr())
    assert info.metadata["error_id"] in logged
    assert "RuntimeError: the secret" in logged
    engine.fault = None
    assert stub.Decide(decide_request()).decision.messages
