"""RecordEvents and RecordEventStream over a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from decider.errors import Conflict, InvalidInput
from decider.logbook.schema import EventRecord, EventType
from decider.service.client import DeciderClient, event_message
from decider.service.server import Server
from decider.v1 import event_pb2, feedback_service_pb2, feedback_service_pb2_grpc

from .conftest import NOON
from .fake import Engine
from .test_bad_input import violations_of

AT = int(NOON.timestamp()) * 1_000_000


def event(event_id: str, kind: EventType = EventType.SENT, **changes: Any) -> EventRecord:
    fields = {"member_id": 102, "candidate": "mens@email"} | changes
    return EventRecord(event_id=event_id, type=kind, event_time_micros=AT, **fields)


@pytest.mark.parametrize("kind", list(EventType))
def test_every_type_reaches_the_engine_as_it_was(
    client: DeciderClient, engine: Engine, kind: EventType
) -> None:
    sent = event("e1", kind, value=1.5)
    answer = client.record_events([sent])
    assert (answer.new_count, answer.duplicate_count) == (1, 0)
    assert engine.events == {"e1": sent}


def test_an_event_that_follows_a_decision(client: DeciderClient, engine: Engine) -> None:
    decision = client.decide(102, request_id="r1", decision_time=NOON)
    sent = event("e1", decision_id=decision.decision_id, member_id=None, candidate=None)
    client.record_events([sent])
    assert engine.events["e1"] == sent


def test_text_ids_go_through(client: DeciderClient, engine: Engine) -> None:
    client.record_events([event("e1", member_id="anna")])
    assert engine.events["e1"].member_id == "anna"


def test_an_event_counts_once(client: DeciderClient) -> None:
    client.record_events([event("e1")])
    answer = client.record_events([event("e1"), event("e2")])
    assert (answer.new_count, answer.duplicate_count) == (1, 1)


def test_the_same_id_with_another_body_is_refused(client: DeciderClient) -> None:
    client.record_events([event("e1")])
    with pytest.raises(Conflict, match="event_id 'e1'"):
        client.record_events([event("e1", EventType.OPENED)])


def test_a_stream_answers_each_request(client: DeciderClient, engine: Engine) -> None:
    batches = [[event("e1"), event("e2")], [event("e2"), event("e3")]]
    answers = [
        (answer.new_count, answer.duplicate_count, answer.durable_count)
        for answer in client.record_event_stream(batches)
    ]
    assert answers == [(2, 0, 2), (1, 1, 4)]
    assert set(engine.events) == {"e1", "e2", "e3"}


def test_a_bad_request_ends_a_stream_and_leaves_what_was_answered(
    client: DeciderClient, engine: Engine
) -> None:
    answers = client.record_event_stream([[event("e1")], [event("e2"), event("")], [event("e3")]])
    assert next(answers).durable_count == 1
    with pytest.raises(InvalidInput, match=r"events\[1\]\.event_id"):
        next(answers)
    assert set(engine.events) == {"e1"}


def without(name: str) -> event_pb2.Event:
    message = event_message(event("e1"))
    message.ClearField(name)  # type: ignore[arg-type]
    return message


BAD = [
    ("no event", [], "events", "got 0"),
    ("no id", [without("event_id")], "events[0].event_id", "got 0"),
    ("no type", [without("type")], "events[0].type", "got 0"),
    ("an unknown type", [event_pb2.Event(event_id="e", type=99)], "events[0].type", "got 99"),  # type: ignore[arg-type]
    ("no time", [without("event_time")], "events[0].event_time", "nothing"),
    ("no candidate", [without("candidate")], "events[0].decision_id", "neither"),
    ("no member", [without("member_id")], "events[0].decision_id", "neither"),
    ("an unknown decision", [event_message(event("e", decision_id="x-0"))], "events[0].decision_id", "'x-0'"),
    ("a NaN value", [event_message(event("e", value=float("nan")))], "events[0].value", "nan"),
]


@pytest.mark.parametrize(("events", "field", "text"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_event_is_named(
    channel: grpc.Channel, engine: Engine, events: list[event_pb2.Event], field: str, text: str
) -> None:
    stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=events))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in violations_of(caught.value)[field]
    assert engine.events == {}


def test_more_streams_than_allowed_are_refused_at_once(serve: Callable[..., Server]) -> None:
    server = serve(max_event_streams=1)

    def two_streams(client: DeciderClient) -> Iterator[Any]:
        yield [event("e1")]
        with pytest.raises(Exception, match="1 event streams are under way"):
            next(iter(client.record_event_stream([[event("e2")]])))
        yield [event("e3")]

    with DeciderClient(f"127.0.0.1:{server.port}") as client:
        assert [answer.durable_count for answer in client.record_event_stream(two_streams(client))] == [1, 2]
