"""From a configuration to a serving process: what ``decider serve`` and ``python server.py`` run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog

from decider.clock import SystemClock
from decider.config import Config, load_config
from decider.decision.engine import Engine
from decider.decision.request import MemberRequest, RunRequest
from decider.errors import DeciderError, InvalidInput
from decider.service.compose import compose
from decider.service.logs import configure_logs
from decider.service.server import build_server, serve
from decider.service.settings import ServiceSettings

_log = structlog.get_logger(__name__)


def run_service(
    config_path: Path | None, *, listen: str = "", reuse_port: bool = False, log_json: bool = False
) -> int:
    """Serve until told to stop by a signal.

    Parameters
    ----------
    config_path
        The configuration; none takes the defaults, from the current folder.
    listen
        Address and port instead of the configuration's.
    reuse_port
        Let several processes share the port.
    log_json
        Log lines as JSON objects.

    Returns
    -------
    int
        Exit status: 0 after an orderly end, 2 when something that it needs is wrong, as standard error says.
    """
    configure_logs(as_json=log_json)
    try:
        config = load_config(config_path)
        if listen:
            config = msgspec.structs.replace(config, listen=listen)
        composition = compose(config)
        try:
            warm_up(composition.engine)
            server = build_server(composition.engine, composition.registry, settings_of(config, reuse_port))
        except BaseException:
            composition.close()
            raise
    except DeciderError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    serve(server, composition.engine.reload, composition.close)
    return 0


def settings_of(config: Config, reuse_port: bool = False) -> ServiceSettings:
    """The server's part of the configuration."""
    return ServiceSettings(
        listen=config.listen,
        max_concurrent_rpcs=config.max_concurrent_rpcs,
        max_message_bytes=config.max_message_bytes,
        metrics_port=config.metrics_port or None,
        reuse_port=reuse_port,
    )


def warm_up(engine: Engine) -> None:
    """Decide and run once with each policy, leaving no trace, so that no caller waits for a compiler."""
    now_micros = SystemClock().now_micros()
    snapshot, policies = engine.parts.snapshot, engine.parts.policies.policies
    if snapshot.n_members == 0:
        return
    ids = snapshot.ids(np.array([0]))
    members = ids.to_numpy() if snapshot.id_type == "int64" else ids.to_list()
    for policy in policies:
        asked: dict[str, Any] = {
            "request_id": "warm-up", "decision_time_micros": now_micros, "policy": policy, "dry_run": True
        }  # fmt: skip
        try:
            engine.decide(MemberRequest(member_id=ids[0], **asked))
            run = engine.start_run(RunRequest(volume=1, **asked), whole_snapshot=False)
            run.add(members)
            for _ in run.finish():
                pass
        except InvalidInput as error:
            # A model with pair features decides only where a call brings them.
            _log.info("not warmed up", policy=policy, why=str(error))
