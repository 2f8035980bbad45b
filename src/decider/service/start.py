"""From a configuration to a server that is ready to start."""

from __future__ import annotations

from typing import Any

import numpy as np
import structlog

from decider.clock import SystemClock
from decider.config import Config
from decider.decision import between, exposure, volume
from decider.decision.engine import Engine
from decider.decision.request import MemberRequest, RunRequest, Scalar
from decider.decision.result_table import ResultTables
from decider.errors import InvalidInput
from decider.members import zones
from decider.service.compose import Composition, compose
from decider.service.fronts import FrontedServer, build_fronts
from decider.service.server import Server, build_server
from decider.service.settings import ServiceSettings

BEHIND_CALLS = 15
"""Steps of niceness by which the threads of runs let calls go first, also those that are decided behind fronts."""

_log = structlog.get_logger(__name__)


def open_service(
    config: Config, *, reuse_port: bool = False, n_fronts: int = 0
) -> tuple[Composition, Server | FrontedServer]:
    """Open everything that `config` names, warm it up, and bind the port; the server is not started yet.

    Parameters
    ----------
    config
        The configuration.
    reuse_port
        Let several processes share the port.
    n_fronts
        Front processes that take the calls for this one; none takes them itself.

    Raises
    ------
    DeciderError
        Naming what is wrong; nothing stays open then.
    """
    composition = compose(config, runs_step_back=BEHIND_CALLS)
    try:
        warm_up(composition.engine)
        engine, registry, settings = composition.engine, composition.registry, settings_of(config, reuse_port)
        server: Server | FrontedServer
        if n_fronts:
            server = build_fronts(engine, registry, settings, n_fronts)
        else:
            server = build_server(engine, registry, settings)
    except BaseException:
        composition.close()
        raise
    return composition, server


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
    exposure.rehearse()
    between.rehearse()
    volume.rehearse()
    zones.rehearse()
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
            # What a call brings of its own is decided step by step.
            brought: dict[str, Scalar] = dict.fromkeys(snapshot.feature_names[:1], 0.0)
            engine.decide(MemberRequest(member_id=ids[0], context=brought, **asked))
            run = engine.start_run(RunRequest(volume=1, **asked), whole_snapshot=False)
            run.add(members)
            for chunk in run.finish():
                ResultTables(run.record.candidates, run.run_id).batch(chunk)
        except InvalidInput as error:
            # A model with pair features decides only where a call brings them.
            _log.info("not warmed up", policy=policy, why=str(error))
