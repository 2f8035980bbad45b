"""An experiment read from feedback: arms are its cells, and there is no time."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.errors import InvalidInput
from decider.experiments.outcomes import MetricColumns, Outcomes
from decider.experiments.spec import BEFORE, Experiment
from decider.logbook.feedback import Feedback

Floats = NDArray[np.float64]


def outcomes_of_feedback(experiment: Experiment, feedback: Feedback) -> Outcomes:
    """Add up the rows of each member.

    Parameters
    ----------
    experiment
        Its cells must be arms. A metric's ``column`` is a reward, ``per_column`` another one (none: rows), its
        ``covariate`` a feature; a guardrail's ``column`` is a reward that is not 0 where a member was harmed.
    feedback
        Of a trial, or made from a log.

    Raises
    ------
    InvalidInput
        For arms that are no cells, a member in two cells, and names that the feedback does not have.
    """
    _check_arms(experiment, feedback)
    sums: dict[str, str] = {}
    for metric in experiment.metric:
        sums[f"y:{metric.column or metric.name}"] = f"metric[{metric.name!r}].column"
        if metric.per_column:
            sums[f"y:{metric.per_column}"] = f"metric[{metric.name!r}].per_column"
        if metric.covariate == BEFORE:
            raise InvalidInput.of(
                f"metric[{metric.name!r}].covariate", "must name a feature of the feedback", BEFORE
            )
        if metric.covariate:
            sums[f"x:{metric.covariate}"] = f"metric[{metric.name!r}].covariate"
    for guardrail in experiment.guardrail:
        sums[f"y:{guardrail.column or guardrail.name}"] = f"guardrail[{guardrail.name!r}].column"
    for name, field in sums.items():
        if name not in feedback.columns:
            known = ", ".join(feedback.rewards if name.startswith("y:") else feedback.feature_names)
            raise InvalidInput.of(field, f"must be one of {known}", name[2:])
    rows = feedback.read(["member_id", "arm", *sums]).select(
        "member_id",
        pl.col("arm").alias("cell"),
        *(pl.col(name).cast(pl.Float64) for name in sums),
    )
    members = rows.group_by("member_id", maintain_order=True).agg(
        pl.col("cell").first(),
        pl.col("cell").n_unique().alias("n_cells"),
        pl.len().cast(pl.Float64).alias("rows"),
        *(pl.col(name).sum() for name in sums),
    )
    double = members.filter(pl.col("n_cells") > 1)
    if double.height:
        place = f"for member {double['member_id'][0]} ({double.height} members)"
        raise InvalidInput.of("arm", "must be one for each member", int(double["n_cells"][0]), place)
    cells = members["cell"].replace_strict(
        list(experiment.cell_names[1:]), list(range(1, len(experiment.cell_names))), return_dtype=pl.UInt8
    )
    repeated = members.height < rows.height

    def column(name: str) -> Floats:
        return np.ascontiguousarray(members[name].to_numpy(), np.float64)

    metrics = {}
    for metric in experiment.metric:
        per = column(f"y:{metric.per_column}") if metric.per_column else column("rows") if repeated else None
        covariate = column(f"x:{metric.covariate}") if metric.covariate else None
        metrics[metric.name] = MetricColumns(column(f"y:{metric.column or metric.name}"), per, covariate)
    codes = np.ascontiguousarray(cells.to_numpy())
    n_cells = len(experiment.cell_names)

    def counted(which: NDArray[np.bool_]) -> Floats:
        return np.bincount(codes[which], minlength=n_cells).astype(np.float64)[None]

    return Outcomes(
        cells=codes,
        metrics=metrics,
        triggered=counted(np.ones(codes.size, np.bool_)),
        harmed={
            guardrail.name: counted(column(f"y:{guardrail.column or guardrail.name}") != 0.0)
            for guardrail in experiment.guardrail
        },
        notes=("feedback has no times: there is one look, and no week",),
    )


def _check_arms(experiment: Experiment, feedback: Feedback) -> None:
    cells = experiment.cell_names[1:]
    if experiment.holdout > 0.0:
        raise InvalidInput.of("holdout", "must be 0 for feedback: its cells are the arms", experiment.holdout)
    if set(cells) != set(feedback.arms):
        rule = f"must be the arms of the feedback, {', '.join(feedback.arms)}"
        raise InvalidInput.of("cell.name", rule, ", ".join(cells))
