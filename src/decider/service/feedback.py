"""FeedbackService: what happened after decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from decider.logbook.schema import EventResult
from decider.service.metrics import Metrics
from decider.service.ports import Engine
from decider.service.requests import event_records
from decider.service.settings import ServiceSettings
from decider.service.slots import Slots
from decider.v1 import event_pb2, feedback_service_pb2, feedback_service_pb2_grpc


class FeedbackService(feedback_service_pb2_grpc.FeedbackServiceServicer):
    """Hands events to the engine; what is answered is durable.

    Parameters
    ----------
    engine
        Logs events and counts them for the decisions that follow.
    settings
        Limits.
    metrics
        Counts.
    """

    def __init__(self, engine: Engine, settings: ServiceSettings, metrics: Metrics) -> None:
        self._engine, self._metrics = engine, metrics
        self._streams = Slots(settings.max_event_streams, "event streams")

    def RecordEvents(  # noqa: N802 - the protocol's name
        self, request: feedback_service_pb2.RecordEventsRequest, context: Any
    ) -> feedback_service_pb2.RecordEventsResponse:
        """Record events, all or none."""
        result = self._record(request.events)
        return feedback_service_pb2.RecordEventsResponse(
            new_count=result.n_new, duplicate_count=result.n_duplicate
        )

    def RecordEventStream(  # noqa: N802 - the protocol's name
        self, request_iterator: Any, context: Any
    ) -> Iterator[feedback_service_pb2.RecordEventStreamResponse]:
        """Record events request by request, each answered once it is durable."""
        n_durable = 0
        with self._streams.one():
            for request in request_iterator:
                result = self._record(request.events)
                n_durable += len(request.events)
                yield feedback_service_pb2.RecordEventStreamResponse(
                    new_count=result.n_new, duplicate_count=result.n_duplicate, durable_count=n_durable
                )

    def _record(self, events: Sequence[event_pb2.Event]) -> EventResult:
        result = self._engine.record_events(event_records(events))
        self._metrics.events.labels("new").inc(result.n_new)
        self._metrics.events.labels("duplicate").inc(result.n_duplicate)
        return result
