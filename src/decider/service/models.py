"""ModelService: which uplift models there are, and which one decides."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decider.errors import CorruptArtifact, InvalidInput, NotReady, Violation
from decider.models import UpliftModel, load_model
from decider.service.ports import Engine, Parts, Registry
from decider.v1 import model_pb2, model_service_pb2, model_service_pb2_grpc

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1_000
MAX_ARTIFACT_BYTES = 1 << 30
MAX_ARTIFACT_FILES = 100

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Shows and changes the registry; after a change the engine decides with it.

    Parameters
    ----------
    engine
        Decides, and reads its parts anew when told.
    registry
        Keeps the models.
    """

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine, self._registry = engine, registry

    def ListModels(  # noqa: N802 - the protocol's name
        self, request: model_service_pb2.ListModelsRequest, context: Any
    ) -> model_service_pb2.ListModelsResponse:
        """List models, newest version first within a name."""
        if not 0 <= request.page_size <= MAX_PAGE_SIZE:
            raise InvalidInput.of("page_size", f"must be in [0, {MAX_PAGE_SIZE}]", request.page_size)
        names = [request.name] if request.name else self._registry.names()
        found = [(name, version) for name in names for version in reversed(self._registry.versions(name))]
        start = _place(found, request.page_token)
        end = start + (request.page_size or DEFAULT_PAGE_SIZE)
        return model_service_pb2.ListModelsResponse(
            models=[self._model(name, version) for name, version in found[start:end]],
            next_page_token="@".join(found[end]) if end < len(found) else "",
        )

    def GetModel(  # noqa: N802 - the protocol's name
        self, request: model_service_pb2.GetModelRequest, context: Any
    ) -> model_service_pb2.GetModelResponse:
        """Get one version."""
        _require_name(request.name)
        version = request.version or self._registry.current(request.name)
        return model_service_pb2.GetModelResponse(model=self._model(request.name, version))

    def PublishModel(  # noqa: N802 - the protocol's name
        self, request_iterator: Any, context: Any
    ) -> model_service_pb2.PublishModelResponse:
        """Take an artifact in, check it as a whole, make it current and decide with it."""
        with tempfile.TemporaryDirectory(prefix="decider-publish-") as folder:
            _receive(request_iterator, Path(folder))
            try:
                model = load_model(Path(folder))
            except CorruptArtifact as error:
                place = Path(error.path)
                name = place.name if place != Path(folder) else "the artifact"
                raise InvalidInput([Violation("piece", f"{name} is refused: {error.why}")]) from error
        before = self._registry.current(model.name) if model.name in self._registry.names() else None
        version = self._registry.publish(model, who=context.peer())
        try:
            self._engine.reload()
        except Exception:
            # It is whole but does not fit the snapshot or the catalog: no restart must find it current.
            if before is not None and before != version:
                self._registry.roll_back(model.name, who="publication refused")
            raise
        return model_service_pb2.PublishModelResponse(model=self._model(model.name, version))

    def RollBackModel(  # noqa: N802 - the protocol's name
        self, request: model_service_pb2.RollBackModelRequest, context: Any
    ) -> model_service_pb2.RollBackModelResponse:
        """Make the version before the current one current again and decide with it."""
        _require_name(request.name)
        current = self._registry.current(request.name)
        if request.expected_version and request.expected_version != current:
            raise NotReady(
                f"expected_version must be the current version of {request.name!r}, {current}, "
                f"got {request.expected_version!r}"
            )
        version = self._registry.roll_back(request.name, who=context.peer())
        self._engine.reload()
        return model_service_pb2.RollBackModelResponse(model=self._model(request.name, version))

    def Reload(  # noqa: N802 - the protocol's name
        self, request: model_service_pb2.ReloadRequest, context: Any
    ) -> model_service_pb2.ReloadResponse:
        """Read catalog, policies, snapshot and current models anew."""
        return model_service_pb2.ReloadResponse(serving=_serving(self._engine.reload()))

    def _model(self, name: str, version: str) -> model_pb2.Model:
        model = self._registry.load(name, version)
        served = self._engine.parts.models.get(name)
        return model_pb2.Model(
            name=name,
            version=version,
            current=version == self._registry.current(name),
            serving=served is not None and served.version == version,
            outcome=model.outcome,
            reward=model.reward,
            posteriors=model.posterior_names,
            features=model.feature_map.feature_names,
            pair_features=model.pair_features,
            training_json=json.dumps(model.trained, sort_keys=True),
        )


def _serving(parts: Parts) -> model_pb2.Serving:
    models: list[UpliftModel] = [parts.models[name] for name in sorted(parts.models)]
    return model_pb2.Serving(
        catalog_version=parts.catalog.version,
        snapshot_version=parts.snapshot.version,
        policies=sorted(parts.policies.policies),
        default_policy=parts.policies.default,
        models=[model_pb2.ModelVersion(name=model.name, version=model.version) for model in models],
    )


def _receive(requests: Iterator[model_service_pb2.PublishModelRequest], folder: Path) -> None:
    """Write the pieces of an artifact into files of `folder`."""
    n_bytes, names = 0, set[str]()
    for request in requests:
        name, content = request.piece.file, request.piece.content
        if not _FILE_NAME.fullmatch(name):
            rule = "must be 1 to 200 letters, digits, '.', '_' and '-' without a leading dot"
            raise InvalidInput.of("piece.file", rule, name)
        names.add(name)
        n_bytes += len(content)
        if len(names) > MAX_ARTIFACT_FILES:
            raise InvalidInput.of("piece.file", f"must name at most {MAX_ARTIFACT_FILES} files", len(names))
        if n_bytes > MAX_ARTIFACT_BYTES:
            rule = f"must hold at most {MAX_ARTIFACT_BYTES} bytes in all"
            raise InvalidInput.of("piece.content", rule, n_bytes)
        with (folder / name).open("ab") as file:
            file.write(content)
    if not names:
        raise InvalidInput([Violation("piece", "is required, got nothing")])


def _place(found: list[tuple[str, str]], token: str) -> int:
    if not token:
        return 0
    name, _, version = token.rpartition("@")
    if (name, version) not in found:
        raise InvalidInput.of("page_token", "must be the next_page_token of the answer before", token)
    return found.index((name, version))


def _require_name(name: str) -> None:
    if not name:
        raise InvalidInput([Violation("name", "is required, got nothing")])
