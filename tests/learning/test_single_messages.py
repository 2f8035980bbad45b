"""The R-learner on logs of single messages: against a world whose effects are known."""

import numpy as np
import pytest
from known_world import effects, members_at, simulated

from decider.errors import InvalidInput
from decider.learning import TrainSpec, train_on
from decider.learning.single_messages import r_learner_of_arms
from decider.models import RawMap, load_model, save_model

SPEC = TrainSpec(reward="visit", learners=("r_learner",), half="all")


@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_it_finds_who_gains_whatever_members_are_likely_to_get(strength):
    model = train_on(simulated(4, n=20_000, strength=strength), SPEC).models[0]
    x = members_at(2000)
    found = model.feature_map.apply(x).astype(float) @ model.mean.T
    truth = effects(x)
    for arm in (0, 1):
        assert np.corrcoef(found[:, arm], truth[:, arm])[0, 1] > 0.95
        # Standard errors of an average are some 0.02: five of them.
        assert found[:, arm].mean() == pytest.approx(truth[:, arm].mean(), abs=0.12)
    assert not model.fatigue.any()
    assert model.same_topic_penalty == 0.0


def test_its_intervals_hold_the_average_effects():
    # 30 logs, two arms: fewer than 50 of 60 intervals hold with a chance of 2e-4.
    held = 0
    for seed in range(30):
        log = simulated(seed, n=800)
        feature_map = RawMap.fit(log.x, log.feature_names)
        found = r_learner_of_arms(log, feature_map.apply(log.x))
        truth = effects(log.x).mean(axis=0)
        held += int((np.abs(found.average - truth) < 1.96 * found.average_sd).sum())
    assert held >= 50


def test_its_model_is_named_typed_stored_and_told_of(tmp_path):
    spec = TrainSpec(
        reward="visit", learners=("r_learner",), names={"r_learner": "joint"}, half="all",
        messages={"sale": "sale@email"}, types={"sale": "offer", "news": "offer"},
    )  # fmt: skip
    log = simulated(0)
    model = train_on(log, spec).models[0]
    assert model.name == "joint"
    assert model.posterior_names == ("sale@email", "news", "type:offer")
    assert model.trained["learner"] == "r_learner"
    assert model.trained["n_rows"] == log.n_rows
    assert "same_topic" not in model.trained
    arms = model.trained["arms"]
    assert [arms[arm]["n_given"] for arm in ("sale", "news")] == [(log.arm == code).sum() for code in (1, 2)]
    # A message of the type that nobody has seen is less sure than either of those.
    sd = np.sqrt(model.covariance[:, 0, 0])
    assert sd[2] > sd[:2].max()
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").version == model.version


def test_an_arm_that_hardly_came_is_refused():
    log = simulated(5)
    rare = log.rows(np.flatnonzero((log.arm != 2) | (np.cumsum(log.arm == 2) <= 8)))
    with pytest.raises(InvalidInput, match="news"):
        train_on(rare, SPEC)
