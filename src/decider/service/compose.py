"""Put a service's parts together from its configuration: what decides, and what it writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from decider.catalog import load_catalog
from decider.clock import Clock, SystemClock
from decider.config import Config
from decider.decision.cells import bind_experiments, with_holdouts
from decider.decision.engine import Engine
from decider.decision.parts import Parts, bind_parts
from decider.decision.policy import load_policies
from decider.experiments import load_experiments
from decider.logbook import Logbook
from decider.members import Snapshot
from decider.models import Registry
from decider.service.archive import Archive


@dataclass(frozen=True)
class Composition:
    """Everything a service works with; close it to let go of the log."""

    config: Config
    engine: Engine
    registry: Registry
    log: Logbook

    def close(self) -> None:
        """Finish what runs and commit what waits."""
        self.engine.close()
        self.log.close()

    def __enter__(self) -> Composition:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compose(config: Config, clock: Clock | None = None, runs_step_back: int = 0) -> Composition:
    """Open everything that `config` names.

    Parameters
    ----------
    config
        The configuration.
    clock
        The system's, unless another is given.
    runs_step_back
        As for :class:`Engine`.

    Raises
    ------
    InvalidInput, NotReady, CorruptArtifact
        Naming the file, the field and the rule.
    """
    registry = Registry(config.path("models"))
    parts = read_parts(config, registry)
    log = Logbook.open(config.path("logbook"))
    try:
        archive = Archive(config.path("logbook") / "versions", registry)
        time = clock or SystemClock()
        archive.keep(parts, time.now_micros())

        def read_and_keep() -> Parts:
            fresh = read_parts(config, registry)
            archive.keep(fresh, time.now_micros())
            return fresh

        threads = config.threads or os.cpu_count() or 1
        engine = Engine(parts, log, time, threads, archive.recall, read_and_keep, runs_step_back)
    except BaseException:
        log.close()
        raise
    return Composition(config, engine, registry, log)


@contextmanager
def engine_to_read(config: Config) -> Iterator[Engine]:
    """An engine on a log that another process may be writing: to explain and replay, not to decide.

    Raises
    ------
    NotReady
        When there is no logbook.
    """
    registry, directory = Registry(config.path("models")), config.path("logbook")
    with Logbook.open(directory, read_only=True) as log:
        parts = read_parts(config, registry)
        archive = Archive(directory / "versions", registry)
        engine = Engine(parts, log, SystemClock(), 1, archive.recall, lambda: parts)
        try:
            yield engine
        finally:
            engine.close()


def read_parts(config: Config, registry: Registry) -> Parts:
    """Read and bind the catalog, policies, snapshot and current models that `config` names."""
    catalog = load_catalog(config.path("catalog"))
    experiments = load_experiments(config.path("experiments")).values()
    policies = with_holdouts(load_policies(config.path("policies")), experiments)
    snapshot = Snapshot.open(config.path("snapshot"))
    published = set(registry.names())
    wanted = {policy.model for policy in policies.policies.values() if policy.needs_model}
    models = {name: registry.load(name) for name in sorted(wanted & published)}
    return bind_experiments(bind_parts(catalog, snapshot, policies, models), experiments)
