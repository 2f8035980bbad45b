"""`decider doctor`: is everything there that the service needs, and does it agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from decider.cli import checks, checks_parts
from decider.cli.checks import Finding
from decider.cli.failures import UNEXPECTED
from decider.cli.options import DEFAULT_CONFIG, ConfigPath, configuration, examples
from decider.cli.output import Machine, emit, progress, table
from decider.config import Config
from decider.errors import DeciderError

EXAMPLES = examples(
    "decider doctor", "decider doctor --config decider.toml --json", "decider doctor --machine-only"
)


class _Step(NamedTuple):
    name: str
    check: Callable[[], Finding]
    remedy: str


_MACHINE = (
    _Step("python", checks.python, "install Python 3.11 or newer"),
    _Step("packages", checks.packages, "pip install --upgrade decider"),
    _Step("processor", checks.processor, "report what it is"),
    _Step("kernel cache", checks.kernel_cache, "set NUMBA_CACHE_DIR to a folder that can be written"),
    _Step("kernels", checks.kernels, "empty the folder of the kernel cache and try again"),
)

_PARTS = (
    (
        "catalog",
        checks_parts.catalog,
        "write one as examples/catalog.toml, or name yours in the configuration",
    ),
    (
        "policies",
        checks_parts.policies,
        "write them as examples/policies.toml, or name yours in the configuration",
    ),
    ("snapshot", checks_parts.snapshot, "build it anew: decider snapshot build --help"),
    ("models", checks_parts.models, "decider model roll-back NAME, or train anew"),
    ("agreement", checks_parts.agreement, "mend what is named first"),
    ("logbook", checks_parts.logbook, "decider log verify shows what is wrong; restore it from its copy"),
    ("port", checks_parts.port, "set listen to another address"),
)


def doctor(
    config: ConfigPath = None,
    machine_only: Annotated[
        bool, typer.Option("--machine-only", help="Leave out the files that the configuration names.")
    ] = False,
    machine: Machine = False,
) -> None:
    """Check the machine, the kernels and the files of a configuration; say what to do where one fails.

    Exit 1 when a check fails; warnings do not count.
    """
    steps = [*_MACHINE, *([] if machine_only else _of_config(config))]
    made: list[tuple[str, Finding]] = []
    with progress(machine) as advance:
        for done, step in enumerate(steps):
            advance(step.name, done, len(steps))
            made.append((step.name, _guarded(step)))
    failed = sum(finding.verdict == "fail" for _, finding in made)
    warned = sum(finding.verdict == "warn" for _, finding in made)
    rows = [(finding.verdict, name, finding.found, finding.remedy) for name, finding in made]
    payload = {
        "healthy": not failed,
        "failed": failed,
        "warned": warned,
        "checks": [{"name": name, **finding._asdict()} for name, finding in made],
    }
    title = f"{failed} failed, {warned} warned" if failed or warned else "All is well"
    emit(payload, machine, table(title, ("", "check", "found", "what to do"), rows))
    if failed:
        raise typer.Exit(UNEXPECTED)


def _of_config(path: Path | None) -> list[_Step]:
    """The steps that a configuration asks for; the only one that fails when it cannot be read."""
    try:
        config = configuration(path)
    except DeciderError as error:
        broken = Finding(
            "fail", str(error), "mend the configuration: examples/decider.toml explains each line"
        )
        return [_Step("configuration", lambda: broken, "")]
    named = path or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)
    first = _Step("configuration", lambda: checks_parts.config_file(named, config), "")
    return [first, *(_Step(name, _bound(check, config), remedy) for name, check, remedy in _PARTS)]


def _bound(check: Callable[[Config], Finding], config: Config) -> Callable[[], Finding]:
    return lambda: check(config)


def _guarded(step: _Step) -> Finding:
    """A check that breaks is one that fails; the others are still made."""
    try:
        return step.check()
    except DeciderError as error:
        return Finding("fail", str(error), step.remedy)
    except Exception as error:
        return Finding("fail", f"{type(error).__name__}: {error}", step.remedy)
