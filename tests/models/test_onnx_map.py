"""The feature map of a network: fixed blocks, hence the same bits in any batch; refusals by name."""

import sys

import numpy as np
import pytest
from onnx_file import random_layer

from decider.errors import InvalidInput, NotReady
from decider.models import OnnxMap, UpliftModel, load_model, save_model

NAMES = tuple("abcdefgh")


def members(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, len(NAMES))).astype(np.float32)


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NotReady, match=r"kind 'onnx' needs onnxruntime: install decider\[onnx\]"):
        OnnxMap.fit(members(50), NAMES, random_layer(8, 5))


def test_outputs_are_standardised_beside_the_raw_features():
    pytest.importorskip("onnxruntime")
    x = members(2000)
    found = OnnxMap.fit(x, NAMES, random_layer(8, 5))
    z = found.apply(x)
    assert z.shape == (2000, found.n_outputs) == (2000, 14) == (2000, len(found.output_names))
    np.testing.assert_array_equal(z[:, :9], found.raw.apply(x))
    np.testing.assert_allclose(z[:, 9:].mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(z[:, 9:].std(axis=0), 1.0, rtol=1e-3)


@pytest.mark.parametrize("n_outputs", [3, 16, 33])
def test_the_same_bits_in_any_batch(n_outputs):
    pytest.importorskip("onnxruntime")
    x = members(500, seed=2)
    found = OnnxMap.fit(x, NAMES, random_layer(8, n_outputs))
    z = found.apply(x)
    order = np.random.default_rng(3).permutation(len(x))
    for part in np.split(order, [1, 3, 36, 100, 333]):
        assert found.apply(x[part]).tobytes() == z[part].tobytes()
    assert found.apply(x[:0]).shape == (0, found.n_outputs)


def test_an_artifact_gives_the_same_map(tmp_path):
    pytest.importorskip("onnxruntime")
    found = OnnxMap.fit(members(200), NAMES, random_layer(8, 4))
    d = found.n_outputs
    model = UpliftModel("uplift", found, ("sale",), np.ones((1, d)), np.eye(d)[None], "visit")
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    x = members(40, seed=4)
    assert again.version == model.version
    assert again.feature_map.apply(x).tobytes() == found.apply(x).tobytes()


def test_what_is_no_network_for_these_features_is_refused():
    pytest.importorskip("onnxruntime")
    with pytest.raises(InvalidInput, match="onnx_model must be an ONNX model of one input"):
        OnnxMap.fit(members(50), NAMES, b"no model")
    with pytest.raises(InvalidInput, match=r"onnx_model must take float32 of shape \(32, 8\)"):
        OnnxMap.fit(members(50), NAMES, random_layer(7, 3))
