"""`decider model`: which uplift models there are and which decides, in the registry or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from decider.cli.options import ConfigPath, ModelsPath, ServerAddress, configuration, examples, rfc3339
from decider.cli.output import Machine, emit, facts, table
from decider.cli.plain import model_of, plain
from decider.cli.train import described_model, drawn_model, somebody
from decider.errors import InvalidInput, NotFound, NotReady
from decider.models import Registry, load_model
from decider.service.client import DeciderClient

app = typer.Typer(
    no_args_is_help=True,
    help="List, publish and roll back models: in the registry, or with --server on a server.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]


@app.command(
    "list", epilog=examples("decider model list", "decider model list --server 127.0.0.1:50051 --json")
)
def list_(
    name: Annotated[str | None, typer.Option(help="Only versions of this model.")] = None,
    server: ServerAddress = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """List models, newest version first within a name."""
    if server is not None:
        with _client(server, models) as client:
            found = [model_of(each) for each in client.list_models(name or "")]
    else:
        registry = _registry(models, config)
        names = registry.names() if name is None else [name]
        found = [
            described_model(registry.load(each, version)) | {"current": version == registry.current(each)}
            for each in names
            for version in reversed(registry.versions(each))
        ]
    rows = [
        (each["name"], each["version"], each["current"], each.get("serving"), each["outcome"], each["reward"])
        for each in found
    ]
    header = ("model", "version", "current", "serving", "outcome", "reward")
    emit({"models": found}, machine, table("Models", header, rows))


@app.command(epilog=examples("decider model show visits", "decider model show visits --json"))
def show(
    name: Name,
    version: Annotated[str | None, typer.Option(help="Version.  [default: the current one]")] = None,
    server: ServerAddress = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Say what a model is, what it was learnt from, and who published it when."""
    if server is not None:
        with _client(server, models) as client:
            versions = [model_of(each) for each in client.list_models(name)]
        wanted = [
            each for each in versions if each["version"] == version or (not version and each["current"])
        ]
        if not wanted:
            raise NotFound("version", "model version", version, f"model {name!r}")
        emit(wanted[0], machine, *drawn_model(wanted[0]))
        return
    registry = _registry(models, config)
    current = registry.current(name)
    model = registry.load(name, version)
    history = [entry._asdict() | {"time": rfc3339(entry.time_micros)} for entry in registry.history(name)]
    payload = described_model(model) | {"current": model.version == current, "history": history}
    rows = [
        (each["sequence"], each["action"], each["version"], each["time"], each["who"]) for each in history
    ]
    drawn = drawn_model({key: value for key, value in payload.items() if key != "history"})
    emit(payload, machine, *drawn, table("History", ("", "action", "version", "time", "who"), rows))


@app.command(
    epilog=examples(
        "decider model publish artifacts/visits-0123456789abcdef",
        "decider model publish artifacts/visits-0123456789abcdef --server 127.0.0.1:50051",
    )
)
def publish(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="An artifact.")],
    server: ServerAddress = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Check an artifact as a whole, store it, and make it the version that decides.

    In the registry it decides from the next start or reload of a server on; with --server at once.
    """
    model = load_model(directory)
    if server is not None:
        with _client(server, models) as client:
            payload = model_of(client.publish_model(directory))
    else:
        _registry(models, config).publish(model, who=somebody())
        payload = described_model(model) | {"current": True}
    emit(payload, machine, *drawn_model(payload))


@app.command(
    "roll-back",
    epilog=examples(
        "decider model roll-back visits",
        "decider model roll-back visits --expected-version sha256:0123456789abcdef --server 127.0.0.1:50051",
    ),
)
def roll_back(
    name: Name,
    expected_version: Annotated[
        str | None, typer.Option(help="Do nothing unless this version is the current one.")
    ] = None,
    server: ServerAddress = None,
    models: ModelsPath = None,
    config: ConfigPath = None,
    machine: Machine = False,
) -> None:
    """Make the version before the current one decide again."""
    if server is not None:
        with _client(server, models) as client:
            payload = model_of(client.roll_back_model(name, expected_version or ""))
    else:
        registry = _registry(models, config)
        current = registry.current(name)
        if expected_version is not None and expected_version != current:
            rule = f"must be the current version of {name!r}, {current}"
            raise NotReady(f"expected_version {rule}, got {expected_version!r}")
        version = registry.roll_back(name, who=somebody())
        payload = described_model(registry.load(name, version)) | {"current": True}
    emit(payload, machine, *drawn_model(payload))


@app.command(epilog=examples("decider model reload", "decider model reload --server 127.0.0.1:50051"))
def reload(server: ServerAddress = None, config: ConfigPath = None, machine: Machine = False) -> None:
    """Make a running server read catalog, policies, snapshot and models anew.

    Without --server it is the one at the address that the configuration gives.
    """
    address = server or configuration(config).listen
    if address.endswith(":0"):
        raise InvalidInput.of("server", "must be given where the configuration takes a free port", address)
    with DeciderClient(address) as client:
        payload: dict[str, Any] = plain(client.reload())
    payload["models"] = {each["name"]: each["version"] for each in payload["models"]}
    emit(payload | {"server": address}, machine, facts(f"In force at {address}", payload))


def _registry(models: Path | None, config: Path | None) -> Registry:
    return Registry(models or configuration(config).path("models"))


def _client(server: str, models: Path | None) -> DeciderClient:
    if models is not None:
        raise InvalidInput.of("models", "must not be given together with server", str(models))
    return DeciderClient(server)
