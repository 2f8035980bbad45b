"""A small typed client: plain Python and Polars in, protocol messages and tables out.

Failed calls raise the errors of :mod:`decider.errors`, with the server's field violations. Calls that may be
repeated (all that carry a request or event id) are, when the server is out of reach or overloaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import polars as pl

from decider.logbook.schema import EventRecord, EventType
from decider.service.answers import member_id_message, time_message
from decider.service.batch_client import (
    BatchAnswers,
    BatchOptions,
    batch_requests,
    channel_filter_message,
    moment_message,
)
from decider.service.statuses import error_of
from decider.v1 import (
    decision_pb2,
    decision_service_pb2,
    decision_service_pb2_grpc,
    event_pb2,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
)

PIECE_BYTES = 1 << 20

_RETRIED = ("Decide", "ExplainDecision", "RecordEvents", "ListModels", "GetModel")
_SERVICES = ("DecisionService", "FeedbackService", "ModelService")
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": f"decider.v1.{service}", "method": method}
                for service in _SERVICES
                for method in _RETRIED
            ],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "2s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}


class DeciderClient:
    """Calls a Decider service over a connection of its own; to be closed, or used in a ``with`` block.

    Parameters
    ----------
    target
        Address and port, such as ``127.0.0.1:50051``.
    timeout_seconds
        Deadline of every call but batches.
    max_message_bytes
        Largest message taken.
    retries
        Whether to repeat calls when the server is out of reach or overloaded.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_seconds: float = 10.0,
        max_message_bytes: int = 64 * 1024 * 1024,
        retries: bool = True,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.enable_retries", int(retries)),
                ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                # Else all clients of a process share one, and one of the servers of the port.
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._decisions = decision_service_pb2_grpc.DecisionServiceStub(self._channel)
        self._feedback = feedback_service_pb2_grpc.FeedbackServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> DeciderClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way end."""
        self._channel.close()

    def decide(
        self,
        member_id: int | str,
        *,
        request_id: str,
        decision_time: datetime,
        policy: str = "",
        epoch: int | None = None,
        channels: Sequence[str] | None = None,
        context: Mapping[str, bool | int | float | str] | None = None,
        pair_features: Mapping[str, Mapping[str, float]] | None = None,
        dry_run: bool = False,
        trace: bool = False,
    ) -> decision_pb2.Decision:
        """Decide for one member; see DecideRequest in the protocol.

        Raises
        ------
        DeciderError
            As the server tells: InvalidInput, NotFound, Conflict, Unavailable ...
        """
        request = decision_service_pb2.DecideRequest(
            member_id=member_id_message(member_id),
            request_id=request_id,
            decision_time=moment_message("decision_time", decision_time),
            policy=policy,
            epoch=epoch,
            channel_filter=channel_filter_message(channels),
            context=[_override(column, value) for column, value in (context or {}).items()],
            pair_features=[
                decision_service_pb2.PairFeature(candidate=candidate, feature=feature, value=value)
                for candidate, values in (pair_features or {}).items()
                for feature, value in values.items()
            ],
            dry_run=dry_run,
            trace=trace,
        )
        return _called(self._decisions.Decide, request, self._timeout_seconds).decision  # type: ignore[no-any-return]

    def explain(self, decision_id: str) -> decision_pb2.Explanation:
        """Why a logged decision came out so."""
        request = decision_service_pb2.ExplainDecisionRequest(decision_id=decision_id)
        return _called(self._decisions.ExplainDecision, request, self._timeout_seconds).explanation  # type: ignore[no-any-return]

    def batch_decide(
        self,
        member_ids: pl.Series | Sequence[int] | Sequence[str] | None,
        options: BatchOptions,
        *,
        timeout_seconds: float = 3600.0,
    ) -> BatchAnswers:
        """Decide for many members; iterate over the result for tables as they come.

        Parameters
        ----------
        member_ids
            Int64 or String ids, each once; none takes the whole snapshot.
        options
            What the batch asks for.
        timeout_seconds
            Deadline of the whole batch.
        """
        ids = None if member_ids is None else pl.Series("member_id", member_ids)
        call = self._decisions.BatchDecide(batch_requests(ids, options), timeout=timeout_seconds)
        return BatchAnswers(call)

    def record_events(self, events: Iterable[EventRecord]) -> feedback_service_pb2.RecordEventsResponse:
        """Record events, all or none; they are durable on return."""
        request = feedback_service_pb2.RecordEventsRequest(events=[event_message(event) for event in events])
        return _called(self._feedback.RecordEvents, request, self._timeout_seconds)  # type: ignore[no-any-return]

    def record_event_stream(
        self, batches: Iterable[Sequence[EventRecord]], *, timeout_seconds: float = 3600.0
    ) -> Iterator[feedback_service_pb2.RecordEventStreamResponse]:
        """Record batches of events; an answer for each, once it is durable."""
        requests = (
            feedback_service_pb2.RecordEventStreamRequest(events=[event_message(event) for event in events])
            for events in batches
        )
        try:
            yield from self._feedback.RecordEventStream(requests, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise error_of(error) from error

    def publish_model(self, directory: Path, *, timeout_seconds: float = 300.0) -> model_pb2.Model:
        """Upload a model artifact and make it the one that decides."""
        call = self._models.PublishModel
        return _called(call, _model_pieces(directory), timeout_seconds).model  # type: ignore[no-any-return]

    def roll_back_model(self, name: str, expected_version: str = "") -> model_pb2.Model:
        """Make the version before the current one decide again."""
        request = model_service_pb2.RollBackModelRequest(name=name, expected_version=expected_version)
        return _called(self._models.RollBackModel, request, self._timeout_seconds).model  # type: ignore[no-any-return]

    def list_models(self, name: str = "") -> list[model_pb2.Model]:
        """All models of the registry, newest version first within a name."""
        models: list[model_pb2.Model] = []
        token = ""
        while True:
            request = model_service_pb2.ListModelsRequest(name=name, page_token=token)
            answer = _called(self._models.ListModels, request, self._timeout_seconds)
            models.extend(answer.models)
            token = answer.next_page_token
            if not token:
                return models

    def reload(self) -> model_pb2.Serving:
        """Make the server read catalog, policies, snapshot and models anew."""
        request = model_service_pb2.ReloadRequest()
        return _called(self._models.Reload, request, self._timeout_seconds).serving  # type: ignore[no-any-return]


def event_message(event: EventRecord) -> event_pb2.Event:
    """An event as it is sent."""
    return event_pb2.Event(
        event_id=event.event_id,
        type=event_pb2.EventType.Value(f"EVENT_TYPE_{EventType(event.type).name}"),
        event_time=time_message(event.event_time_micros),
        decision_id=event.decision_id or "",
        member_id=None if event.member_id is None else member_id_message(event.member_id),
        candidate=event.candidate or "",
        value=event.value,
    )


def _called(call: Any, request: Any, timeout_seconds: float) -> Any:
    try:
        return call(request, timeout=timeout_seconds)
    except grpc.RpcError as error:
        raise error_of(error) from error


def _model_pieces(directory: Path) -> Iterator[model_service_pb2.PublishModelRequest]:
    for path in sorted(path for path in directory.iterdir() if path.is_file()):
        with path.open("rb") as file:
            # An empty file is a piece too.
            content = file.read(PIECE_BYTES)
            while True:
                piece = model_service_pb2.ArtifactPiece(file=path.name, content=content)
                yield model_service_pb2.PublishModelRequest(piece=piece)
                content = file.read(PIECE_BYTES)
                if not content:
                    break


def _override(column: str, value: bool | int | float | str) -> decision_service_pb2.ContextOverride:
    override = decision_service_pb2.ContextOverride(column=column)
    match value:
        case bool():
            override.boolean = value
        case int():
            override.integer = value
        case float():
            override.number = value
        case str():
            override.text = value
    return override
