"""The feature map of boosted trees: its columns, its artifact, the same bits in any batch."""

from itertools import pairwise

import numpy as np
import pytest

from decider.errors import CorruptArtifact, InvalidInput
from decider.models import GbdtMap, UpliftModel, load_model, manifest, save_model
from decider.models.restore import restore_map

NAMES = ("a", "b", "c", "d")


def members(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, len(NAMES))).astype(np.float32)


def fitted(n=3000, **options):
    x = members(n)
    y = np.where(x[:, 0] > 0.3, 1.0, 0.0) + 0.1 * np.random.default_rng(1).normal(size=n)
    return GbdtMap.fit(x, NAMES, [y, (x[:, 1] * x[:, 2]).astype(np.float64)], **options)


def model_of(feature_map):
    d = feature_map.n_outputs
    return UpliftModel("uplift", feature_map, ("sale",), np.ones((1, d)), np.eye(d)[None], "visit")


def test_columns_are_raw_then_prognosis_then_leaves():
    found = fitted()
    z, x = found.apply(members(3000)), members(3000)
    assert z.shape == (3000, found.n_outputs) == (3000, len(found.output_names))
    np.testing.assert_array_equal(z[:, :5], found.raw.apply(x))
    # The prognosis has the mean 0 and the deviation 3 that its weight asks for, and knows the step.
    assert abs(z[:, 5].mean()) < 1e-4
    assert abs(z[:, 5].std() - 3.0) < 1e-3
    assert np.corrcoef(z[:, 5], x[:, 0] > 0.3)[0, 1] > 0.95
    leaves = z[:, 6:] + found.leaf_share.astype(np.float32)
    offsets = found.trees.leaf_offsets
    for first, past in pairwise(offsets):
        np.testing.assert_allclose(np.sort(leaves[:, first:past], axis=1)[:, -1], 1.0, atol=1e-6)
        np.testing.assert_allclose(leaves[:, first:past].sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(z[:, 6:].mean(axis=0), 0.0, atol=1e-5)


def test_the_number_of_leaves_is_as_told_and_bounded():
    few = fitted(n_trees=2, n_leaves=3).trees
    assert len(few.leaf_offsets) == 5
    assert 8 < few.leaf_value.size <= 12
    with pytest.raises(InvalidInput, match=r"trees must have at most 256 leaves in all, got \d+"):
        fitted(n_trees=40, n_leaves=16)
    with pytest.raises(InvalidInput, match="must be at least one of each"):
        fitted(n_leaves=1)


def test_the_same_bits_in_any_batch():
    found, x = fitted(), members(1300, seed=2)
    z = found.apply(x)
    order = np.random.default_rng(3).permutation(len(x))
    for part in np.split(order, [1, 3, 67, 600]):
        assert found.apply(x[part]).tobytes() == z[part].tobytes()


def test_an_artifact_gives_the_same_map(tmp_path):
    model = model_of(fitted())
    version = save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.version == version
    x = members(100, seed=4)
    assert again.feature_map.apply(x).tobytes() == model.feature_map.apply(x).tobytes()
    assert fitted().apply(x).tobytes() == model.feature_map.apply(x).tobytes()


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("tree_feature", lambda a: np.full_like(a, 9), r"trees feature must be in range and a number, got 9"),
        ("leaf_share", lambda a: a[1:], r"leaf_share\.npy is refused: leaf_share must be float64 of shape"),
        ("score", lambda a: a * np.nan, r"score\.npy is refused: score must be finite"),
        ("score", lambda a: -a, "must have a deviation >= 0 and a weight > 0"),
    ],
)
def test_content_against_the_rules_is_refused(tmp_path, name, change, text):
    model = model_of(fitted())
    arrays = model.arrays()
    files = manifest.encode(model.facts(), arrays | {name: change(arrays[name])}).files
    (tmp_path / "model").mkdir()
    for file, data in files.items():
        (tmp_path / "model" / file).write_bytes(data)
    with pytest.raises(CorruptArtifact, match=text):
        load_model(tmp_path / "model")


def test_facts_and_arrays_restore_the_map():
    found = fitted()
    again = restore_map(found.facts(), found.arrays())
    assert again.output_names == found.output_names
    assert again.constant_features == ()
