"""What the commands that judge share: their options, the rows they judge on, the models they are given."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from decider.cli.options import configuration, pairs
from decider.cli.output import say
from decider.learning import Judging, TrainSpec, saw_rows
from decider.models import Registry, UpliftModel, load_model


class Half(StrEnum):
    """Which members."""

    TRAIN = "train"
    HELD_OUT = "held-out"
    ALL = "all"


FeedbackPath = Annotated[Path, typer.Argument(metavar="FEEDBACK", help="Directory made by `log import`.")]
RewardName = Annotated[str, typer.Option("--reward", help="Reward to judge by.")]
ModelNames = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME|DIRECTORY", help="Judge the choices of this model too; repeat it."),
]
OptOuts = Annotated[
    str | None,
    typer.Option("--opt-outs", help="Reward of the log that counts opt-outs, to be shown beside."),
]
Volume = Annotated[
    str,
    typer.Option("--volume", help="Share of members that `random` and the models may send to, such as 30%."),
]
ExchangeRate = Annotated[
    float | None,
    typer.Option("--exchange-rate", help="Reward that one send must be worth; asks for a price."),
]
Resamples = Annotated[
    int, typer.Option("--resamples", min=100, help="Resamples behind the bands and intervals.")
]
JudgedHalf = Annotated[Half, typer.Option("--half", help="Rows to judge on.")]
Folds = Annotated[int, typer.Option("--folds", help="Folds of the cross-fitted reward model behind DR.")]
Messages = Annotated[
    list[str] | None,
    typer.Option(
        "--message",
        metavar="ARM=MESSAGE",
        help="Message of an arm, where the model calls it so; repeat it.",
    ),
]


class RuleName(StrEnum):
    """How thresholds of clipping, switching and shrinking are chosen."""

    MSE = "mse"
    SLOPE = "slope"


def judging(
    feedback: Path,
    reward: str,
    half: Half,
    share: float,
    seed: int,
    folds: int,
    messages: Sequence[str] | None,
) -> Judging:
    """Open a log to judge on a part of its rows, in memory."""
    spec = judging_spec(reward, half, share, seed, folds)
    return Judging.open(feedback, spec, pairs("message", messages or []))


def judging_spec(reward: str, half: Half, share: float, seed: int, folds: int) -> TrainSpec:
    """Name the reward, the rows that judge and the folds of the reward model."""
    return TrainSpec(reward=reward, half=half.value, train_share=share, seed=seed, folds=folds)


def models_named(names: Sequence[str], models: Path | None, config: Path | None) -> dict[str, UpliftModel]:
    """Load models, each from a directory or by its name in the registry."""
    registry = Registry(models or configuration(config).path("models"))
    return {name: load_model(name) if Path(name).is_dir() else registry.load(name) for name in names}


def tell_of_seen_rows(spec: TrainSpec, loaded: dict[str, UpliftModel], machine: bool) -> dict[str, bool]:
    """Say which models learnt from rows that they are judged on."""
    seen = {name: saw_rows(model, spec) for name, model in loaded.items()}
    for name in (name for name, is_seen in seen.items() if is_seen):
        say(f"note: {name} learnt from some of the rows that it is judged on", machine)
    return seen
