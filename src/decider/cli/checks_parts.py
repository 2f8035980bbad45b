"""Checks of what a configuration names: do the files open, do they agree, is the port free."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from decider.catalog import check_catalog, load_catalog
from decider.cli.checks import Finding
from decider.config import Config
from decider.decision.policy import load_policies
from decider.errors import NotReady
from decider.logbook.database import lock_directory
from decider.logbook.store import Logbook
from decider.members import Snapshot
from decider.models import Registry
from decider.service.compose import read_parts


def catalog(config: Config) -> Finding:
    """Does it hold together."""
    read = load_catalog(config.path("catalog"))
    problems = check_catalog(read)
    if problems:
        return Finding(
            "fail", str(problems[0].violation()), f"decider catalog check {config.path('catalog')}"
        )
    return Finding(
        "ok", f"{read.name}: {len(read.messages)} messages, {read.n_candidates} candidates, {read.version}"
    )


def policies(config: Config) -> Finding:
    """Are they right by themselves."""
    read = load_policies(config.path("policies"))
    return Finding("ok", f"{', '.join(sorted(read.policies))}; the default is {read.default}")


def snapshot(config: Config) -> Finding:
    """Is it whole."""
    path = config.path("snapshot")
    if not path.is_dir():
        return Finding("fail", f"{path} is not there", f"decider snapshot build ... --out {path}")
    read = Snapshot.open(path)
    return Finding("ok", f"{read.n_members:,} members, {len(read.feature_names)} features, {read.version}")


def models(config: Config) -> Finding:
    """Is every model that a policy names published, and whole."""
    registry = Registry(config.path("models"))
    wanted = {each.model for each in load_policies(config.path("policies")).policies.values() if each.model}
    missing = sorted(wanted - set(registry.names()))
    if missing:
        remedy = f"decider train FEEDBACK --reward ... --name {missing[0]}"
        return Finding("fail", f"policies name {', '.join(missing)}, never published", remedy)
    versions = [f"{name} {registry.load(name).version}" for name in registry.names()]
    return Finding("ok", ", ".join(versions) or "none published, and no policy needs one")


def agreement(config: Config) -> Finding:
    """Do catalog, snapshot, policies and models fit each other."""
    parts = read_parts(config, Registry(config.path("models")))
    return Finding("ok", f"{len(parts.bound)} policies fit the catalog, the members and the models")


def logbook(config: Config) -> Finding:
    """Can it be read and written."""
    path = config.path("logbook")
    if not path.is_dir():
        parent = next(each for each in path.parents if each.is_dir())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding(
                "fail", f"{path} is not there and {parent} cannot be written", "change its owner or rights"
            )
        return Finding("ok", f"{path} will be made")
    with Logbook.open(path, read_only=True) as log:
        found = f"{path}, {log.last_sequence:,} entries"
    try:
        lock_directory(path).close()
    except NotReady:
        return Finding("warn", f"{found}, in use by another process", "nothing, if that is your server")
    return Finding("ok", found)


def port(config: Config) -> Finding:
    """Can the service listen."""
    host, _, number = config.listen.rpartition(":")
    if number == "0":
        return Finding("ok", "a free port will be taken")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), int(number), type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server will: a connection of before that lingers must not look like a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        remedy = "nothing, if that is your server; else set listen to another port"
        return Finding("warn", f"{config.listen}: {error.strerror}", remedy)
    return Finding("ok", f"{config.listen} is free")


def config_file(path: Path | None, config: Config) -> Finding:
    """Where the configuration came from."""
    if path is None:
        return Finding("ok", f"defaults, from {Path(config.directory).resolve()}")
    return Finding("ok", str(path.resolve()))
