from dataclasses import replace

import numpy as np
import pytest
from known_sets import (
    FATIGUE,
    N_CANDIDATES,
    NAMES,
    PENALTY,
    TOPIC,
    TYPES,
    D,
    coefficients,
    simulated_sets,
    summed,
)

from decider.errors import InvalidInput
from decider.learning.r_learner import r_learner, set_model
from decider.learning.set_sums import SetSums
from decider.models import RawMap, load_model, save_model

PLACES = np.column_stack([np.ones(20), np.random.default_rng(1).uniform(-1.7, 1.7, size=(20, D - 1))])


def asked(mean, covariance):
    """Mean and standard deviation of an effect at the fixed members."""
    return PLACES @ mean, np.sqrt(np.einsum("qi,ij,qj->q", PLACES, covariance, PLACES))


def test_effects_fatigue_and_penalty_are_found():
    # 60,000 rows: the bounds are five of the posterior's standard deviations.
    w = coefficients()
    rows = simulated_sets(0, n=60_000)
    found = r_learner(summed(rows), TYPES)
    for c in range(N_CANDIDATES):
        mean, sd = asked(found.mean[c], found.covariance[c])
        assert (np.abs(mean - PLACES @ w[c]) < 5 * sd).all()
        assert sd.max() < 0.06
    mean, sd = asked(found.fatigue_mean, found.fatigue_covariance)
    assert (np.abs(mean - PLACES @ FATIGUE) < 5 * sd).all()
    assert abs(found.same_topic[0] - PENALTY) < 5 * found.same_topic[1]
    assert found.same_topic[1] < 0.02
    truth = w @ rows.z.mean(axis=0, dtype=float)
    assert (np.abs(found.average - truth) < 5 * found.average_sd).all()


@pytest.mark.slow
def test_intervals_cover_the_truth():
    # 120 logs. Places and candidates of a log hang together: counted as three, the standard error is 1.1 % for
    # effects and 2 % for the others; false alarm 1e-3 each.
    effects, averages, fatigue = [], [], []
    for seed in range(120):
        w = coefficients(1000 + seed)
        rows = simulated_sets(seed, n=4000, w=w)
        found = r_learner(summed(rows), TYPES)
        for c in range(N_CANDIDATES):
            mean, sd = asked(found.mean[c], found.covariance[c])
            effects.append(np.abs(mean - PLACES @ w[c]) < 1.96 * sd)
        averages.append(np.abs(found.average - w @ rows.z.mean(axis=0)) < 1.96 * found.average_sd)
        mean, sd = asked(found.fatigue_mean, found.fatigue_covariance)
        fatigue.append(np.abs(mean - PLACES @ FATIGUE) < 1.96 * sd)
    assert 0.91 <= np.mean(effects) <= 0.985
    assert 0.89 <= np.mean(averages) <= 0.99
    assert 0.88 <= np.mean(fatigue) <= 0.99


def test_a_stream_equals_the_batch():
    rows = simulated_sets(1, n=3000)
    whole, streamed = (r_learner(summed(rows, parts), TYPES) for parts in (1, 30))
    for name in ("mean", "covariance", "type_mean", "type_covariance", "fatigue_mean", "average_sd"):
        np.testing.assert_allclose(getattr(streamed, name), getattr(whole, name), rtol=1e-6, atol=1e-9)


def test_a_baseline_learnt_elsewhere_makes_effects_surer():
    rows = simulated_sets(2, n=8000, binary=False, noise=0.05)
    z = rows.z.astype(float)
    # The part of the baseline that is no line in z.
    known = replace(rows, baseline=0.03 * np.sin(2 * z[:, 3]))
    plain, better = (r_learner(summed(each), TYPES) for each in (rows, known))
    assert (better.average_sd < 0.98 * plain.average_sd).all()
    assert better.scales.noise_variance < plain.scales.noise_variance


def test_a_wrong_baseline_costs_precision_and_does_not_bias():
    # 40 logs; four standard errors, false alarm 6e-5 for each of six messages.
    errors = []
    for seed in range(40):
        rows = simulated_sets(seed, n=2000)
        wrong = replace(rows, baseline=2.0 * np.sin(3 * rows.z[:, 1].astype(float)))
        errors.append(r_learner(summed(wrong), TYPES).average - coefficients() @ rows.z.mean(axis=0))
    errors = np.array(errors)
    assert (np.abs(errors.mean(axis=0)) < 4 * errors.std(axis=0, ddof=1) / np.sqrt(40) + 0.01).all()


def test_a_new_message_starts_from_its_type_and_widens():
    sums = summed(simulated_sets(3, n=20_000))
    wider = sums.with_candidates([*NAMES, "m6@email"], np.r_[TOPIC, 3].astype(np.int32))
    found = r_learner(wider, {**TYPES, "m6@email": "new"})
    np.testing.assert_allclose(found.mean[6], found.type_mean[found.types.index("new")], atol=1e-9)
    np.testing.assert_allclose(found.covariance[6], found.type_covariance[0], rtol=1e-6, atol=1e-10)
    for c in (0, 2, 4):
        assert (asked(np.zeros(D), found.covariance[6])[1] > asked(np.zeros(D), found.covariance[c])[1]).all()
    # Without a type it knows nothing of the others of its kind but what all messages share.
    orphan = r_learner(wider, {**TYPES, "m6@email": "unheard of"})
    assert orphan.covariance[6][0, 0] > 4 * found.covariance[6][0, 0]


def test_pair_features_are_learnt():
    rows = simulated_sets(4, n=20_000, binary=False, noise=0.2)
    g = np.random.default_rng(0)
    pair = g.normal(size=(1, N_CANDIDATES, rows.n_rows)).astype(np.float32)
    held = np.zeros((N_CANDIDATES + 1, rows.n_rows))
    held[rows.sets, np.arange(rows.n_rows)] = 1
    told = replace(rows, pair=pair, reward=rows.reward + (0.1 * held[:-1] * pair[0]).sum(axis=0))
    found = r_learner(summed(told), TYPES)
    sd = np.sqrt(found.covariance[:, D, D])
    assert (np.abs(found.mean[:, D] - 0.1) < 5 * sd).all()
    assert sd.max() < 0.02
    feature_map = RawMap.fit(rows.z[:, 1:], ("a", "b", "c"))
    model = set_model(found, feature_map, name="sets", reward="visit", pair_features=("affinity",))
    assert model.n_coefficients == D + 1


def test_forgetting_follows_a_change():
    w = coefficients()
    changed = w.copy()
    changed[:, 0] += 0.15
    kept, faded = SetSums(NAMES, TOPIC, D), SetSums(NAMES, TOPIC, D)
    for epoch in range(12):
        rows = simulated_sets(epoch, n=3000, w=w if epoch < 8 else changed)
        kept.add(rows)
        faded.forget(0.6)
        faded.add(rows)
    far, near = (np.abs(r_learner(sums, TYPES).average - changed[:, 0]).mean() for sums in (kept, faded))
    assert near < 0.5 * far


def test_the_model_can_be_stored_and_tells_what_it_learnt(tmp_path):
    rows = simulated_sets(5)
    found = r_learner(summed(rows), TYPES)
    feature_map = RawMap.fit(rows.z[:, 1:], ("a", "b", "c"))
    model = set_model(found, feature_map, name="sets", reward="visit")
    assert model.posterior_names == (*NAMES, "type:new", "type:old")
    assert model.outcome == "incrementality"
    assert model.trained["candidates"]["m0@email"]["n_sent"] == (rows.sets == 0).sum()
    assert model.same_topic_penalty == max(0.0, found.same_topic[0])
    np.testing.assert_array_equal(model.fatigue, found.fatigue_mean)
    save_model(model, tmp_path / "m")
    assert load_model(tmp_path / "m").version == model.version


def test_a_penalty_below_zero_is_zero_and_told():
    found = r_learner(summed(simulated_sets(6)), TYPES)._replace(same_topic=(-0.02, 0.01))
    feature_map = RawMap.fit(simulated_sets(6).z[:, 1:], ("a", "b", "c"))
    assert set_model(found, feature_map, name="sets", reward="visit").same_topic_penalty == 0.0
    assert "same_topic" in found.facts


@pytest.mark.parametrize("kind", ["constant", "double"])
def test_features_that_say_nothing_new_are_no_trouble(kind):
    rows = simulated_sets(7)
    extra = {"constant": 0 * rows.z[:, :1], "double": rows.z[:, 1:2]}[kind]
    found = r_learner(summed(replace(rows, z=np.concatenate([rows.z, extra], axis=1))), TYPES)
    plain = r_learner(summed(rows), TYPES)
    np.testing.assert_allclose(found.average, plain.average, atol=0.2 * plain.average_sd.min())
    assert np.isfinite(found.covariance).all()


def test_a_log_without_messages_or_without_sets_of_two_leaves_the_prior():
    rows = simulated_sets(8)
    single = (rows.sets >= 0).sum(axis=0) <= 1
    kept = rows.rows(single)
    none = replace(kept, expected_pairs=np.zeros(kept.n_rows), expected_same_topic=np.zeros(kept.n_rows))
    found = r_learner(summed(none), TYPES)
    np.testing.assert_allclose(found.fatigue_mean, 0.0, atol=1e-9)
    assert found.same_topic == pytest.approx((0.0, np.sqrt(summed(none).reward_variance)))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_reward_that_never_varies_is_refused(value):
    rows = simulated_sets(9)
    with pytest.raises(InvalidInput, match=f"reward must vary, got {value}"):
        r_learner(summed(replace(rows, reward=np.full(rows.n_rows, value))))


def test_too_few_rows_are_refused():
    with pytest.raises(InvalidInput, match="rows must be at least 16 for 4 features, got 15"):
        r_learner(summed(simulated_sets(10, n=15)))
