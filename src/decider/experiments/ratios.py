"""Whether members came to the cells in the shares that were planned, and whether a cell harms too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decider.experiments.outcomes import Outcomes
from decider.experiments.spec import Experiment, Guardrail
from decider_core.sequences import share_evidence

Floats = NDArray[np.float64]

SHARES_CONCENTRATION = 1_000.0
"""Looks for shares that are off by a few hundredths; what is further off is found all the sooner."""
HARM_CONCENTRATION = 20.0
"""Harm is rare: some tens of members must be able to tell of a cell that harms twice as many."""


@dataclass(frozen=True)
class RatioTest:
    """A sequential test of counts against shares.

    Parameters
    ----------
    stage
        ``assigned``, ``triggered`` or ``delivered``.
    counts
        By cell.
    expected
        What the shares let expect, by cell.
    p_value
        Valid at every look; the least so far. None if it could not be told.
    alpha
        At or below it the shares are wrong.
    fired_micros
        When they were first found wrong; None if never, or where there is no time.
    untold
        Why there is no p-value; "" if there is one.
    """

    stage: str
    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float | None
    alpha: float
    fired_micros: int | None = None
    untold: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the experiment must not be believed."""
        return self.p_value is not None and self.p_value <= self.alpha


@dataclass(frozen=True)
class GuardrailTest:
    """Whether a cell harms more members than is borne.

    Parameters
    ----------
    guardrail, cell
        Names.
    harmed, members
        In the cell.
    base_harmed, base_members
        In the control.
    p_value
        Of harm beyond what is borne, valid at every look; the least so far, 1 while the cell harms no more than that.
    alpha
        At or below it the cell must stop.
    fired_micros
        When it first had to; None if never, or where there is no time.
    """

    guardrail: str
    cell: str
    harmed: int
    members: int
    base_harmed: int
    base_members: int
    p_value: float
    alpha: float
    fired_micros: int | None = None

    @property
    def must_stop(self) -> bool:
        """Whether the rule says stop."""
        return self.p_value <= self.alpha


def sample_ratios(experiment: Experiment, outcomes: Outcomes) -> list[RatioTest]:
    """Test assignment and triggering against the planned shares, delivery against what was sent.

    Deliveries are held against the members who were sent something: policies that send to others, or more, are
    no fault; a channel that loses one cell's messages is.
    """
    planned = np.array(experiment.shares)
    alpha, times = experiment.sample_ratio_alpha, outcomes.look_micros
    tests = []
    if outcomes.assigned is None:
        tests.append(_untold("assigned", alpha, "who could have come is not known here"))
    else:
        counts = outcomes.assigned[None]
        tests.append(_test("assigned", counts, np.broadcast_to(planned, counts.shape), alpha, times[:0]))
    triggered = outcomes.triggered
    tests.append(_test("triggered", triggered, np.broadcast_to(planned, triggered.shape), alpha, times))
    if outcomes.sent is None or outcomes.delivered is None:
        tests.append(_untold("delivered", alpha, "deliveries are not known here"))
    elif not outcomes.delivered.any():
        tests.append(_untold("delivered", alpha, "no event says that anything was delivered"))
    else:
        some = outcomes.sent.sum(axis=1) > 0
        sent = outcomes.sent[some]
        shares = sent / sent.sum(axis=1, keepdims=True)
        tests.append(_test("delivered", outcomes.delivered[some], shares, alpha, times[some]))
    return tests


def guardrails(experiment: Experiment, outcomes: Outcomes) -> list[GuardrailTest]:
    """Test every cell against the control, guardrail by guardrail.

    Of the members harmed in the cell or in the control, a share ``q = s (1 + a) / (s (1 + a) + s_0)`` at most is the
    cell's while it harms up to the allowed increase a; s and s_0 are the planned shares. Members are counted and
    nothing is taken for normal, so the test holds from the first event on.
    """
    tests = []
    base = experiment.code(experiment.control)
    others = [code for code in range(1, len(experiment.cell_names)) if code != base]
    for guardrail in experiment.guardrail:
        counts = outcomes.harmed.get(guardrail.name)
        if counts is not None:
            tests += [
                _guard(experiment, outcomes, guardrail, counts, code, base, len(others)) for code in others
            ]
    return tests


def _guard(
    experiment: Experiment,
    outcomes: Outcomes,
    guardrail: Guardrail,
    harmed: Floats,
    code: int,
    base: int,
    n_others: int,
) -> GuardrailTest:
    weight = experiment.shares[code] * (1.0 + guardrail.allowed_increase)
    share = weight / (weight + experiment.shares[base])
    counts = np.ascontiguousarray(harmed[:, [code, base]])
    shares = np.tile([share, 1.0 - share], (len(counts), 1))
    evidence = share_evidence(counts, shares, HARM_CONCENTRATION)
    running = counts.cumsum(axis=0)
    # Evidence of a cell that harms less than is borne is no reason to stop it.
    worse = running[:, 0] > share * running.sum(axis=1)
    p_values = np.exp(-np.maximum(np.where(worse, evidence, 0.0), 0.0))
    alpha = guardrail.alpha / n_others
    members = outcomes.triggered.sum(axis=0)
    return GuardrailTest(
        guardrail=guardrail.name,
        cell=experiment.cell_names[code],
        harmed=int(running[-1, 0]) if len(running) else 0,
        members=int(members[code]),
        base_harmed=int(running[-1, 1]) if len(running) else 0,
        base_members=int(members[base]),
        p_value=float(p_values.min(initial=1.0)),
        alpha=alpha,
        fired_micros=_first(p_values <= alpha, outcomes.look_micros),
    )


def _test(stage: str, counts: Floats, shares: Floats, alpha: float, times: NDArray[np.int64]) -> RatioTest:
    evidence = share_evidence(
        np.ascontiguousarray(counts), np.ascontiguousarray(shares), SHARES_CONCENTRATION
    )
    p_values = np.exp(-np.maximum(evidence, 0.0))
    expected = (shares * counts.sum(axis=1, keepdims=True)).sum(axis=0)
    return RatioTest(
        stage=stage,
        counts=tuple(int(n) for n in counts.sum(axis=0)),
        expected=tuple(float(n) for n in expected),
        p_value=float(p_values.min(initial=1.0)),
        alpha=alpha,
        fired_micros=_first(p_values <= alpha, times),
    )


def _untold(stage: str, alpha: float, why: str) -> RatioTest:
    return RatioTest(stage, (), (), None, alpha, untold=why)


def _first(fired: NDArray[np.bool_], times: NDArray[np.int64]) -> int | None:
    if not fired.any() or len(times) != len(fired):
        return None
    return int(times[int(np.argmax(fired))])
