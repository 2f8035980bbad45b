"""`decider evaluate`: what arms did on average, and what policies are worth, from a randomised log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from decider.cli.options import (
    ConfigPath,
    ModelsPath,
    Seed,
    TrainShare,
    configuration,
    examples,
    pairs,
    share_of,
)
from decider.cli.output import Machine, emit, facts, progress, say, table
from decider.cli.train import Half
from decider.cli.values import Judged, choose_at_volume, constant, judge, random_at_volume, saw_rows
from decider.evaluation import (
    ArmEffect,
    Estimate,
    Logged,
    PropensityCheck,
    arm_effects,
    check_propensities,
    read_logged,
)
from decider.learning import TrainSpec, half_of
from decider.logbook.feedback import Feedback
from decider.models import Registry, UpliftModel, load_model

EXAMPLES = examples(
    "decider evaluate feedback --reward visit",
    "decider evaluate feedback --reward visit --model visits --volume 30%",
    "decider evaluate feedback --reward visit --model artifacts/visits-0123456789abcdef --json",
)


def evaluate(
    feedback: Annotated[Path, typer.Argument(metavar="FEEDBACK", help="Directory made by `log import`.")],
    reward: Annotated[str, typer.Option(help="Reward to judge by.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|DIRECTORY", help="Judge the choices of this model too; repeat it."),
    ] = None,
    volume: Annotated[
        str, typer.Option(help="Share of members that `random` and the models may send to, such as 30%.")
    ] = "30%",
    half: Annotated[Half, typer.Option(help="Rows to judge policies on.")] = Half.HELD_OUT,
    share: TrainShare = 0.5,
    seed: Seed = 0,
    folds: Annotated[int, typer.Option(help="Folds of the cross-fitted reward model behind DR.")] = 5,
    resamples: Annotated[
        int, typer.Option(min=0, help="Resamples of the bootstrap; below 100 there is no bootstrap.")
    ] = 1000,
    message: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM=MESSAGE", help="Message of an arm, where the model calls it so; repeat it."
        ),
    ] = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Print average effects of arms, and values of policies with 95 % intervals, or why there are none.

    Average effects are of the whole log; policies are judged on the half named.
    """
    at = share_of("volume", volume)
    spec = TrainSpec(reward=reward, half=half.value, train_share=share, seed=seed, folds=folds)
    names = pairs("message", message or [])
    registry = Registry(models or configuration(config).path("models"))
    loaded = {name: _model(registry, name) for name in model or []}
    log = read_logged(Feedback.open(feedback), reward)
    rows = log.rows(half_of(log.member_keys, spec))
    targets = {"nobody": constant(rows, rows.control)}
    targets |= {f"{arm} to all": constant(rows, a) for a, arm in enumerate(log.arms) if a != rows.control}
    targets[f"random at {at:.0%}"] = random_at_volume(rows, at)
    seen = {}
    for name, found in loaded.items():
        targets[f"{name} at {at:.0%}"] = choose_at_volume(rows, found, at, names)
        seen[name] = saw_rows(found, spec)
        if seen[name]:
            say(f"note: {name} learnt from some of the rows that it is judged on", machine)
    say(f"judging {len(targets)} policies on {rows.n_rows:,} rows", machine)
    with progress(machine) as advance:
        values = judge(rows, targets, spec, resamples, lambda done: advance("policies", done, len(targets)))
    effects = arm_effects(log)
    payload = {
        "feedback": str(feedback),
        "reward": reward,
        "control": effects.control,
        "rows": log.n_rows,
        "arms": [_arm(each) for each in effects.arms],
        "propensity_checks": [each._asdict() for each in check_propensities(log)],
        "half": half.value,
        "rows_judged": rows.n_rows,
        "volume": at,
        "models": {
            name: {"version": each.version, "outcome": each.outcome, "learnt_from_judged_rows": seen[name]}
            for name, each in loaded.items()
        },
        "values": [_value(each) for each in values],
    }
    emit(payload, machine, *_drawn(log, effects.arms, check_propensities(log), rows, values))


def _model(registry: Registry, name: str) -> UpliftModel:
    return load_model(name) if Path(name).is_dir() else registry.load(name)


def _arm(effect: ArmEffect) -> dict[str, Any]:
    return {
        "arm": effect.arm,
        "rows": effect.n_rows,
        "mean": _estimate(effect.mean),
        "incrementality": None if effect.incrementality is None else _estimate(effect.incrementality),
    }


def _value(judged: Judged) -> dict[str, Any]:
    value = judged.value
    estimators = ("ips", "snips", "dr", "incremental_ips", "incremental_snips", "incremental_dr")
    return {
        "policy": judged.policy,
        "send_share": value.send_share,
        **{name: _estimate(getattr(value, name)) for name in estimators},
        "support": value.support._asdict(),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "normal": estimate.normal,
        "bootstrap": estimate.bootstrap,
        "refused": estimate.refused or None,
    }


def _drawn(
    log: Logged,
    arms: tuple[ArmEffect, ...],
    checks: list[PropensityCheck],
    rows: Logged,
    values: list[Judged],
) -> list[Any]:
    effects = [
        (
            each.arm,
            each.n_rows,
            _number(each.mean),
            "" if each.incrementality is None else _number(each.incrementality, sign=True, error=True),
            "" if each.incrementality is None else _interval(each.incrementality),
        )
        for each in arms
    ]
    chances = [(each.arm, each.ratio, each.standard_error, each.z) for each in checks]
    judged = [
        (
            each.policy,
            f"{each.value.send_share:.1%}",
            *(_with_interval(getattr(each.value, name)) for name in ("ips", "snips", "dr")),
            _with_interval(each.value.incremental_dr, sign=True),
        )
        for each in values
    ]
    refused = {
        f"{each.policy}: {name}": getattr(each.value, name).refused
        for each in values
        for name in ("ips", "snips", "dr", "incremental_dr")
    }
    drawn: list[Any] = [
        table(
            f"Average effects on {log.reward_name}, all {log.n_rows:,} rows",
            ("arm", "rows", "mean", "incrementality (se)", "95 % interval"),
            effects,
        ),
        table("Propensities: given over expected", ("arm", "ratio", "se", "z"), chances),
        table(
            f"Values of policies per row, {rows.n_rows:,} rows (95 % intervals)",
            ("policy", "sends", "IPS", "SNIPS", "DR", "DR less nobody"),
            judged,
        ),
    ]
    return [*drawn, facts("No number where the log cannot tell", refused)] if any(refused.values()) else drawn


def _number(estimate: Estimate, *, sign: bool = False, error: bool = False) -> str:
    if estimate.value is None:
        return "refused"
    text = f"{estimate.value:+.6f}" if sign else f"{estimate.value:.6f}"
    return f"{text} ({estimate.standard_error:.6f})" if error else text


def _interval(estimate: Estimate) -> str:
    ends = estimate.normal
    return "" if ends is None else f"{ends.low:+.6f} .. {ends.high:+.6f}"


def _with_interval(estimate: Estimate, *, sign: bool = False) -> str:
    ends = estimate.bootstrap or estimate.normal
    if estimate.value is None or ends is None:
        return "refused"
    form = "+.4f" if sign else ".4f"
    return f"{estimate.value:{form}} [{ends.low:{form}}, {ends.high:{form}}]"
