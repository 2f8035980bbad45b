"""Feature maps of a training: which members they are fitted on, and that effects off the line are learnt by leaves."""

from dataclasses import replace

import numpy as np
import pytest
from known_world import members_at, simulated

from decider.errors import InvalidInput
from decider.learning import TrainSpec, train_on
from decider.learning.folds import split
from decider.learning.mapping import _MAPPING, MapSpec, fit_map
from decider.models import GbdtMap, load_model, save_model

SPEC = MapSpec("gbdt", 0.4, 4, 8, 3, 0, None)


def stepped(n, seed=0):
    """A log where a sale works on those alone whose `b` is above zero: 1, else nothing; no line in x."""
    log = simulated(seed, n=n, slopes=np.zeros((2, 5)))
    return replace(log, reward=log.reward + (log.arm == 1) * (log.x[:, 1] > 0))


def test_raw_columns_take_all_members():
    log = simulated(0)
    fitted, rest, facts = fit_map(log, MapSpec("raw", 0.4, 4, 8, 3, 0, None))
    assert (rest.n_rows, facts) == (log.n_rows, {"kind": "raw"})
    assert fitted.n_outputs == 5


def test_trees_know_nothing_of_the_members_that_effects_are_learnt_from():
    log = simulated(0, rows_per_member=3)
    fitted, rest, facts = fit_map(log, SPEC)
    growing = split(log.member_keys, SPEC.seed + _MAPPING, 0.4)
    assert facts["n_rows_grown_on"] == growing.sum() == log.n_rows - rest.n_rows
    assert not set(rest.member_keys) & set(log.member_keys[growing])
    # Whatever the others' rewards and arms had been, the map is the same to the last bit.
    changed = replace(log, reward=np.where(growing, log.reward, 1e3 * np.arange(log.n_rows)))
    again, _, _ = fit_map(changed, SPEC)
    for name, array in fitted.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    grown = replace(log, reward=np.where(growing, log.reward[::-1], log.reward))
    other, _, _ = fit_map(grown, SPEC)
    assert not np.array_equal(other.arrays()["tree_leaf_value"], fitted.arrays()["tree_leaf_value"])


def test_effects_in_steps_are_learnt_by_leaves_and_not_by_lines(tmp_path):
    """The effects' error is half that of raw columns or less."""
    log = stepped(12_000)
    x = members_at(4000)
    truth = (x[:, 1] > 0).astype(float)
    error = {}
    for kind in ("raw", "gbdt"):
        spec = TrainSpec(reward="visit", learners=("dr_learner",), half="all", feature_map=kind)
        (model,) = train_on(log, spec).models
        save_model(model, tmp_path / kind)
        model = load_model(tmp_path / kind)
        assert model.trained["feature_map"]["kind"] == model.feature_map.kind == kind
        found = model.feature_map.apply(x).astype(float) @ model.mean[model.posterior_names.index("sale")]
        error[kind] = float(((found - truth) ** 2).mean())
    assert isinstance(model.feature_map, GbdtMap)
    assert error["gbdt"] < 0.5 * error["raw"], error


def test_the_choice_of_learners_works_on_any_map():
    spec = TrainSpec(
        reward="visit",
        learners=("auto", "correlational"),
        folds=2,
        feature_map="gbdt",
        map_trees=2,
        map_leaves=4,
    )
    result = train_on(stepped(3000), spec)
    assert {model.feature_map.kind for model in result.models} == {"gbdt"}
    assert result.facts["n_rows"] < 1500
    assert result.facts["feature_map"]["n_leaves"] <= 16


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            SPEC._replace(kind="onnx"),
            "network must be given with the feature map 'onnx', and only then, got 'none'",
        ),
        (
            SPEC._replace(network=b""),
            "network must be given with the feature map 'onnx', and only then, got 'one'",
        ),
        (SPEC._replace(share=1.0), r"must be in \(0, 1\), got 1.0"),
        (SPEC._replace(share=0.01), "must have at least 30 rows outside each of 3 folds"),
    ],
)
def test_refuses(spec, text):
    with pytest.raises(InvalidInput, match=text):
        fit_map(simulated(0), spec)
