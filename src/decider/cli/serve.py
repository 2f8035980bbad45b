"""`decider serve`: the service, until it is told to stop."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from decider.cli.options import ConfigPath, configuration, examples
from decider.cli.output import as_json, say
from decider.config import listen_violations
from decider.errors import InvalidInput
from decider.service.heap import made_to_stay
from decider.service.logs import configure_logs
from decider.service.server import serve as serve_until_told
from decider.service.start import open_service

EXAMPLES = examples(
    "decider serve --config decider.toml",
    "decider serve --listen 127.0.0.1:0 --json",
    "decider serve --processes 2",
)


def serve(
    config: ConfigPath = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Address in place of the configuration's; port 0 takes a free one."
        ),
    ] = None,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Share the port with other processes.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Front processes that take the calls, with this one behind them to decide and log for all; "
            "0 takes them here.  [default: the configuration's, else 0]",
        ),
    ] = None,
    machine: Annotated[
        bool, typer.Option("--json", help="Print the address as one line of JSON, and log lines of JSON.")
    ] = False,
) -> None:
    """Serve decisions over gRPC until SIGTERM or Ctrl-C; SIGHUP reads catalog, policies and models anew.

    The address is printed on standard output once it takes calls; log lines go to standard error.
    """
    configure_logs(as_json=machine)
    settings = configuration(config)
    if listen is not None:
        if wrong := listen_violations("listen", listen):
            raise InvalidInput(wrong)
        settings = msgspec.structs.replace(settings, listen=listen)
    if processes is None:
        processes = settings.processes
    with made_to_stay():
        composition, server = open_service(settings, reuse_port=reuse_port, n_fronts=processes)
    host = settings.listen.rpartition(":")[0]
    parts = composition.engine.parts
    payload = {
        "address": f"{host}:{server.port}",
        "port": server.port,
        "catalog_version": parts.catalog.version,
        "snapshot_version": parts.snapshot.version,
        "members": parts.snapshot.n_members,
        "policies": sorted(parts.policies.policies),
        "models": {name: model.version for name, model in parts.models.items()},
        "logbook": str(settings.path("logbook")),
    }
    # The port is bound: calls that come before the server takes them wait, they are not refused.
    sys.stdout.write((as_json(payload) if machine else f"serving at {payload['address']}") + "\n")
    sys.stdout.flush()
    say(f"{payload['members']:,} members, policies {', '.join(sorted(parts.policies.policies))}", machine)
    serve_until_told(server, composition.engine.reload, composition.close)
