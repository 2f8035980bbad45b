"""DecisionService: one member now, many in a run, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from decider.errors import InvalidInput, Violation
from decider.service.answers import decision_message, explanation_message
from decider.service.batch import Batch
from decider.service.metrics import Metrics
from decider.service.ports import Engine
from decider.service.requests import member_request
from decider.service.settings import ServiceSettings
from decider.service.slots import Slots
from decider.v1 import decision_service_pb2, decision_service_pb2_grpc


class DecisionService(decision_service_pb2_grpc.DecisionServiceServicer):
    """Asks the engine; the interceptor turns its errors into statuses.

    Parameters
    ----------
    engine
        Decides.
    settings
        Limits.
    metrics
        Counts.
    """

    def __init__(self, engine: Engine, settings: ServiceSettings, metrics: Metrics) -> None:
        self._engine, self._settings, self._metrics = engine, settings, metrics
        self._runs = Slots(settings.max_runs, "batches")

    def Decide(  # noqa: N802 - the protocol's name
        self, request: decision_service_pb2.DecideRequest, context: Any
    ) -> decision_service_pb2.DecideResponse:
        """Decide for one member."""
        decision = self._engine.decide(member_request(request))
        self._metrics.count_decision(decision.stratum, (message.channel for message in decision.messages))
        return decision_service_pb2.DecideResponse(decision=decision_message(decision, request.dry_run))

    def BatchDecide(  # noqa: N802 - the protocol's name
        self, request_iterator: Any, context: Any
    ) -> Iterator[decision_service_pb2.BatchDecideResponse]:
        """Decide for many members in one run."""
        with self._runs.one():
            yield from Batch(self._engine, self._settings, self._metrics, request_iterator, context).answers()

    def ExplainDecision(  # noqa: N802 - the protocol's name
        self, request: decision_service_pb2.ExplainDecisionRequest, context: Any
    ) -> decision_service_pb2.ExplainDecisionResponse:
        """Compute a logged decision again and say why it came out so."""
        if not request.decision_id:
            raise InvalidInput([Violation("decision_id", "is required, got nothing")])
        explanation = self._engine.explain(request.decision_id)
        return decision_service_pb2.ExplainDecisionResponse(explanation=explanation_message(explanation))
