"""`decider train`: from feedback to uplift models, stored and published."""

from __future__ import annotations

import getpass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from decider.cli.judging import FeedbackPath, Half
from decider.cli.options import ConfigPath, ModelsPath, Seed, TrainShare, configuration, examples, pairs
from decider.cli.output import Machine, emit, facts, say, table
from decider.errors import InvalidInput
from decider.learning import TrainSpec
from decider.learning import train as learn
from decider.learning.train import Learner
from decider.logbook.feedback import Feedback
from decider.models import Registry, UpliftModel, save_model

EXAMPLES = examples(
    "decider train feedback --reward visit --name visits",
    "decider train feedback --reward visit --learner all --half all --type new-arrival=new_arrival",
    "decider train feedback --reward visit --learner r --type mens=clothes --type womens=clothes",
    "decider train feedback --reward visit --feature-map gbdt --map-trees 2",
    "decider train feedback --reward visit --no-publish --out artifacts",
)


class LearnerChoice(StrEnum):
    """What to learn."""

    AUTO = "auto"
    S = "s"
    T = "t"
    X = "x"
    DR = "dr"
    DR_GBDT = "dr-gbdt"
    PROGNOSTIC = "prognostic"
    DR_PROGNOSTIC = "dr-prognostic"
    R = "r"
    CORRELATIONAL = "correlational"
    ALL = "all"


class MapChoice(StrEnum):
    """What effects are linear in."""

    RAW = "raw"
    GBDT = "gbdt"
    ONNX = "onnx"


_LEARNERS: dict[LearnerChoice, tuple[Learner, ...]] = {
    LearnerChoice.AUTO: ("auto",),
    LearnerChoice.S: ("s_learner",),
    LearnerChoice.T: ("t_learner",),
    LearnerChoice.X: ("x_learner",),
    LearnerChoice.DR: ("dr_learner",),
    LearnerChoice.DR_GBDT: ("dr_gbdt",),
    LearnerChoice.PROGNOSTIC: ("prognostic",),
    LearnerChoice.DR_PROGNOSTIC: ("dr_prognostic",),
    LearnerChoice.R: ("r_learner",),
    LearnerChoice.CORRELATIONAL: ("correlational",),
    LearnerChoice.ALL: ("auto", "correlational"),
}


def train(
    feedback: FeedbackPath,
    reward: Annotated[str, typer.Option(help="Reward to learn.")],
    learner: Annotated[
        LearnerChoice,
        typer.Option(
            help="How to learn incrementality (auto: what held-out rows support; r: all messages in one posterior, "
            "types as their parents), the correlational baseline, or all: auto and the baseline."
        ),
    ] = LearnerChoice.AUTO,
    name: Annotated[
        str | None,
        typer.Option(help="The model's name; with `--learner all` the baseline is NAME-correlational."),
    ] = None,
    half: Annotated[Half, typer.Option(help="Which members to learn from.")] = Half.TRAIN,
    share: TrainShare = 0.5,
    seed: Seed = 0,
    folds: Annotated[int, typer.Option(help="Folds of the cross-fitting.")] = 5,
    message: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM=MESSAGE", help="Message, or MESSAGE@CHANNEL, of an arm; repeat it."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="ARM=TYPE", help="Message type that an arm teaches; repeat it."),
    ] = None,
    widen: Annotated[float, typer.Option(help="How much less is known of a new message of a type.")] = 2.0,
    feature_map: Annotated[
        MapChoice,
        typer.Option(
            help="What effects are linear in: the features; these and the leaves of boosted trees, which are "
            "grown on members of their own; or these and the outputs of a network."
        ),
    ] = MapChoice.RAW,
    map_share: Annotated[
        float, typer.Option(help="With gbdt: share of the members that trees are grown on.")
    ] = 0.3,
    map_trees: Annotated[
        int, typer.Option(help="With gbdt: trees for the reward, and as many for effects.")
    ] = 4,
    map_leaves: Annotated[int, typer.Option(help="With gbdt: the most leaves of a tree.")] = 8,
    onnx: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With onnx: the network, raw features to outputs.")
    ] = None,
    publish: Annotated[bool, typer.Option(help="Make the models those that decide.")] = True,
    out: Annotated[Path | None, typer.Option(help="With --no-publish: folder for the artifacts.")] = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Learn what each message causes from the feedback of a randomised trial."""
    if publish == (out is not None):
        rule = "must be given with --no-publish, and only then: published models go to the registry"
        raise InvalidInput.of("out", rule, None if out is None else str(out))
    learners = _LEARNERS[learner]
    spec = TrainSpec(
        reward=reward,
        learners=learners,
        names=_names(learners, name),
        half=half.value,
        train_share=share,
        folds=folds,
        seed=seed,
        messages=pairs("message", message or []),
        types=pairs("type", kind or []),
        widen=widen,
        feature_map=feature_map.value,
        map_share=map_share,
        map_trees=map_trees,
        map_leaves=map_leaves,
        network=None if onnx is None else _bytes_of(onnx),
    )
    registry = Registry(models or configuration(config).path("models"))
    opened = Feedback.open(feedback)
    say(f"learning {reward} from {opened.n_rows:,} rows", machine)
    training = learn(opened, spec)
    stored = [_store(model, registry, out) for model in training.models]
    described = [described_model(model) | place for model, place in zip(training.models, stored, strict=True)]
    payload = {"feedback": str(feedback), "facts": training.facts, "models": described}
    emit(
        payload,
        machine,
        facts("Training", training.facts),
        *(each for m in described for each in drawn_model(m)),
    )


def described_model(model: UpliftModel) -> dict[str, Any]:
    """Say what a model is and what it was learnt from."""
    return {
        "name": model.name,
        "version": model.version,
        "outcome": model.outcome,
        "reward": model.reward,
        "posteriors": model.posterior_names,
        "features": model.feature_map.feature_names,
        "pair_features": model.pair_features,
        "trained": dict(model.trained),
    }


def drawn_model(described: dict[str, Any]) -> list[Any]:
    """Lay out what :func:`described_model` says, and where the model is."""
    hidden = ("trained", "features")
    drawn = [facts(f"Model {described['name']}", {k: v for k, v in described.items() if k not in hidden})]
    arms = described["trained"].get("arms", {})
    if arms:
        measured = ("n_rows", "average", "average_sd", "noise_variance", "shrinkage")
        rows = [(arm, *(of.get(name) for name in measured)) for arm, of in arms.items()]
        header = ("arm", "rows", "average", "its sd", "noise variance", "prior scale")
        drawn.append(table(f"What {described['name']} learnt ({described['outcome']})", header, rows))
    chosen = described["trained"].get("choice", {}).get("arms", {})
    if chosen:
        losses = [
            (arm, of["learner"], name, loss["excess"], loss["standard_error"])
            for arm, of in chosen.items()
            for name, loss in of["losses"].items()
        ]
        columns = ("arm", "chosen", "learner", "loss above the least", "its se")
        drawn.append(table(f"Why {described['name']} learnt so: held-out loss", columns, losses))
    return drawn


def somebody() -> str:
    """Who runs this, for the registry's history."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.of(
            "onnx", f"must be a file that can be read ({error.strerror})", str(path)
        ) from error


def _names(learners: tuple[Learner, ...], name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    if len(learners) == 1:
        return {learners[0]: name}
    return {"auto": name, "correlational": f"{name}-correlational"}


def _store(model: UpliftModel, registry: Registry, out: Path | None) -> dict[str, Any]:
    if out is None:
        registry.publish(model, who=somebody())
        return {"published": True, "directory": None}
    directory = out / f"{model.name}-{model.version.removeprefix('sha256:')}"
    save_model(model, directory)
    return {"published": False, "directory": str(directory)}
