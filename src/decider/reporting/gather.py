"""From a log, its models and a run to what the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from decider.evaluation import (
    Limits,
    Logged,
    PolicyEstimates,
    check_propensities,
    frontier,
    judge_policy,
    judge_uplift,
    propensity_bins,
    sample_ratio,
)
from decider.evaluation.policies import Target
from decider.learning import Judging
from decider.models import UpliftModel
from decider.reporting.page import Section
from decider.reporting.report import Report
from decider.reporting.sections.data import DataView
from decider.reporting.sections.decided import RunView
from decider.reporting.sections.estimates import EstimatesView
from decider.reporting.sections.exploration import ExplorationView
from decider.reporting.sections.posteriors import PosteriorsView, Version
from decider.reporting.sections.price import PriceView
from decider.reporting.sections.uplift import UpliftView

THIN_ROWS = 1_000
"""An arm with fewer rows is told of."""


def gather(
    judging: Judging,
    policies: Mapping[str, Target],
    main: str,
    model: UpliftModel | None,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    versions: Sequence[Version] = (),
    run: RunView | None = None,
    judged: Mapping[str, PolicyEstimates] | None = None,
    opt_outs: str | None = None,
    exchange_rate: float | None = None,
    today: float | None = None,
    more: Sequence[Section] = (),
    n_resamples: int = 500,
    limits: Limits | None = None,
) -> Report:
    """Judge what is to be shown.

    Parameters
    ----------
    judging
        The log, and which of its rows judge.
    policies
        By name, what each would do on those rows.
    main
        The policy in the middle of it all: judged by every estimator.
    model
        Orders rows for frontier and uplift curves; must predict incrementality. None leaves both out.
    title, facts
        Of the page.
    versions
        Of one model, the latest last; empty leaves the posteriors out.
    run
        What a run decided.
    judged
        Estimates of policies other than `main` that have been made already.
    opt_outs
        The reward of the log that counts them.
    exchange_rate, today
        See :func:`decider.evaluation.frontier`.
    more
        Further sections.
    n_resamples
        Behind every interval, 100 or more.
    limits
        The gates.
    """
    limits = limits or Limits()
    rows, q_hat, seed = judging.rows, judging.q_hat, judging.spec.seed
    reward = judging.spec.reward
    found = dict(judged or {})
    for name, target in policies.items():
        if name == main:
            found[name] = judge_policy(
                target, rows, q_hat, n_resamples=n_resamples, seed=seed, limits=limits,
                estimators=_estimators_for(target, rows),
            )  # fmt: skip
        elif name not in found:
            found[name] = judge_policy(
                target, rows, q_hat, n_resamples=n_resamples, seed=seed, limits=limits,
                estimators=("ips", "snips", "dr"),
            )  # fmt: skip
    per = "1,000 members" if _one_row_a_member(rows) else "1,000 rows"
    price = uplift = None
    if model is not None:
        tau = judging.predicted(model)
        harm, q_harm = judging.other_reward(opt_outs) if opt_outs else (None, None)
        curve = frontier(
            tau, rows, q_hat, harm=harm, q_harm=q_harm, exchange_rate=exchange_rate, today=today,
            n_resamples=n_resamples, seed=seed, limits=limits,
        )  # fmt: skip
        price = PriceView(curve, model.name, reward, per, exchange_rate, opt_outs)
        judgements = judge_uplift(
            tau, rows, q_hat, n_resamples=max(100, n_resamples // 2), seed=seed, limits=limits
        )
        uplift = UpliftView(model.name, reward, per, judgements)
    return Report(
        title=title,
        subtitle=f"What messages cause, what they should cost, and how sure that is. Reward: {reward}.",
        facts=facts,
        data=_data(judging, limits, model),
        run=run,
        price=price,
        estimates=EstimatesView(
            {name: found[name] for name in policies}, main, reward, per, rows.n_rows, limits
        ),
        uplift=uplift,
        posteriors=PosteriorsView(versions, per) if versions else None,
        exploration=ExplorationView(
            propensity_bins(judging.log),
            {} if run is None else run.per_stratum,
            {} if run is None else run.planned,
        ),
        more=more,
    )


def _data(judging: Judging, limits: Limits, model: UpliftModel | None) -> DataView:
    log = judging.log
    warnings = [str(text) for text in _texts(judging.feedback.facts.get("warnings"))]
    if model is not None and judging.saw(model):
        warnings.append(
            f"{model.name} learnt from some of the rows that it is judged on: it looks better than it is."
        )
    counts = np.bincount(log.arm, minlength=log.n_arms)
    warnings += [
        f"{arm} was given in {count:,} rows only."
        for arm, count in zip(log.arms, counts.tolist(), strict=True)
        if count < THIN_ROWS
    ]
    left_out = judging.feedback.facts.get("n_left_out")
    notes = []
    if isinstance(left_out, dict) and any(left_out.values()):
        told = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in left_out.items() if count)
        notes.append(f"Rows left out of the log: {told}.")
    return DataView(
        n_rows=log.n_rows,
        n_members=len(np.unique(log.member_keys)),
        checks=check_propensities(log),
        sample_ratio=sample_ratio(log),
        least_sample_ratio=limits.sample_ratio,
        warnings=warnings,
        notes=notes,
    )


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _estimators_for(target: Target, rows: Logged) -> tuple[str, ...]:
    certain = bool((target.max(axis=1) == 1.0).all())
    return (
        "ips", "snips", "clipped_ips", "dm", "dr", "sndr", "switch_dr", "dr_shrunk",
        *(("replay",) if certain else ()),
    )  # fmt: skip


def _one_row_a_member(rows: Logged) -> bool:
    return len(np.unique(rows.member_keys)) == rows.n_rows
