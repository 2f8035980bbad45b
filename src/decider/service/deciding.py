"""A group of requests, decided together, and answered once the last decision of it is on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from decider.decision.request import MemberRequest
from decider.decision.together import Outcome
from decider.service.metrics import Metrics
from decider.service.ports import Engine
from decider.service.serialised import decide_response

Answer = bytes | Exception
"""Serialised, or what went wrong."""


class Deciding:
    """Decides groups.

    Parameters
    ----------
    engine
        Decides.
    metrics
        Counts decisions.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine, self._metrics = engine, metrics

    def decide(self, requests: Sequence[MemberRequest]) -> list[Answer]:
        """Decide; returns the answers, one for each request, once they are durable.

        One group is on its way at a time: while it goes to the disk the next one gathers. Deciding the next one
        meanwhile would make more groups and smaller ones, and the two would take the interpreter from each other.
        """
        try:
            outcomes = self._engine.decide_together(requests)
            # Put into bytes now, while the disk is at work.
            answers = [_answer(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]
            self._metrics.count_decisions(o.decision for o in outcomes if o.decision is not None)
        except Exception as error:  # nobody may be left waiting
            return [error] * len(requests)
        tickets = [outcome.ticket for outcome in outcomes if outcome.ticket is not None]
        try:
            # The log commits in order, and after a failure nothing more: the last one to be durable tells of all.
            if tickets:
                max(tickets, key=attrgetter("sequence")).wait()
        except Exception:
            return [_durable(answer, outcome) for answer, outcome in zip(answers, outcomes, strict=True)]
        return answers


def _answer(request: MemberRequest, outcome: Outcome) -> Answer:
    if outcome.decision is None:
        assert outcome.error is not None
        return outcome.error
    return decide_response(outcome.decision, request.dry_run)


def _durable(answer: Answer, outcome: Outcome) -> Answer:
    """The answer if it is on the disk, else what went wrong there."""
    try:
        if outcome.ticket is not None:
            outcome.ticket.wait()
    except Exception as error:
        return error
    return answer
