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
    Half,
    JudgedHalf,
    Messages,
    ModelNames,
    OptOuts,
    RewardName,
    RuleName,
    Volume,
    judging_spec,
    models_named,
    tell_of_seen_rows,
)
from decider.cli.options import ConfigPath, ModelsPath, Seed, TrainShare, examples, pairs, share_of
from decider.cli.output import Machine, emit, facts, progress, say
from decider.errors import InvalidInput, UnknownName
from decider.evaluation import (
    ESTIMATORS,
    JudgeSpec,
    Limits,
    judge_policies,
)
from decider.evaluation.members import MOST_MEMBERS, MemberCount
from decider.evaluation.policies import constant, random_at_volume
from decider.learning import LogPasses, Survey
from decider.learning.passes import Decide
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
    volume: Volume = "30%",
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
    spec = judging_spec(reward, half, share, seed, folds)
    loaded = models_named(model or [], models, config)
    limits = Limits(effective_rows=least_effective_rows, largest_share=largest_share)
    seen = tell_of_seen_rows(spec, loaded, machine)
    say(f"judging policies by {feedback}", machine)
    with progress(machine) as advance:
        log = LogPasses.open(feedback, spec, pairs("message", message or []), opt_outs, advance)
        judge = JudgeSpec(
            wanted, _groups(log, group or []), possible, rule.value, resamples, seed, limits,
            _costs(log, cost or []),
        )  # fmt: skip
        survey = log.survey(loaded)
        policies = _policies(log, survey, loaded, at)
        lessons = log.lessons(survey)
        judged = judge_policies(
            lambda stage: log.judged(survey, lessons, policies, stage), judge, survey.judged
        )
    say(f"judged {len(judged)} policies on {survey.n_judged:,} rows", machine)
    verdicts = [told.Verdict(name, *found) for name, found in judged.items()]
    effects, checks, n_rows = lessons.effects, lessons.checks, log.feedback.n_rows
    payload = {
        "feedback": str(feedback),
        "reward": reward,
        "control": effects.control,
        "rows": n_rows,
        "arms": [told.arm_payload(each) for each in effects.arms],
        "propensity_checks": [each._asdict() for each in checks],
        "half": half.value,
        "rows_judged": survey.n_judged,
        "members_judged": survey.judged.n,
        "errors_clustered_by": "member" if survey.judged.is_exact else "group of members",
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
        facts("Members", _members(survey.judged)),
        *told.drawn_effects(reward, n_rows, effects.arms, checks),
        *told.drawn_verdicts(verdicts, survey.n_judged, limits, opt_outs),
    ]
    unjudged = _unjudged(verdicts, {f"{name} at {at:.0%}" for name in loaded})
    if unjudged:
        drawn.append(facts("Not judged", {"policies": unjudged}))
    emit(payload, machine, *drawn)
    if unjudged:
        raise typer.Exit(NOT_READY)


def _policies(
    log: LogPasses, survey: Survey, loaded: Mapping[str, UpliftModel], at: float
) -> dict[str, Decide | None]:
    def arm_to_all(code: int) -> Decide:
        return lambda rows: constant(rows, code)

    policies: dict[str, Decide | None] = {"nobody": None}
    policies |= {f"{arm} to all": arm_to_all(a) for a, arm in enumerate(log.arms) if a != log.control}
    policies[f"random at {at:.0%}"] = lambda rows: random_at_volume(rows, at)
    for name, model in loaded.items():
        policies[f"{name} at {at:.0%}"] = log.best_at_volume(survey, name, model, at)
    return policies


def _members(judged: MemberCount) -> dict[str, str]:
    if judged.is_exact:
        return {"judged on": f"{judged.n:,}", "errors": "clustered by member"}
    return {
        "judged on": f"{judged.n:,}, counted to 0.1 %",
        "errors": f"clustered by groups of members, beyond {MOST_MEMBERS:,}: off by 0.3 % by chance",
    }


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


def _costs(log: LogPasses, texts: Sequence[str]) -> NDArray[np.float64] | None:
    if not texts:
        return None
    costs = np.ones(len(log.arms))
    costs[log.control] = 0.0
    for arm, text in _by_arm(log, "cost", texts).items():
        try:
            costs[log.arms.index(arm)] = float(text)
        except ValueError:
            raise InvalidInput.of("cost", f"must be a number for arm {arm!r}", text) from None
    return costs


def _groups(log: LogPasses, texts: Sequence[str]) -> NDArray[np.int64] | None:
    if not texts:
        return None
    named = {arm: arm for arm in log.arms} | _by_arm(log, "group", texts)
    names = list(dict.fromkeys(named.values()))
    return np.array([names.index(named[arm]) for arm in log.arms], np.int64)


def _by_arm(log: LogPasses, field: str, texts: Sequence[str]) -> dict[str, str]:
    found = pairs(field, texts)
    strange = sorted(set(found) - set(log.arms))
    if strange:
        raise UnknownName.of(field, f"must name one of the arms {list(log.arms)}", strange[0])
    return found
