"""The `decider` command."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import structlog
import typer

from decider.cli import (
    bench,
    catalog,
    decide,
    doctor,
    evaluate,
    experiment,
    explain,
    frontier,
    log,
    model,
    report,
    serve,
    simulate,
    snapshot,
    train,
)
from decider.cli.demo import demo
from decider.cli.failures import FrontDoor
from decider.cli.options import examples

app = typer.Typer(
    name="decider",
    cls=FrontDoor,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Decide which messages to send to whom, on which channels, by what each would cause.",
    epilog=examples(
        "decider demo",
        "decider doctor",
        "decider serve --config decider.toml",
        "decider decide --volume 30% --out results.parquet",
        "Exit codes: 0 done; 1 unexpected, or a check failed; 2 bad input; 3 corrupt or not ready; 4 try "
        "again; 130 interrupted.",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"decider {version('decider')}")
        except PackageNotFoundError:
            typer.echo("decider, not installed: it runs from its source folder")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Options of all commands."""
    # Standard output is the answer's. The stream is looked up for each line, since it may change.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


app.command("demo")(demo)
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(catalog.app, name="catalog")
app.add_typer(log.app, name="log")
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("frontier", epilog=frontier.EXAMPLES)(frontier.command)
app.add_typer(experiment.app, name="experiment")
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("decide", epilog=decide.EXAMPLES)(decide.decide)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("simulate", epilog=simulate.EXAMPLES)(simulate.simulate)
app.add_typer(model.app, name="model")
app.command("explain", epilog=explain.EXAMPLES)(explain.explain)
app.command("bench", epilog=bench.EXAMPLES)(bench.bench)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
