"""ModelService over a real socket, before a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from decider.errors import InvalidInput, NotFound, NotReady
from decider.models import RawMap, Registry, UpliftModel, save_model
from decider.service.client import DeciderClient
from decider.v1 import model_service_pb2, model_service_pb2_grpc

from .fake import Engine


def model(effect: float = 0.5) -> UpliftModel:
    return UpliftModel(
        name="uplift",
        feature_map=RawMap(("recency",), np.zeros(1), np.ones(1)),
        posterior_names=("mens",),
        mean=np.array([[effect, 0.0]]),
        covariance=np.array([[0.01, 0.01]]),
        reward="visit",
        trained={"n_rows": 1_000},
    )


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    save_model(model(), tmp_path / "artifact")
    return tmp_path / "artifact"


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def pieces(**files: bytes) -> Iterator[model_service_pb2.PublishModelRequest]:
    for name, content in files.items():
        yield model_service_pb2.PublishModelRequest(
            piece=model_service_pb2.ArtifactPiece(file=name, content=content)
        )


def test_a_published_model_is_the_one_that_was_sent(
    client: DeciderClient, registry: Registry, artifact: Path
) -> None:
    published = client.publish_model(artifact)
    assert published.version == model().version == registry.current("uplift")
    assert published.current
    assert (published.reward, published.outcome) == ("visit", "incrementality")
    assert list(published.posteriors) == ["mens"]
    assert list(published.features) == ["recency"]
    assert published.training_json == '{"n_rows": 1000}'
    np.testing.assert_array_equal(registry.load("uplift").mean, model().mean)
    assert client.list_models() == [published]
    assert registry.history("uplift")[0].who.startswith("ipv4:127.0.0.1")


def test_models_are_listed_newest_first_page_by_page(stub: Any, registry: Registry) -> None:
    versions = [registry.publish(model(effect)) for effect in (0.1, 0.2, 0.3)]
    first = stub.ListModels(model_service_pb2.ListModelsRequest(page_size=2))
    assert [m.version for m in first.models] == [versions[2], versions[1]]
    token = first.next_page_token
    last = stub.ListModels(model_service_pb2.ListModelsRequest(page_size=2, page_token=token))
    assert [m.version for m in last.models] == [versions[0]]
    assert last.next_page_token == ""
    assert [m.current for m in (*first.models, *last.models)] == [True, False, False]


def test_serving_says_what_this_process_decides_with(
    client: DeciderClient, registry: Registry, engine: Engine
) -> None:
    registry.publish(model(0.1))
    registry.publish(model(0.2))
    engine.parts.models["uplift"] = model(0.1)
    assert [m.serving for m in client.list_models()] == [False, True]


def test_rolling_back_makes_the_version_before_current(client: DeciderClient, registry: Registry) -> None:
    first, second = registry.publish(model(0.1)), registry.publish(model(0.2))
    with pytest.raises(NotReady, match="expected_version must be the current version"):
        client.roll_back_model("uplift", expected_version=first)
    assert client.roll_back_model("uplift", expected_version=second).version == first
    assert registry.current("uplift") == first
    with pytest.raises(NotReady, match="no earlier version"):
        client.roll_back_model("uplift")


def test_a_corrupt_artifact_is_refused_and_nothing_changes(
    client: DeciderClient, registry: Registry, artifact: Path
) -> None:
    client.publish_model(artifact)
    data = bytearray((artifact / "mean.npy").read_bytes())
    data[-1] ^= 1
    (artifact / "mean.npy").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"mean\.npy is refused"):
        client.publish_model(artifact)
    assert registry.versions("uplift") == [model().version]


def test_an_incomplete_artifact_is_refused(client: DeciderClient, registry: Registry, artifact: Path) -> None:
    (artifact / "mean.npy").unlink()
    with pytest.raises(InvalidInput, match="piece"):
        client.publish_model(artifact)
    assert registry.names() == []


def test_a_model_that_does_not_fit_is_not_left_current(
    client: DeciderClient, registry: Registry, engine: Engine, artifact: Path
) -> None:
    before = registry.publish(model(0.1))
    engine.reload_fault = InvalidInput.of("snapshot.features", "must have the features of the model", [])
    with pytest.raises(InvalidInput, match=r"snapshot\.features"):
        client.publish_model(artifact)
    assert registry.current("uplift") == before


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "", ".hidden", "a/b", "a\0b", "x" * 201])
def test_a_file_name_cannot_leave_the_artifact(stub: Any, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.PublishModel(pieces(**{name: b"x"}))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("piece.file must be")


def test_an_artifact_of_too_many_files_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.RpcError, match="at most 100 files"):
        stub.PublishModel(pieces(**{f"f{place}": b"" for place in range(101)}))


def test_no_artifact_at_all_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.RpcError, match="piece is required"):
        stub.PublishModel(iter([]))


@pytest.mark.parametrize("call", ["get", "roll back"])
def test_an_unknown_model_is_not_found(client: DeciderClient, stub: Any, call: str) -> None:
    if call == "get":
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModel(model_service_pb2.GetModelRequest(name="nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    else:
        with pytest.raises(NotFound):
            client.roll_back_model("nothing")


def test_reload_tells_what_is_in_force(client: DeciderClient, engine: Engine) -> None:
    serving = client.reload()
    assert serving.catalog_version == engine.parts.catalog.version
    assert list(serving.policies) == ["bold", "calm"]
    assert serving.default_policy == "calm"


@pytest.mark.parametrize(
    "request_fields", [{"page_size": -1}, {"page_size": 1_001}, {"page_token": "nothing@x"}]
)
def test_bad_pages_are_refused(stub: Any, request_fields: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListModels(model_service_pb2.ListModelsRequest(**request_fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
