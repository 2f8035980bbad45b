"""`decider evaluate`: what arms did on average, and what policies are worth, from a randomised log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from decider.cli import judged as told
from decider.cli.failures import NOT_READY
from decider.cli.judging import (
    FeedbackPath,
    Folds,
    JudgedHalf,
    Messages,
    ModelNames,
    OptOuts,
    RewardName,
    RuleName,
    judging,
    models_named,
    tell_of_seen_rows,
)
from decider.cli.options import ConfigPath, ModelsPath, Seed, TrainShare, examples, pairs, share_of
from decider.cli.output import Machine, emit, facts, progress, say
from decider.cli.train import Half
from decider.errors import InvalidInput, UnknownName
from decider.evaluation import (
    ESTIMATORS,
    Limits,
    Logged,
    arm_effects,
    check_propensities,
    judge_policy,
    volume_and_cost,
)
from decider.evaluation.policies import Target, best_at_volume, constant, random_at_volume
from decider.learning import Judging
from decider.models import UpliftModel

EXAMPLES = examples(
    "decider evaluate feedback --reward visit",
    "decider evaluate feedback --reward visit --model visits --volume 30%",
    "decider evaluate feedback --reward visit --model visits --opt-outs unsubscribed --cost sms=0.04",
    "decider evaluate feedback --reward visit --reward-range 0..1 --estimator ips --estimator dr --json",
    "Exit code 3 when the log cannot tell of a model, or of any policy at all: the reasons are printed.",
)


def evaluate(
    feedback: FeedbackPath,
    reward: RewardName,
    model: ModelNames = None,
    volume: Annotated[
        str, typer.Option(help="Share of members that `random` and the models may send to, such as 30%.")
    ] = "30%",
    estimator: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Only these; repeat it: {', '.join(ESTIMATORS)}.  [default: all]"),
    ] = None,
    rule: Annotated[RuleName, typer.Option(help="How clipping, switching and shrinking are chosen.")] = (
        RuleName.MSE
    ),
    reward_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW..HIGH", help="What a reward may be; gives IPS and DR empirical Bernstein intervals."
        ),
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM=COST", help="Cost of a send; repeat it.  [default: 1 for each message]"),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM=GROUP", help="Arms of one effect, such as a type on a channel, for mips."),
    ] = None,
    opt_outs: OptOuts = None,
    half: JudgedHalf = Half.HELD_OUT,
    share: TrainShare = 0.5,
    seed: Seed = 0,
    folds: Folds = 5,
    resamples: Annotated[
        int, typer.Option(min=0, help="Resamples of the bootstrap; below 100 there is no bootstrap.")
    ] = 1000,
    least_effective_rows: Annotated[
        float, typer.Option(min=0, help="Gate: the least effective sample size.")
    ] = Limits.effective_rows,
    largest_share: Annotated[
        float, typer.Option(min=0, max=1, help="Gate: the largest share of all weight that a row may have.")
    ] = Limits.largest_share,
    message: Messages = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Print average effects of arms, and values of policies with 95 % intervals, or why there are none.

    The log is looked at first: do its propensities hold, does it cover the policy. Average effects are of the
    whole log; policies are judged on the half named.
    """
    at = share_of("volume", volume)
    wanted = tuple(estimator or ESTIMATORS)
    unknown = sorted(set(wanted) - set(ESTIMATORS))
    if unknown:
        raise UnknownName.of("estimator", f"must be among {list(ESTIMATORS)}", unknown[0])
    possible = _range_of(reward_range)
    judge = judging(feedback, reward, half, share, seed, folds, message)
    loaded = models_named(model or [], models, config)
    rows = judge.rows
    costs, groups = _costs(rows, cost or []), _groups(rows, group or [])
    seen = tell_of_seen_rows(judge, loaded, machine)
    targets = _policies(judge, loaded, at)
    harm = judge.other_reward(opt_outs) if opt_outs else None
    limits = Limits(effective_rows=least_effective_rows, largest_share=largest_share)
    say(f"judging {len(targets)} policies on {rows.n_rows:,} rows", machine)
    verdicts = []
    with progress(machine) as advance:
        for name, target in targets.items():
            verdicts.append(
                told.Verdict(
                    name,
                    judge_policy(
                        target, rows, judge.q_hat, estimators=wanted, groups=groups, reward_range=possible,
                        rule=rule.value, n_resamples=resamples, seed=seed, limits=limits,
                    ),
                    *volume_and_cost(target, rows, costs, n_resamples=resamples, seed=seed),
                    None
                    if harm is None
                    else judge_policy(
                        target, *harm, estimators=("snips", "dr"), n_resamples=resamples, seed=seed,
                        limits=limits,
                    ),
                )
            )  # fmt: skip
            advance("policies", len(verdicts), len(targets))
    effects, checks = arm_effects(judge.log), check_propensities(judge.log)
    payload = {
        "feedback": str(feedback),
        "reward": reward,
        "control": effects.control,
        "rows": judge.log.n_rows,
        "arms": [told.arm_payload(each) for each in effects.arms],
        "propensity_checks": [each._asdict() for each in check_propensities(judge.log)],
        "half": half.value,
        "rows_judged": rows.n_rows,
        "volume": at,
        "rule": rule.value,
        "limits": {"effective_rows": least_effective_rows, "largest_share": largest_share,
                   "matched_members": limits.matched_members, "sample_ratio": limits.sample_ratio},
        "models": {
            name: {"version": each.version, "outcome": each.outcome, "learnt_from_judged_rows": seen[name]}
            for name, each in loaded.items()
        },
        "values": [told.payload_of(each, opt_outs) for each in verdicts],
    }  # fmt: skip
    drawn = [
        *told.drawn_effects(reward, judge.log.n_rows, effects.arms, checks),
        *told.drawn_verdicts(verdicts, rows.n_rows, limits, opt_outs),
    ]
    unjudged = _unjudged(verdicts, {f"{name} at {at:.0%}" for name in loaded})
    if unjudged:
        drawn.append(facts("Not judged", {"policies": unjudged}))
    emit(payload, machine, *drawn)
    if unjudged:
        raise typer.Exit(NOT_READY)


def _policies(judge: Judging, loaded: Mapping[str, UpliftModel], at: float) -> dict[str, Target]:
    rows = judge.rows
    targets = {"nobody": constant(rows, rows.control)}
    targets |= {f"{arm} to all": constant(rows, a) for a, arm in enumerate(rows.arms) if a != rows.control}
    targets[f"random at {at:.0%}"] = random_at_volume(rows, at)
    for name, model in loaded.items():
        targets[f"{name} at {at:.0%}"] = best_at_volume(rows, judge.predicted(model), at)
    return targets


def _unjudged(verdicts: Sequence[told.Verdict], of_models: set[str]) -> list[str]:
    without = [each.policy for each in verdicts if not each.is_judged]
    asked_for = [policy for policy in without if policy in of_models]
    return without if len(without) == len(verdicts) else asked_for


def _range_of(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, dots, high = text.partition("..")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = np.nan, np.nan
    if not (dots and np.isfinite(ends).all() and ends[0] < ends[1]):
        raise InvalidInput.of("reward-range", "must be LOW..HIGH with LOW < HIGH, such as 0..1", text)
    return ends


def _costs(rows: Logged, texts: Sequence[str]) -> NDArray[np.float64] | None:
    costs = np.ones(rows.n_arms)
    costs[rows.control] = 0.0
    for arm, text in _by_arm(rows, "cost", texts).items():
        try:
            costs[rows.arms.index(arm)] = float(text)
        except ValueError:
            raise InvalidInput.of("cost", f"must be a number for arm {arm!r}", text) from None
    return costs


def _groups(rows: Logged, texts: Sequence[str]) -> NDArray[np.int64] | None:
    if not texts:
        return None
    named = {arm: arm for arm in rows.arms} | _by_arm(rows, "group", texts)
    names = list(dict.fromkeys(named.values()))
    return np.array([names.index(named[arm]) for arm in rows.arms], np.int64)


def _by_arm(rows: Logged, field: str, texts: Sequence[str]) -> dict[str, str]:
    found = pairs(field, texts)
    strange = sorted(set(found) - set(rows.arms))
    if strange:
        raise UnknownName.of(field, f"must name one of the arms {list(rows.arms)}", strange[0])
    return found
