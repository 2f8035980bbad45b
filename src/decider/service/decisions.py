"""DecisionService: one member now, many in a run, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from decider.decision.request import MemberRequest
from decider.errors import InvalidInput, Violation
from decider.service.answers import explanation_message
from decider.service.batch import Batch
from decider.service.metrics import Metrics
from decider.service.ports import Engine
from decider.service.requests import member_request
from decider.service.settings import ServiceSettings
from decider.service.slots import Slots
from decider.service.waiting import WaitingDecides
from decider.v1 import decision_service_pb2, decision_service_pb2_grpc


class DecisionService(decision_service_pb2_grpc.DecisionServiceServicer):
    """Asks the engine; `calls.py` turns its errors into statuses.

    Parameters
    ----------
    engine
        Decides.
    settings
        Limits.
    metrics
        Counts.
    waiting
        Decides the calls of Decide.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServiceSettings,
        metrics: Metrics,
        waiting: WaitingDecides[MemberRequest],
    ) -> None:
        self._engine, self._settings, self._metrics = engine, settings, metrics
        self._waiting = waiting
        self._runs = Slots(settings.max_runs, "batches")

    async def Decide(  # noqa: N802 - the protocol's name
        self, request: decision_service_pb2.DecideRequest, context: Any
    ) -> Any:
        """Decide for one member, together with whoever else waits; the answer is serialised already."""
        return await self._waiting.decide(member_request(request))

    def BatchDecide(  # noqa: N802 - the protocol's name
        self, request_iterator: Any, context: Any
    ) -> Iterator[Any]:
        """Decide for many members in one run; tables of answers are serialised already."""
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
