"""`decider frontier`: what every volume would earn, from a randomised log alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from decider.cli.options import ConfigPath, ModelsPath, Seed, TrainShare, configuration, examples, pairs
from decider.cli.output import Machine, emit, facts, say, table
from decider.cli.train import Half
from decider.cli.values import saw_rows
from decider.errors import InvalidInput, UnknownName
from decider.evaluation import Frontier, FrontierPoint, Logged, frontier, read_logged
from decider.learning import TrainSpec, cross_fit, fold_of, half_of
from decider.logbook.feedback import Feedback
from decider.models import RawMap, Registry, UpliftModel, load_model
from decider_core.score import posterior_moments

EXAMPLES = examples(
    "decider frontier feedback --reward visit --model visits",
    "decider frontier feedback --reward visit --model visits --exchange-rate 0.05 --today 0.03",
    "decider frontier feedback --reward visit --model visits --opt-outs unsubscribed --json",
)


def command(
    feedback: Annotated[Path, typer.Argument(metavar="FEEDBACK", help="Directory made by `log import`.")],
    reward: Annotated[str, typer.Option(help="Reward to judge by.")],
    model: Annotated[str, typer.Option(metavar="NAME|DIRECTORY", help="Model that values the messages.")],
    opt_outs: Annotated[
        str | None, typer.Option(help="Reward of the log that counts opt-outs, to be shown beside.")
    ] = None,
    exchange_rate: Annotated[
        float | None, typer.Option(help="Reward that one send must be worth; asks for a price.")
    ] = None,
    opt_out_rate: Annotated[float, typer.Option(min=0, help="Reward that one opt-out costs.")] = 0.0,
    today: Annotated[float | None, typer.Option(help="Today's price, to be marked.")] = None,
    half: Annotated[Half, typer.Option(help="Rows to judge on.")] = Half.HELD_OUT,
    share: TrainShare = 0.5,
    seed: Seed = 0,
    folds: Annotated[int, typer.Option(help="Folds of the cross-fitted reward model.")] = 5,
    resamples: Annotated[int, typer.Option(min=100, help="Resamples behind the bands.")] = 1000,
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
    """Print volume against incremental reward for every price, with bands that hold all points together.

    Each row is sent the message of the largest predicted incrementality, rows with the most first.
    """
    spec = TrainSpec(reward=reward, half=half.value, train_share=share, seed=seed, folds=folds)
    names = pairs("message", message or [])
    if opt_out_rate and opt_outs is None:
        raise InvalidInput.of("opt-out-rate", "needs --opt-outs", opt_out_rate)
    registry = Registry(models or configuration(config).path("models"))
    found = load_model(model) if Path(model).is_dir() else registry.load(model)
    stored = Feedback.open(feedback)
    log = read_logged(stored, reward)
    kept = half_of(log.member_keys, spec)
    rows = log.rows(kept)
    harm = read_logged(stored, opt_outs).rows(kept) if opt_outs else None
    seen = saw_rows(found, spec)
    if seen:
        say(f"note: {model} learnt from some of the rows that it is judged on", machine)
    curve = frontier(
        _predicted(rows, found, names),
        rows,
        _reward_model(rows, spec),
        harm=harm,
        q_harm=None if harm is None else _reward_model(harm, spec),
        exchange_rate=exchange_rate,
        harm_rate=opt_out_rate,
        today=today,
        n_resamples=resamples,
        seed=seed,
    )
    recommended = curve.recommended
    payload = {
        "feedback": str(feedback),
        "reward": reward,
        "opt_outs": opt_outs,
        "half": half.value,
        "rows_judged": rows.n_rows,
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
    emit(payload, machine, *_drawn(curve, reward, rows.n_rows, opt_outs))


def _predicted(log: Logged, model: UpliftModel, messages: dict[str, str]) -> Any:
    if model.outcome != "incrementality":
        raise InvalidInput.of("model", "must predict incrementality: its numbers are prices", model.outcome)
    model.check_features(log.feature_names)
    arms = [code for code in range(log.n_arms) if code != log.control]
    wanted = [messages.get(log.arms[code], log.arms[code]) for code in arms]
    bound = model.bind([(name, name.partition("@")[0], "") for name in wanted])
    for name, known in zip(wanted, bound.estimable, strict=True):
        if not known:
            raise UnknownName.of("message", f"must name one of {list(model.posterior_names)}", name)
    empty = np.zeros((len(model.pair_features), len(arms), log.n_rows), np.float32)
    mean, _ = posterior_moments(bound.packed, model.feature_map.apply(log.x), empty)
    tau = np.zeros((log.n_rows, log.n_arms))
    tau[:, arms] = mean.T
    return tau


def _reward_model(log: Logged, spec: TrainSpec) -> Any:
    z = RawMap.fit(log.x, log.feature_names).apply(log.x)
    return cross_fit(log, z, fold_of(log.member_keys, spec.folds, spec.seed), spec.folds)


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
