"""`decider frontier`: what every volume would earn, from a randomised log alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from decider.cli.judging import (
    ExchangeRate,
    FeedbackPath,
    Folds,
    Half,
    JudgedHalf,
    Messages,
    OptOuts,
    Resamples,
    RewardName,
    judging_spec,
    models_named,
    tell_of_seen_rows,
)
from decider.cli.options import ConfigPath, ModelsPath, Seed, TrainShare, examples, pairs
from decider.cli.output import Machine, emit, facts, progress, table
from decider.errors import InvalidInput
from decider.evaluation import Frontier, FrontierPoint, FrontierSpec, frontier_in_passes
from decider.learning import LogPasses

EXAMPLES = examples(
    "decider frontier feedback --reward visit --model visits",
    "decider frontier feedback --reward visit --model visits --exchange-rate 0.05 --today 0.03",
    "decider frontier feedback --reward visit --model visits --opt-outs unsubscribed --json",
)


def command(
    feedback: FeedbackPath,
    reward: RewardName,
    model: Annotated[str, typer.Option(metavar="NAME|DIRECTORY", help="Model that values the messages.")],
    opt_outs: OptOuts = None,
    exchange_rate: ExchangeRate = None,
    opt_out_rate: Annotated[float, typer.Option(min=0, help="Reward that one opt-out costs.")] = 0.0,
    today: Annotated[float | None, typer.Option(help="Today's price, to be marked.")] = None,
    half: JudgedHalf = Half.HELD_OUT,
    share: TrainShare = 0.5,
    seed: Seed = 0,
    folds: Folds = 5,
    resamples: Resamples = 1000,
    message: Messages = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Print volume against incremental reward for every price, with bands that hold all points together.

    Each row is sent the message of the largest predicted incrementality, rows with the most first.
    """
    if opt_out_rate and opt_outs is None:
        raise InvalidInput.of("opt-out-rate", "needs --opt-outs", opt_out_rate)
    loaded = models_named([model], models, config)
    found = loaded[model]
    if found.outcome != "incrementality":
        raise InvalidInput.of("model", "must predict incrementality: its numbers are prices", found.outcome)
    spec = judging_spec(reward, half, share, seed, folds)
    asked = FrontierSpec(exchange_rate, opt_out_rate, today, n_resamples=resamples, seed=seed)
    seen = tell_of_seen_rows(spec, loaded, machine)[model]
    with progress(machine) as advance:
        log = LogPasses.open(feedback, spec, pairs("message", message or []), opt_outs, advance)
        survey = log.survey()
        lessons = log.lessons(survey)
        curve = frontier_in_passes(
            lambda stage: log.ranked(survey, lessons, found, stage), asked, survey.judged
        )
    recommended = curve.recommended
    payload = {
        "feedback": str(feedback),
        "reward": reward,
        "opt_outs": opt_outs,
        "half": half.value,
        "rows_judged": survey.n_judged,
        "model": {"name": model, "version": found.version, "learnt_from_judged_rows": seen},
        "refused": curve.refused or None,
        "points": [point._asdict() for point in curve.points],
        "today": None if curve.today is None else curve.today._asdict(),
        "exchange_rate": exchange_rate,
        "opt_out_rate": opt_out_rate,
        "recommended": None
        if recommended is None
        else {
            **recommended.point._asdict(),
            "net": recommended.net,
            "volumes_not_told_apart": recommended.volumes,
        },
    }
    emit(payload, machine, *_drawn(curve, reward, survey.n_judged, opt_outs))


def _drawn(curve: Frontier, reward: str, n_rows: int, opt_outs: str | None) -> list[Any]:
    if curve.refused:
        return [facts("No frontier", {"because": curve.refused})]
    header: tuple[str, ...] = ("volume", "price", f"incremental {reward}", "95 % band of all")
    header += (f"incremental {opt_outs}", "its band") if opt_outs else ()
    tenths = [point for place, point in enumerate(curve.points) if place % 10 == 0]
    drawn = [table(f"Frontier per row, {n_rows:,} rows", header, [_row(each) for each in tenths])]
    marked = {}
    if curve.today is not None:
        marked["today"] = _told(curve.today)
    if curve.recommended is not None:
        low, high = curve.recommended.volumes
        marked["recommended"] = _told(curve.recommended.point)
        marked["net reward per row"] = f"{curve.recommended.net:+.6f}"
        marked["volumes not told apart from it"] = f"{low:.0%} .. {high:.0%}"
    return [*drawn, facts("Prices", marked)] if marked else drawn


def _row(point: FrontierPoint) -> tuple[str, ...]:
    row = (f"{point.volume:.1%}", _price(point), f"{point.reward:+.6f}", _ends(point.band))
    if point.harm is None or point.harm_band is None:
        return row
    return (*row, f"{point.harm:+.6f}", _ends(point.harm_band))


def _told(point: FrontierPoint) -> str:
    return f"price {_price(point)}, volume {point.volume:.1%}, reward {point.reward:+.6f} {_ends(point.band)}"


def _price(point: FrontierPoint) -> str:
    return "none sent" if point.price is None else f"{point.price:.6f}"


def _ends(ends: Any) -> str:
    return f"[{ends.low:+.6f}, {ends.high:+.6f}]"
