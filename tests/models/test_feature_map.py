import numpy as np
import pytest
from small_models import small_map

from decider.errors import InvalidInput
from decider.models import RawMap
from decider.models.restore import restore_map


def test_z_is_an_intercept_and_standardised_features():
    z = small_map().apply(np.array([[5.0, 1.0], [9.0, 0.5]], np.float32))
    np.testing.assert_array_equal(z, np.array([[1, 0, 0], [1, 2, -1]], np.float32))
    assert small_map().n_outputs == 3
    assert small_map().output_names == ("intercept", "recency", "visits")


def test_a_fitted_map_gives_mean_zero_and_spread_one():
    x = np.random.default_rng(0).gamma(2.0, 30.0, (5000, 4)).astype(np.float32)
    z = RawMap.fit(x, list("abcd")).apply(x)
    np.testing.assert_array_equal(z[:, 0], 1.0)
    np.testing.assert_allclose(z[:, 1:].mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(z[:, 1:].std(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.7, -1e6, 1e-38])
def test_a_constant_feature_is_named_and_left_out(value):
    x = np.column_stack([np.arange(10), np.full(10, value)]).astype(np.float32)
    fitted = RawMap.fit(x, ["grows", "stays"])
    assert fitted.constant_features == ("stays",)
    moved = fitted.apply(np.array([[1.0, 99.0]], np.float32))
    assert moved[0, 2] == 0.0


def test_a_tiny_but_real_spread_is_kept():
    x = np.array([[1.0], [1.001]], np.float32)
    assert RawMap.fit(x, ["a"]).constant_features == ()


def test_facts_and_arrays_restore_the_map():
    fitted = RawMap.fit(np.random.default_rng(1).random((50, 2), np.float32), ["a", "b"], intercept=False)
    again = restore_map(fitted.facts(), fitted.arrays())
    x = np.random.default_rng(2).random((7, 2), np.float32)
    np.testing.assert_array_equal(again.apply(x), fitted.apply(x))
    assert again.feature_names == ("a", "b")


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        InvalidInput, match=r"feature_map.kind must be one of \['raw', 'gbdt', 'onnx'\], got 'tree'"
    ):
        restore_map({"kind": "tree"}, {})


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.array([[1.0, np.nan]], np.float32), "x:b must be finite, got nan at row 0"),
        (np.array([[np.inf, 1.0]], np.float32), "x:a must be finite, got inf at row 0"),
        (np.empty((0, 2), np.float32), r"x must have shape \[n >= 1, 2\], got \(0, 2\)"),
        (np.ones((3, 3), np.float32), r"x must have shape \[n >= 1, 2\], got \(3, 3\)"),
    ],
)
def test_fitting_refuses_bad_features(x, text):
    with pytest.raises(InvalidInput, match=text):
        RawMap.fit(x, ["a", "b"])


@pytest.mark.parametrize(
    ("names", "mean", "scale", "text"),
    [
        (("a", "a"), [0.0, 0.0], [1.0, 1.0], "feature_names must be distinct"),
        (("a", "b"), [0.0, np.nan], [1.0, 1.0], "map_mean must be finite, got nan at 1"),
        (("a", "b"), [0.0, 0.0], [1.0, -1.0], "map_scale must be >= 0, got -1.0 at 1"),
        (("a", "b"), [0.0], [1.0, 1.0], r"map_mean must be float64 of shape \(2,\)"),
    ],
)
def test_a_map_checks_itself(names, mean, scale, text):
    with pytest.raises(InvalidInput, match=text):
        RawMap(names, np.array(mean), np.array(scale))
