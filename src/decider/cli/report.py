"""`decider report`: one HTML file of what was found, to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from decider.cli.experiment import look
from decider.cli.judging import (
    ExchangeRate,
    FeedbackPath,
    Folds,
    Half,
    JudgedHalf,
    Messages,
    ModelNames,
    OptOuts,
    Resamples,
    RewardName,
    Volume,
    judging,
    models_named,
    tell_of_seen_rows,
)
from decider.cli.options import (
    ConfigPath,
    ModelsPath,
    Seed,
    TrainShare,
    configuration,
    examples,
    micros_of,
    moment,
    pairs,
    rfc3339,
    share_of,
)
from decider.cli.output import Machine, emit, facts, say
from decider.config import Config
from decider.errors import InvalidInput, NotFound
from decider.evaluation.policies import Target, best_at_volume, constant, random_at_volume
from decider.experiments import load_experiment
from decider.learning import Judging
from decider.logbook import Logbook
from decider.logbook.schema import RunRecord
from decider.models import Registry, UpliftModel
from decider.reporting import gather, run_view, write_report
from decider.reporting.page import Section
from decider.reporting.sections.decided import RunView
from decider.reporting.sections.experiments import experiment_section
from decider.reporting.sections.posteriors import Version
from decider.service.compose import engine_to_read

EXAMPLES = examples(
    "decider report feedback --reward visit --model visits",
    "decider report feedback --reward visit --model visits --run monday --exchange-rate 0.05 --out monday.html",
    "decider report feedback --reward visit --experiment trial.toml=feedback",
)


def report(
    feedback: FeedbackPath,
    reward: RewardName,
    model: ModelNames = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="REQUEST_ID|RUN_ID",
            help="Show what this run of the logbook decided, cell by cell where it ran an experiment.",
        ),
    ] = None,
    volume: Volume = "30%",
    experiment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE=LOGBOOK|FEEDBACK",
            help="Show the read-out of this experiment; repeat it.",
        ),
    ] = None,
    opt_outs: OptOuts = None,
    exchange_rate: ExchangeRate = None,
    today: Annotated[
        float | None,
        typer.Option(help="Today's price, to be marked.  [default: that of --run, where its cells have one]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("report.html"),
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
    """Write one self-contained HTML file: warnings, decisions, price, estimates, uplift, posteriors, chance.

    The first model named stands in the middle; it orders the rows of frontier and uplift curves. The file opens from
    disk without a network, in light and dark, on a phone too.
    """
    if not out.absolute().parent.is_dir():
        raise InvalidInput.of("out", "must lie in a folder that exists", str(out))
    at = share_of("volume", volume)
    settings = configuration(config)
    judge = judging(feedback, reward, half, share, seed, folds, message)
    loaded = models_named(model or [], models, config)
    tell_of_seen_rows(judge.spec, loaded, machine)
    view = None if run is None else run_named(settings, run)
    policies = _policies(judge, loaded, at)
    first = next(iter(loaded.values()), None)
    by_effect = next((each for each in loaded.values() if each.outcome == "incrementality"), None)
    say(f"judging {len(policies)} policies on {judge.rows.n_rows:,} rows", machine)
    made = gather(
        judge,
        policies,
        f"{next(iter(loaded))} at {at:.0%}" if loaded else f"random at {at:.0%}",
        by_effect,
        title=f"What messages cause in {reward}",
        facts=facts_of(judge, loaded),
        versions=[] if first is None else versions_of(Registry(models or settings.path("models")), first),
        run=view,
        opt_outs=opt_outs,
        exchange_rate=exchange_rate,
        more=_experiments(settings, experiment or [], machine),
        today=view.price if today is None and view is not None else today,
        n_resamples=resamples,
    )
    write_report(made, out)
    payload = {"report": str(out), "bytes": out.stat().st_size}
    emit(payload, machine, facts("Report", {"open": str(out.absolute()), "bytes": out.stat().st_size}))


def run_named(config: Config, name: str) -> RunView:
    """Read a finished run of the logbook, by its request or its own id."""
    with engine_to_read(config) as engine, Logbook.open(config.path("logbook"), read_only=True) as log:
        run = _found(log, name)
        if not run.finished:
            raise InvalidInput.of("run", "must have finished", name)
        return run_view(log, engine, run)


def versions_of(registry: Registry, model: UpliftModel) -> list[Version]:
    """All published versions of a model in their order, up to the one given; only it, if it was never published."""
    try:
        history = registry.history(model.name)
    except NotFound:
        return [Version(model, "not published")]
    stored = set(registry.versions(model.name))
    found = [
        Version(registry.load(model.name, each.version), rfc3339(each.time_micros)[:16].replace("T", " "))
        for each in history
        if each.action == "publish" and each.version in stored
    ]
    known = [each.model.version for each in found]
    if model.version not in known:
        return [*found, Version(model, "not published")]
    return found[: known.index(model.version) + 1]


def facts_of(judge: Judging, loaded: Mapping[str, UpliftModel]) -> list[tuple[str, str]]:
    """Where a report's numbers come from."""
    spec = judge.spec
    found = [
        ("Feedback", f"{judge.feedback.path.name}, {judge.feedback.version}"),
        ("Rows that judge", f"{judge.rows.n_rows:,} of {judge.log.n_rows:,} ({spec.half}, seed {spec.seed})"),
        ("Arms", ", ".join(judge.log.arms)),
    ]
    return found + [(f"Model {name}", model.version) for name, model in loaded.items()]


def _experiments(settings: Config, texts: Sequence[str], machine: bool) -> list[Section]:
    now = micros_of(moment("until", None))
    return [
        experiment_section(look(load_experiment(Path(file)), Path(source), now, settings, machine))
        for file, source in pairs("experiment", texts).items()
    ]


def _found(log: Logbook, name: str) -> RunRecord:
    run = next((each for each in log.runs() if name in (each.run_id, each.request_id)), None)
    if run is None:
        raise NotFound("run", "run", name)
    return run


def _policies(judge: Judging, loaded: Mapping[str, UpliftModel], at: float) -> dict[str, Target]:
    rows = judge.rows
    targets = {f"{arm} to all": constant(rows, a) for a, arm in enumerate(rows.arms) if a != rows.control}
    targets[f"random at {at:.0%}"] = random_at_volume(rows, at)
    for name, model in loaded.items():
        targets[f"{name} at {at:.0%}"] = best_at_volume(rows, judge.predicted(model), at)
    return targets
