"""One look at an experiment: everything that is known of it, in a form for tables, JSON and reports."""

from __future__ import annotations

from dataclasses import dataclass

from decider.experiments.effects import Effect, Looks, metric_effect
from decider.experiments.long_term import LongTermReadOut, long_term
from decider.experiments.outcomes import MetricColumns, Outcomes, moments_of
from decider.experiments.ratios import GuardrailTest, RatioTest, guardrails, sample_ratios
from decider.experiments.spec import HOLDOUT, Experiment, Role
from decider.experiments.surrogates import SurrogateIndex


@dataclass(frozen=True)
class Comparison:
    """One metric of one cell, against another cell.

    Parameters
    ----------
    metric, cell, against
        Names.
    role
        ``primary`` or ``secondary``.
    effect
        The difference, or why there is none.
    """

    metric: str
    cell: str
    against: str
    role: Role
    effect: Effect


@dataclass(frozen=True)
class ReadOut:
    """One look at an experiment.

    Parameters
    ----------
    experiment, version
        Its name, and the hash of its content.
    cells
        Names by code, the holdout's first.
    members
        In the numbers, by code.
    shares
        Planned, by code.
    until_micros
        The latest time that is in the numbers; None where there is no time.
    decision_micros
        When the choice is due.
    ratios
        Sample-ratio tests.
    guardrails
        By guardrail and cell.
    comparisons
        By metric and cell.
    long_term
        By cell; empty without one.
    notes
        What a reader must know.
    """

    experiment: str
    version: str
    cells: tuple[str, ...]
    members: tuple[int, ...]
    shares: tuple[float, ...]
    until_micros: int | None
    decision_micros: int
    ratios: tuple[RatioTest, ...]
    guardrails: tuple[GuardrailTest, ...]
    comparisons: tuple[Comparison, ...]
    long_term: tuple[LongTermReadOut, ...]
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be looked at before any number: wrong shares, cells that must stop, signs that disagree."""
        found = [
            f"sample ratio: {test.stage} members are not shared out as planned (p = {test.p_value:.2g})"
            for test in self.ratios
            if test.is_wrong
        ]
        found += [
            f"guardrail {test.guardrail}: stop cell {test.cell} ({test.harmed:,} of {test.members:,} harmed, "
            f"control {test.base_harmed:,} of {test.base_members:,}, p = {test.p_value:.2g})"
            for test in self.guardrails
            if test.must_stop
        ]
        found += [
            f"long term, cell {each.cell}: {alarm.says}; {alarm.by}, week {alarm.week}"
            for each in self.long_term
            for alarm in each.alarms
        ]
        return tuple(found)


def read_out(experiment: Experiment, outcomes: Outcomes, index: SurrogateIndex | None = None) -> ReadOut:
    """Look at an experiment. It may be done at any time, and as often as one likes.

    Every cell is compared with the control, and with the holdout where there is one. Comparisons of primary
    metrics with the control share alpha among them (Bonferroni), so that any false alarm among them has
    probability alpha at most; the others explain, each at a level of its own.

    Parameters
    ----------
    experiment
        As it was fixed before it started.
    outcomes
        From a logbook or from feedback.
    index
        What history says of the slow outcome.
    """
    return ReadOut(
        experiment=experiment.name,
        version=experiment.version,
        cells=experiment.cell_names,
        members=tuple(int((outcomes.cells == code).sum()) for code in range(len(experiment.cell_names))),
        shares=experiment.shares,
        until_micros=outcomes.until_micros,
        decision_micros=experiment.decision_micros,
        ratios=tuple(sample_ratios(experiment, outcomes)),
        guardrails=tuple(guardrails(experiment, outcomes)),
        comparisons=tuple(_comparisons(experiment, outcomes)),
        long_term=tuple(long_term(experiment, outcomes, _looks(experiment, 1), index)),
        notes=outcomes.notes,
    )


def _comparisons(experiment: Experiment, outcomes: Outcomes) -> list[Comparison]:
    names = experiment.cell_names
    against = [experiment.control, *([HOLDOUT] if experiment.holdout > 0.0 else [])]
    n_primary = sum(metric.role == "primary" for metric in experiment.metric) * (len(names) - 2)
    found = []
    for metric in experiment.metric:
        columns = outcomes.metrics[metric.name]
        moments = moments_of(outcomes.cells, columns.columns, len(names))
        for base in against:
            for cell in names[1:]:
                if cell == base:
                    continue
                role: Role = metric.role if base == experiment.control else "secondary"
                looks = _looks(experiment, n_primary if role == "primary" else 1)
                codes = experiment.code(cell), experiment.code(base)
                effect = metric_effect(moments, *codes, looks, **_form(columns))
                found.append(Comparison(metric.name, cell, base, role, effect))
    return found


def _form(columns: MetricColumns) -> dict[str, bool]:
    return {"ratio": columns.per is not None, "covariate": columns.covariate is not None}


def _looks(experiment: Experiment, n_comparisons: int) -> Looks:
    level = 1.0 - experiment.alpha / n_comparisons
    return Looks(level, experiment.planned_members, experiment.first_look)
