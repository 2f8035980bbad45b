"""`decider log`: trials brought in as feedback; what a logbook holds, and whether all of it is whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl
import typer

from decider.cli.logged import logged_decisions, logged_events, runs_of
from decider.cli.options import ConfigPath, configuration, examples, pairs
from decider.cli.output import Machine, emit, facts, progress, table
from decider.errors import InvalidInput, NotFound, Violation
from decider.logbook.feedback import Feedback
from decider.logbook.store import Logbook
from decider.logbook.trial import TrialSpec, import_trial
from decider.service.compose import engine_to_read

app = typer.Typer(no_args_is_help=True, help="Import trials; look at and check logbooks.")

Directory = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="A logbook, or imported feedback.")]

_AT = re.compile(r"^(?P<rule>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MANIFEST = "manifest.json"


@app.command(
    "import",
    epilog=examples(
        "decider log import trial.csv.gz --spec trial.toml --out feedback",
        'decider log import trial.csv --arm segment --control "No E-Mail" --reward visit --reward spend '
        "--feature recency --category channel --propensity uniform --out feedback",
    ),
)
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Table of a randomised trial.")],
    out: Annotated[Path, typer.Option("--out", help="Directory to make.")],
    spec: Annotated[Path | None, typer.Option(help="TOML file that says what the columns mean.")] = None,
    arm: Annotated[str | None, typer.Option(help="Column of the arm given.")] = None,
    control: Annotated[str | None, typer.Option(help="Value of the arm that sends nothing.")] = None,
    reward: Annotated[list[str] | None, typer.Option(help="Column of a reward; repeat it.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Numeric column; repeat it.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Column of few levels; repeat it.")] = None,
    propensity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="uniform|COLUMN|ARM=COLUMN",
            help="All arms alike; or the column of the chance of the arm given; or of each arm, repeated.",
        ),
    ] = None,
    share: Annotated[
        list[str] | None, typer.Option(metavar="ARM=P", help="Chance of an arm by the design; repeat it.")
    ] = None,
    member_id: Annotated[
        str | None, typer.Option("--id", help="Column of the member id.  [default: the row's number]")
    ] = None,
    repeated: Annotated[bool, typer.Option("--repeated", help="A member may have several rows.")] = False,
    rows: Annotated[
        str | None, typer.Option(metavar="SQL", help="Condition of the rows that were randomised.")
    ] = None,
    machine: Machine = False,
) -> None:
    """Bring the table of a randomised trial in as feedback to learn from."""
    given = {
        "arm": arm,
        "control": control,
        "rewards": reward,
        "features": feature,
        "categories": category,
        **_propensity(propensity or [], share or []),
        "member_id": member_id,
        "repeated": repeated or None,
        "rows": rows,
    }
    _show_feedback(import_trial(source, _trial_spec(spec, given), out), machine)


@app.command(
    epilog=examples(
        "decider log show logbook",
        "decider log show logbook --member 4711 --limit 5",
        "decider log show feedback",
    )
)
def show(
    directory: Directory,
    member: Annotated[str | None, typer.Option(help="Only decisions about this member.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Print so many of the latest decisions.")] = 10,
    machine: Machine = False,
) -> None:
    """Say what a logbook holds: decisions, runs, events; or what feedback does."""
    if (directory / _MANIFEST).is_file():
        _show_feedback(Feedback.open(directory), machine)
        return
    with Logbook.open(_existing(directory), read_only=True) as log:
        decisions = logged_decisions(log, member, limit)
        payload: dict[str, Any] = {
            "directory": str(directory),
            "last_sequence": log.last_sequence,
            "n_decisions": decisions.n_decisions,
            "n_messages": decisions.n_messages,
            "per_stratum": decisions.per_stratum,
            "per_candidate": decisions.per_candidate,
            "events": logged_events(log),
            "runs": runs_of(log),
            "latest": decisions.latest,
        }
    runs = [
        (each["run_id"], each["policy"], each["time"], _prices(each), each["n_decided"], each["finished"])
        for each in payload["runs"]
    ]
    latest = [
        (
            each["decision_id"],
            str(each["member_id"]),
            each["time"],
            each["policy"],
            each["stratum"],
            each["candidates"],
        )
        for each in payload["latest"]
    ]
    emit(
        payload,
        machine,
        facts("Logbook", {name: value for name, value in payload.items() if name not in ("runs", "latest")}),
        table("Runs", ("run", "policy", "time", "price", "decisions", "finished"), runs),
        table("Latest decisions", ("decision", "member", "time", "policy", "stratum", "messages"), latest),
    )


@app.command(epilog=examples("decider log verify logbook", "decider log verify feedback --json"))
def verify(directory: Directory, machine: Machine = False) -> None:
    """Compare every checksum of a logbook or of feedback; exit 3 when one differs."""
    if (directory / _MANIFEST).is_file():
        feedback = Feedback.open(directory)
        payload = {"directory": str(directory), "whole": True, "rows": feedback.n_rows}
    else:
        with Logbook.open(_existing(directory), read_only=True) as log:
            payload = {"directory": str(directory), "whole": True, "rows": log.verify()}
    emit(payload, machine, facts("All of it is whole", payload))


@app.command(epilog=examples("decider log replay", "decider log replay --config decider.toml --json"))
def replay(config: ConfigPath = None, machine: Machine = False) -> None:
    """Make every logged decision again and compare it bit for bit; exit 3 when one comes out otherwise.

    Reads the logbook without locking it, so a server may be running.
    """
    n_decisions, different = 0, list[str]()
    with engine_to_read(configuration(config)) as engine, progress(machine) as advance:
        for batch in engine.replay():
            n_decisions += batch.n_decisions
            different += batch.different
            advance("decisions", n_decisions, None)
    payload = {"decisions": n_decisions, "different": different}
    title = "All came out the same" if not different else f"{len(different):,} came out otherwise"
    emit(payload, machine, facts(title, {"decisions": n_decisions, "different": different[:20]}))
    if different:
        raise typer.Exit(3)


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise NotFound("directory", "logbook", str(directory))
    return directory


def _prices(run: Mapping[str, Any]) -> Any:
    """The price of a run, or those of its budgets by channel, once they are found."""
    if not run["budgets"] or run["price"] is None:
        return run["price"]
    return ", ".join(f"{each['channel'] or 'all'} {each['price']:.6g}" for each in run["budgets"])


def _show_feedback(feedback: Feedback, machine: bool) -> None:
    """Rows and mean rewards of each arm."""
    rewards = [f"y:{name}" for name in feedback.rewards]
    frame = feedback.read(["arm", *rewards])
    means = frame.group_by("arm").agg(pl.len().alias("rows"), pl.col(rewards).mean())
    by_arm = {row["arm"]: row for row in means.to_dicts()}
    arms = [
        {
            "arm": arm,
            "control": arm == feedback.control,
            "rows": by_arm[arm]["rows"],
            "mean": {name: by_arm[arm][f"y:{name}"] for name in feedback.rewards},
        }
        for arm in feedback.arms
        if arm in by_arm
    ]
    payload = {
        "directory": str(feedback.path),
        "version": feedback.version,
        "rows": feedback.n_rows,
        "control": feedback.control,
        "rewards": feedback.rewards,
        "features": feedback.feature_names,
        "arms": arms,
        "facts": feedback.facts,
    }
    shown = {name: value for name, value in payload.items() if name not in ("arms", "facts")}
    told = {
        name: value
        for name, value in feedback.facts.items()
        if value not in (None, [], {}) and name != "spec"
    }
    rows = [(each["arm"], each["rows"], *(f"{mean:.6f}" for mean in each["mean"].values())) for each in arms]
    emit(
        payload,
        machine,
        facts("Feedback", shown),
        facts("Told by the import", told),
        table("Mean rewards", ("arm", "rows", *feedback.rewards), rows),
    )


def _propensity(texts: list[str], shares: list[str]) -> dict[str, Any]:
    if shares and texts:
        raise InvalidInput.of("share", "must not be given together with propensity", shares)
    if shares:
        return {"shares": _chances(shares)}
    if not texts:
        return {}
    if all("=" in text for text in texts):
        return {"propensity": pairs("propensity", texts)}
    if len(texts) > 1:
        raise InvalidInput.of("propensity", "must be one word, or ARM=COLUMN for every arm", texts)
    return {"shares": "uniform"} if texts[0] == "uniform" else {"propensity": texts[0]}


def _chances(texts: list[str]) -> dict[str, float]:
    chances = {}
    for arm, text in pairs("share", texts).items():
        try:
            chances[arm] = float(text)
        except ValueError:
            raise InvalidInput.of(f"share[{arm!r}]", "must be a number", text) from None
    return chances


def _trial_spec(path: Path | None, given: dict[str, Any]) -> TrialSpec:
    """The spec of a file, or the one that the options make; never a mixture."""
    named = {name: value for name, value in given.items() if value is not None}
    if path is None:
        missing = [name for name in ("arm", "control", "rewards") if name not in named]
        if missing:
            raise InvalidInput(
                [
                    Violation(name.removesuffix("s"), "must be given where no spec is, got None")
                    for name in missing
                ]
            )
        return TrialSpec(**named)
    if named:
        raise InvalidInput.of("spec", "must not be given together with options for columns", sorted(named))
    try:
        return msgspec.toml.decode(path.read_text("utf-8"), type=TrialSpec)
    except FileNotFoundError:
        raise NotFound("spec", "file", str(path)) from None
    except UnicodeDecodeError as error:
        raise InvalidInput([Violation("spec", f"must be UTF-8 text: {error} in {path}")]) from None
    except msgspec.DecodeError as error:
        match = _AT.match(str(error))
        assert match is not None  # the pattern matches any text
        raise InvalidInput([Violation(match["path"] or "spec", f"{match['rule']} in {path}")]) from None
