"""How a command fails: one clear message, a JSON object for programs, an exit code that says what kind it is.

====  ==============================================================
code  meaning
====  ==============================================================
0     done
1     something unexpected, or a check of ``decider doctor`` failed
2     bad input: a wrong option, a broken rule, not found, a conflict
3     an artifact is corrupt, or something needed is missing
4     a passing fault: try again
130   interrupted
====  ==============================================================
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from decider import errors
from decider.cli.output import as_json, say

UNEXPECTED, BAD_INPUT, NOT_READY, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 4, 130

_CODES: tuple[tuple[type[errors.DeciderError], int], ...] = (
    (errors.InvalidInput, BAD_INPUT),
    (errors.NotFound, BAD_INPUT),
    (errors.Conflict, BAD_INPUT),
    (errors.CorruptArtifact, NOT_READY),
    (errors.NotReady, NOT_READY),
    (errors.Unavailable, UNAVAILABLE),
)


class FrontDoor(TyperGroup):
    """The root of all commands: runs one, and turns whatever goes wrong into a message and an exit code."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        """Run the command that `args` name and exit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        machine, debug = "--json" in given, "--debug" in given
        named["standalone_mode"] = False
        try:
            result = super().main(given, *rest, **named)
        except typer.Abort:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if debug:
                traceback.print_exc()
            sys.exit(report(error, machine))
        code = result if isinstance(result, int) else 0
        if code == INTERRUPTED:
            say("interrupted", machine)
        sys.exit(code)


def exit_code(error: Exception) -> int:
    """The exit code of an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    # Wrong options and arguments come with a code of their own.
    return BAD_INPUT if getattr(error, "exit_code", None) == BAD_INPUT else UNEXPECTED


def report(error: Exception, machine: bool) -> int:
    """Tell of an error on standard error; return the exit code."""
    code = exit_code(error)
    violations = error.violations if isinstance(error, errors.InvalidInput) else ()
    if machine:
        said = {
            "type": type(error).__name__,
            "message": _message(error),
            "violations": [{"field": each.field, "description": each.description} for each in violations],
            "exit_code": code,
        }
        sys.stderr.write(as_json({"error": said}) + "\n")
        return code
    if len(violations) > 1:
        say(f"error: {len(violations)} rules are broken")
        for violation in violations:
            say(f"  {violation}")
    else:
        say(f"error: {_message(error)}")
    context = getattr(error, "ctx", None)
    if context is not None:
        say(f"see `{context.command_path} --help`")
    elif code == UNEXPECTED:
        say("that was not expected; `decider --debug ...` shows where it came from")
    return code


def _message(error: Exception) -> str:
    if isinstance(error, errors.DeciderError):
        return str(error)
    if hasattr(error, "format_message"):
        return str(error.format_message())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"
