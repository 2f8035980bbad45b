"""The `decider` command."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import structlog
import typer

from decider.cli.failures import FrontDoor
from decider.cli.options import examples
from decider.service.heap import made_to_stay

COMMANDS = {
    "demo": "demo",
    "snapshot": "app",
    "catalog": "app",
    "log": "app",
    "train": "train",
    "evaluate": "evaluate",
    "frontier": "command",
    "experiment": "app",
    "report": "report",
    "decide": "decide",
    "serve": "serve",
    "loop": "app",
    "simulate": "simulate",
    "model": "app",
    "explain": "explain",
    "bench": "bench",
    "doctor": "doctor",
}
"""Each command and what stands for it in the module of its name; in the order in which they are listed."""


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with some of its commands.

    A service starts in half the time when it does not load what learns, judges and draws.
    """
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
    app.callback()(root)
    for name in names:
        module = import_module(f"decider.cli.{name}")
        command = getattr(module, COMMANDS[name])
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, epilog=getattr(module, "EXAMPLES", None))(command)
    return app


def run(arguments: list[str], program: str = "decider") -> None:
    """Run the command that the arguments name; ends the process."""
    named = next((each for each in arguments if not each.startswith("-")), "")
    with made_to_stay():
        app = build_app([named] if named in COMMANDS else COMMANDS)
    app(arguments, prog_name=program)


def main() -> None:
    """Run the command line."""
    run(sys.argv[1:])


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return build_app()


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"decider {version('decider')}")
        except PackageNotFoundError:
            typer.echo("decider, not installed: it runs from its source folder")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Options of all commands."""
    # Standard output is the answer's. The stream is looked up for each line, since it may change.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


if __name__ == "__main__":
    main()
