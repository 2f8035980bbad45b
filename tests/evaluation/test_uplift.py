from dataclasses import replace

import numpy as np
import pytest
from small_logs import level, simulated, small

from decider.errors import InvalidInput
from decider.evaluation.uplift import effect_scores, judge_uplift


def true_tau(log):
    return level(log.x) - level(log.x)[:, [0]]


def test_scores_are_right_on_average_whatever_the_model():
    # 4.5 standard errors: a false alarm has probability 1e-5.
    log = simulated(0, n=20_000)
    for q_hat in (None, level(log.x), np.full((20_000, 3), 7.0)):
        scores = effect_scores(log, q_hat)
        apart = scores - true_tau(log)
        assert (np.abs(apart.mean(axis=0)) <= 4.5 * apart.std(axis=0) / np.sqrt(20_000)).all()
    assert (effect_scores(log)[:, 0] == 0).all()


def test_a_good_order_shows_and_a_random_one_does_not():
    log = simulated(1, n=6000)
    tau = true_tau(log)
    found = judge_uplift(tau, log, level(log.x), n_resamples=200)
    sale = found["message sale"]
    # tau = 0.4 + 0.5 b, b normal: AUTOC is half the mean hazard of a normal number, 0.9032.
    assert sale.autoc.normal.low > 0.3
    assert sale.autoc.normal.low < 0.4516 < sale.autoc.normal.high
    # Qini = 0.5 * Cov(b, rank) = 0.5 / (2 sqrt(pi)).
    assert sale.qini.normal.low < 0.5 / (2 * np.sqrt(np.pi)) < sale.qini.normal.high
    assert sale.slope.normal.low < 1.0 < sale.slope.normal.high
    assert sale.effect.value == pytest.approx(0.4, abs=0.15)
    assert sale.auuc.value == pytest.approx(sale.qini.value + sale.effect.value / 2, abs=1e-3)
    assert sum(each.n_rows for each in sale.bins) == 6000
    assert [each.predicted for each in sale.bins] == sorted(each.predicted for each in sale.bins)
    assert sale.curve[-1].gain == pytest.approx(sale.effect.value)
    noise = np.random.default_rng(2).normal(size=tau.shape)
    blind = judge_uplift(noise, log, level(log.x), n_resamples=200)["message sale"]
    assert abs(blind.autoc.value) < 4.5 * blind.autoc.standard_error
    assert blind.slope.normal.high < 0.5


def test_a_model_that_exaggerates_has_a_slope_below_one():
    log = simulated(3, n=6000)
    found = judge_uplift(4 * true_tau(log), log, level(log.x), n_resamples=0)["message sale"]
    assert found.slope.value == pytest.approx(0.25, abs=0.08)


def test_errors_of_areas_cover_the_truth():
    # 200 logs: coverage of a true 95 % interval lies in [0.88, 0.99] but for probability 1e-4 (binomial).
    hits = 0
    for seed in range(200):
        log = simulated(seed, n=1000, rows_per_member=2)
        qini = judge_uplift(true_tau(log), log, level(log.x), n_resamples=100)["message sale"].qini
        hits += qini.normal.low <= 0.5 / (2 * np.sqrt(np.pi)) <= qini.normal.high
    assert 0.88 <= hits / 200 <= 0.99


def test_channels_and_segments():
    log = replace(simulated(4, n=4000), arms=("nothing", "sale@email", "news@push"))
    segments = np.where(log.x[:, 0] > 0, "new", "old")
    found = judge_uplift(true_tau(log), log, segments=segments, n_resamples=0)
    assert set(found) == {
        *("message sale@email", "message news@push", "channel email", "channel push"),
        *(f"message {m} in segment {s}" for m in ("sale@email", "news@push") for s in ("new", "old")),
    }
    assert found["channel email"].effect.value == found["message sale@email"].effect.value
    both = judge_uplift(true_tau(log), log, channels={"sale@email": "any", "news@push": "any"}, n_resamples=0)
    assert both["channel any"].n_rows == 8000
    assert both["channel any"].effect.value == pytest.approx(
        (found["channel email"].effect.value + found["channel push"].effect.value) / 2
    )


def test_too_little_gives_a_reason():
    log = simulated(5, n=300)
    segments = np.where(np.arange(300) < 20, "few", "many")
    found = judge_uplift(true_tau(log), log, segments=segments, n_resamples=0)
    assert "effective sample size" in found["message sale in segment few"]


def test_predictions_all_alike_have_no_slope():
    found = judge_uplift(np.ones((2000, 3)), simulated(6), n_resamples=0)["message sale"]
    assert found.slope.refused == "all predictions are the same"


def test_bad_input():
    with pytest.raises(InvalidInput, match=r"tau must be finite float64 of shape \(4, 2\)"):
        judge_uplift(np.full((4, 2), np.nan), small())
    with pytest.raises(InvalidInput, match=r"segments must be of shape \(4,\)"):
        judge_uplift(np.zeros((4, 2)), small(), segments=np.array(["a"]))
