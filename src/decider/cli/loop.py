"""`decider loop`: decide, wait, attribute, learn, pass gates, publish, and again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decider.cli.options import ConfigPath, configuration, examples
from decider.cli.output import Machine, as_json, emit, facts, say
from decider.clock import SystemClock
from decider.loop.loop import Epoch, live
from decider.loop.loop import begin as begin_loop
from decider.loop.spec import load_loop

app = typer.Typer(
    no_args_is_help=True, help="Close the loop: decide, learn from what came of it, publish, again."
)

LoopFile = Annotated[Path, typer.Option("--loop", metavar="FILE", help="TOML file of the loop.")]


@app.command(epilog=examples("decider loop begin --loop loop.toml --config decider.toml"))
def begin(loop: LoopFile, config: ConfigPath = None, machine: Machine = False) -> None:
    """Publish a model that knows nothing yet, for the service to start with."""
    spec = load_loop(loop)
    version = begin_loop(spec, configuration(config))
    told = {"model": spec.model, "version": version}
    emit(told, machine, facts("A model that knows nothing yet", told))


@app.command(
    epilog=examples(
        "decider loop run --loop loop.toml --config decider.toml",
        "decider loop run --loop loop.toml --epochs 7 --json",
    )
)
def run(
    loop: LoopFile,
    config: ConfigPath = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="End after so many, from the first on.  [default: never]")
    ] = None,
    machine: Annotated[
        bool, typer.Option("--json", help="Print one JSON object an epoch, each on a line, and nothing else.")
    ] = False,
) -> None:
    """Go round beside the running service; a line an epoch.

    Broken off anywhere, it goes on where it was: it remembers nothing but the log and the registry.
    """
    spec = load_loop(loop)
    say(f"loop {spec.name}: epoch 0 at {spec.first.isoformat()}, every {spec.epoch_seconds:,} s", machine)
    for epoch in live(spec, configuration(config), SystemClock(), epochs):
        typer.echo(as_json(epoch.as_dict()) if machine else _line(epoch))


def _line(epoch: Epoch) -> str:
    sends = "decided before" if epoch.sends is None else f"{epoch.sends:,} sends"
    learned = f"{epoch.n_closed} epochs closed, {epoch.n_rows:,} drawn sets"
    ended = f"published {epoch.published}" if epoch.published else f"the old model stays: {epoch.refused}"
    if epoch.better_by is not None and epoch.better_by_interval is not None:
        low, high = epoch.better_by_interval
        learned += f"; {epoch.better_by:+.4g} [{low:+.4g}, {high:+.4g}] a member against the old model"
    return f"epoch {epoch.epoch}: {sends}; {learned}; {ended}"
