"""The catalogs and policies that decisions were made with, so that each can be explained later."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import msgspec

from decider.catalog import parse_catalog
from decider.decision.parts import Parts, bind_parts, rebind
from decider.decision.policy import Policy, policy_set
from decider.decision.ports import MadeFrom
from decider.errors import InvalidInput, NotReady
from decider.models import Registry

RECALLED = 4
"""Sets of past parts kept in memory."""


class _Experiment(msgspec.Struct, frozen=True):
    """What must not change once an experiment has started."""

    version: str
    start_micros: int
    policies: dict[str, str]
    """Version of each cell's policy."""


class Archive:
    """Keeps every catalog and policy that was ever in force, by version; models are kept by the registry.

    Parameters
    ----------
    directory
        Where they lie, one small file each; made when it is not there.
    registry
        Holds the models.
    """

    def __init__(self, directory: Path, registry: Registry) -> None:
        self._directory, self._registry = directory, registry
        self._directory.mkdir(parents=True, exist_ok=True)
        self._recalling = threading.Lock()
        self._recalled: dict[tuple[str, ...], Parts] = {}

    def keep(self, parts: Parts, now_micros: int) -> None:
        """Keep the catalog and the policies of `parts`; nothing is written for what is here already.

        Raises
        ------
        InvalidInput
            When an experiment that has started was changed: its content, or the policy of a cell.
        """
        self._keep_experiments(parts, now_micros)
        self._write("catalog", parts.catalog.version, parts.catalog.text.encode())
        for policy in parts.policies.policies.values():
            self._write("policy", policy.version, msgspec.json.encode(policy))

    def _keep_experiments(self, parts: Parts, now_micros: int) -> None:
        kept = []
        for experiment in parts.experiments.values():
            policies = {bound.cell.cell: bound.policy_version for bound in experiment.bound if bound.cell}
            fresh = _Experiment(experiment.version, experiment.start_micros, policies)
            named = hashlib.sha256(experiment.name.encode()).hexdigest()[:16]
            path = self._path("experiment", named)
            known = msgspec.json.decode(path.read_bytes(), type=_Experiment) if path.exists() else None
            if known is not None and known != fresh and known.start_micros <= now_micros:
                rule = "must not be changed after its start: give the changed one another name"
                raise InvalidInput.of(f"experiment[{experiment.name!r}]", rule, _changed(known, fresh))
            kept.append((named, msgspec.json.encode(fresh)))
        for named, content in kept:
            self._write("experiment", named, content, anew=True)

    def recall(self, record: MadeFrom, current: Parts) -> Parts:
        """Find the parts that a decision was made from.

        Raises
        ------
        NotReady
            When the snapshot is another one by now, or a catalog or policy is not here.
        NotFound
            When the registry does not hold the model's version.
        """
        if record.snapshot_version != current.snapshot.version:
            raise NotReady(
                f"the decision was made from snapshot {record.snapshot_version}, "
                f"and {current.snapshot.version} is in force: start a server on that snapshot to explain it"
            )
        if _in_force(record, current):
            return current
        wanted = (
            record.catalog_version,
            record.policy_version,
            record.model_version,
            record.snapshot_version,
        )
        with self._recalling:
            if wanted not in self._recalled:
                self._recalled[wanted] = self._bind(record, current)
                for oldest in list(self._recalled)[:-RECALLED]:
                    del self._recalled[oldest]
            return self._recalled[wanted]

    def _bind(self, record: MadeFrom, current: Parts) -> Parts:
        policy = msgspec.json.decode(self._read("policy", record.policy_version), type=Policy)
        policies = policy_set([policy])
        models = {}
        if policy.needs_model:
            models[policy.model] = self._registry.load(policy.model, record.model_version)
        if record.catalog_version == current.catalog.version:
            return rebind(current, policies, models)
        text = self._read("catalog", record.catalog_version).decode()
        return bind_parts(parse_catalog(text, record.catalog_version), current.snapshot, policies, models)

    def _path(self, kind: str, version: str) -> Path:
        return self._directory / f"{kind}-{version.replace(':', '-')}"

    def _write(self, kind: str, version: str, content: bytes, anew: bool = False) -> None:
        path = self._path(kind, version)
        if path.exists() and not anew:
            return
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def _read(self, kind: str, version: str) -> bytes:
        try:
            return self._path(kind, version).read_bytes()
        except FileNotFoundError:
            raise NotReady(f"{kind} {version} is not in the archive {self._directory}") from None


def _changed(known: _Experiment, fresh: _Experiment) -> str:
    if known.version != fresh.version:
        return f"{fresh.version}, was {known.version}"
    cells = [cell for cell, version in fresh.policies.items() if known.policies.get(cell) != version]
    return f"another policy in cell {', '.join(cells)}"


def _in_force(record: MadeFrom, parts: Parts) -> bool:
    bound = parts.bound.get(record.policy)
    return (
        bound is not None
        and record.policy_version == bound.policy.version
        and record.model_version == bound.model_version
        and record.catalog_version == parts.catalog.version
    )
