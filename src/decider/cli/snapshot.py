"""`decider snapshot`: from a table of members to a mapped, checksummed snapshot, and a look at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from decider.cli.options import examples, pairs
from decider.cli.output import Machine, Payload, emit, facts, progress, table
from decider.errors import InvalidInput
from decider.members import SendsSpec, Snapshot, SnapshotManifest, SnapshotSpec, build_snapshot, load_spec

app = typer.Typer(no_args_is_help=True, help="Build, look at and check snapshots of members.")

Directory = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The snapshot.")]


@app.command(
    epilog=examples(
        "decider snapshot build members.parquet --spec snapshot.toml --out snapshot",
        "decider snapshot build members.csv --id member_id --feature tenure_days --category country "
        "--consent email=email_consent --consent in_app=true --out snapshot",
    )
)
def build(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Parquet, CSV or Arrow files.")],
    out: Annotated[Path, typer.Option("--out", help="Directory to publish the snapshot as.")],
    spec: Annotated[
        Path | None, typer.Option("--spec", help="TOML file that says what the columns mean.")
    ] = None,
    member_id: Annotated[str | None, typer.Option("--id", help="Column of the member id.")] = None,
    id_type: Annotated[
        str | None, typer.Option("--id-type", help="auto, int64 or string (keeps leading zeros in CSV).")
    ] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Numeric column; repeat it.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Column of few levels; repeat it.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Column kept for rules; repeat it.  [default: all]")
    ] = None,
    consent: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL=COLUMN|true|false", help="Consent; repeat it.")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA time zone of all members.")] = None,
    time_zone_column: Annotated[str | None, typer.Option(help="Column of IANA time zones.")] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Fill what is missing; repeat it.  [default: refuse]"),
    ] = None,
    sends: Annotated[
        Path | None,
        typer.Option(help="Past sends; its columns are member_id, message, type, topic, channel, time."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a snapshot that is there.")] = False,
    machine: Machine = False,
) -> None:
    """Build a snapshot from tables of members."""
    given = {
        "id": member_id,
        "id_type": id_type,
        "features": feature,
        "categories": category,
        "attributes": attribute,
        "consent": {name: _yes_no(value) for name, value in pairs("consent", consent or []).items()},
        "time_zone": time_zone,
        "time_zone_column": time_zone_column,
        "missing": {name: _number(value) for name, value in pairs("missing", missing or []).items()},
        "sends": None if sends is None else SendsSpec(path=str(sends)),
    }
    with progress(machine) as advance:
        manifest = build_snapshot(sources, _spec(spec, given), out, advance, replace=replace)
    show_manifest(manifest, out, machine)


@app.command(epilog=examples("decider snapshot show snapshot", "decider snapshot show snapshot --json"))
def show(directory: Directory, machine: Machine = False) -> None:
    """Say what a snapshot holds."""
    show_manifest(Snapshot.open(directory, verify="size").manifest, directory, machine)


@app.command(epilog=examples("decider snapshot verify snapshot"))
def verify(directory: Directory, machine: Machine = False) -> None:
    """Read every byte of a snapshot and compare its checksums; exit 3 when one differs."""
    snapshot = Snapshot.open(directory, verify="full")
    n_bytes = sum(entry.bytes for entry in snapshot.manifest.files.values())
    payload = {
        "directory": str(directory),
        "version": snapshot.version,
        "whole": True,
        "files": len(snapshot.manifest.files),
        "bytes": n_bytes,
    }
    emit(payload, machine, facts("The snapshot is whole", payload))


def show_manifest(manifest: SnapshotManifest, directory: Path, machine: bool) -> None:
    """Print what a snapshot holds."""
    payload: Payload = {
        "directory": str(directory),
        "version": manifest.version,
        "members": manifest.n_members,
        "id_type": manifest.id_type,
        "features": manifest.feature_names,
        "channels": manifest.channel_names,
        "time_zones": manifest.zones,
        "attributes": manifest.attribute_types,
        "sends": manifest.n_sends,
        "dropped_sends": manifest.dropped_sends,
        "filled": manifest.filled,
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
    }
    zones = ", ".join(manifest.zones[:10]) + (", ..." if len(manifest.zones) > 10 else "")
    shown = {name: value for name, value in payload.items() if name not in ("attributes", "time_zones")}
    emit(
        payload,
        machine,
        facts("Snapshot", {**shown, "filled": manifest.filled or None, "time_zones": zones}),
        table("Columns for rules", ("column", "type"), list(manifest.attribute_types.items())),
    )


def _spec(path: Path | None, given: dict[str, Any]) -> SnapshotSpec:
    """The spec of a file, or the one that the options make; never a mixture."""
    named = {name: value for name, value in given.items() if value not in (None, {}, [])}
    if path is not None:
        if named:
            raise InvalidInput.of(
                "spec", "must not be given together with options for columns", sorted(named)
            )
        return load_spec(path)
    if "id" not in named:
        raise InvalidInput.of("id", "must be given where no spec is", None)
    if named.get("id_type", "auto") not in ("auto", "int64", "string"):
        raise InvalidInput.of("id_type", "must be auto, int64 or string", named["id_type"])
    for name in ("features", "categories", "attributes"):
        if name in named:
            named[name] = tuple(named[name])
    return SnapshotSpec(**named)


def _yes_no(text: str) -> str | bool:
    return {"true": True, "false": False}.get(text, text)


def _number(text: str) -> str | bool | float:
    try:
        return float(text)
    except ValueError:
        return _yes_no(text)
