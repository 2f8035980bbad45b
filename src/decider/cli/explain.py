"""`decider explain`: why a decision came out so, and why not another message."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from decider.cli.decisions import drawn_decision, drawn_trace
from decider.cli.options import ConfigPath, ServerAddress, configuration, examples
from decider.cli.output import Machine, emit, facts
from decider.cli.plain import plain
from decider.service.answers import explanation_message
from decider.service.client import DeciderClient
from decider.service.compose import engine_to_read

EXAMPLES = examples(
    "decider explain 2f1c9d0e6b7a4c5d8e9f0a1b-17",
    "decider explain 2f1c9d0e6b7a4c5d8e9f0a1b-17 --server 127.0.0.1:50051 --json",
    "decider log show logbook --member 4711",
)


def explain(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="As it was answered and logged.")],
    server: ServerAddress = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Make a logged decision again, and print every candidate with its value or what excludes it.

    Reads the logbook without locking it, so a server may be running.
    """
    if server is not None:
        with DeciderClient(server) as client:
            explanation = plain(client.explain(decision_id))
    else:
        explanation = _explained_here(decision_id, config)
    emit(explanation, machine, *_drawn(explanation))


def _explained_here(decision_id: str, config: Path | None) -> dict[str, Any]:
    with engine_to_read(configuration(config)) as engine:
        return plain(explanation_message(engine.explain(decision_id)))


def _drawn(explanation: dict[str, Any]) -> list[Any]:
    decision, runner_up = explanation["decision"], explanation["runner_up"]
    said = {
        "reproduced": explanation["reproduced"],
        "what ended the set": explanation["binding_cap"],
        "runner-up": None if runner_up is None else runner_up["candidate"],
        "its gain after the set": None if runner_up is None else runner_up["gain_after_set"],
        "its distance to the price": explanation["distance_to_price"],
    }
    return [*drawn_decision(decision), drawn_trace(explanation["trace"]), facts("Why", said)]
