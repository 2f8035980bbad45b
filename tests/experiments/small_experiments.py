"""A small experiment to be changed, and members for it."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import numpy as np

from decider.experiments import Experiment, MetricColumns, Outcomes
from decider.experiments.spec import Cell, Guardrail, LongTerm, Metric

START = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


def experiment(**changes: Any) -> Experiment:
    made = Experiment(
        name="fewer",
        salt="2026-q1",
        start=START,
        end=START + datetime.timedelta(weeks=12),
        control="today",
        cell=[Cell(name="today", policy="today", share=0.5), Cell(name="few", policy="few", share=0.5)],
        metric=[
            Metric(name="plays", role="primary", events={"played": 1.0}),
            Metric(name="clicks per delivered", events={"clicked": 1.0}, per={"delivered": 1.0}),
        ],
        guardrail=[Guardrail(name="opt-outs", events=["unsubscribed", "complained"])],
        first_look=100,
    )
    return msgspec.structs.replace(made, **changes)


def with_weeks(**changes: Any) -> Experiment:
    return experiment(long_term=LongTerm(metric="plays", **changes))


def outcomes(cells: np.ndarray, plays: np.ndarray, **more: Any) -> Outcomes:
    plain = MetricColumns(plays)
    triggered = np.bincount(cells, minlength=3).astype(float)[None]
    return Outcomes(cells, {"plays": plain, "clicks per delivered": plain}, triggered, **more)
