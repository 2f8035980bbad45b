from dataclasses import replace

import numpy as np
import pytest
from small_logs import level, simulated, small

from decider.errors import InvalidInput
from decider.evaluation import FrontierSpec, JudgedChunk, MemberCount, frontier_in_passes, policy_value
from decider.evaluation.frontier import frontier

TENTHS = tuple(i / 10 for i in range(11))


def true_tau(log):
    return level(log.x) - level(log.x)[:, [0]]


def test_points_are_the_values_of_their_policies():
    log = simulated(0, n=3000)
    tau, q_hat = true_tau(log), 0.5 * level(log.x)
    found = frontier(tau, log, q_hat, shares=TENTHS, n_resamples=100)
    best = 1 + tau[:, 1:].argmax(axis=1)
    largest = tau[:, 1:].max(axis=1)
    for point in found.points[1:]:
        policy = np.where(largest >= point.price, best, 0)
        assert (policy != 0).mean() == pytest.approx(point.volume)
        value = policy_value(policy, log, q_hat, n_resamples=0).incremental_dr
        assert point.reward == pytest.approx(value.value, rel=1e-9)
        assert point.standard_error == pytest.approx(value.standard_error, rel=1e-9)
    assert found.points[0][:4] == (0.0, None, 0.0, 0.0)


def test_bands_hold_all_points_together():
    # 200 logs: joint coverage in [0.88, 0.99] but for probability 1e-4; single intervals fail jointly.
    b = np.random.default_rng(1).normal(size=200_000)
    gain = np.sort(np.maximum(0.4 + 0.5 * b, 0.1 - 0.5 * b))[::-1].cumsum() / 200_000
    held = apart = 0
    for seed in range(200):
        log = simulated(seed, n=1500)
        points = frontier(true_tau(log), log, shares=TENTHS, n_resamples=200, seed=seed).points[1:]
        truth = [gain[int(point.volume * 200_000) - 1] for point in points]
        held += all(p.band.low <= t <= p.band.high for p, t in zip(points, truth, strict=True))
        apart += all(abs(p.reward - t) < 1.96 * p.standard_error for p, t in zip(points, truth, strict=True))
    assert 0.88 <= held / 200 <= 0.99
    assert apart < held


def test_the_recommended_price_is_near_the_exchange_rate():
    # A calibrated model's best price is the exchange rate itself; the log finds it within its own doubt.
    log = simulated(2, n=20_000)
    tau = true_tau(log)
    found = frontier(tau, log, level(log.x), exchange_rate=0.6, today=0.2, n_resamples=200)
    volume = (tau[:, 1:].max(axis=1) > 0.6).mean()
    chosen = found.recommended
    assert chosen.volumes.low <= volume <= chosen.volumes.high
    assert chosen.net == pytest.approx(chosen.point.reward - 0.6 * chosen.point.volume)
    assert all(point.reward - 0.6 * point.volume <= chosen.net + 1e-12 for point in found.points)
    assert found.today.volume == pytest.approx((tau[:, 1:].max(axis=1) > 0.2).mean())


def test_opt_outs_stand_beside_the_reward_and_lower_the_volume():
    log = simulated(3, n=8000)
    g = np.random.default_rng(4)
    opt_outs = (g.random(8000) < np.where(log.arm == 0, 0.01, 0.06)).astype(float)
    harm = replace(log, reward=opt_outs, reward_name="unsubscribed")
    options = {"harm": harm, "exchange_rate": 0.0, "n_resamples": 100}
    found = frontier(true_tau(log), log, level(log.x), **options)
    last = found.points[-1]
    assert last.harm_band.low < 0.05 < last.harm_band.high
    dear = frontier(true_tau(log), log, level(log.x), harm_rate=20.0, **options)
    assert dear.recommended.point.volume < found.recommended.point.volume


@pytest.mark.parametrize("cuts", [[1], [500, 501, 1700]])
def test_in_chunks_it_is_what_it_is_in_memory(cuts):
    log = simulated(7, n=2000, rows_per_member=2, member_sd=0.5)
    harm = replace(log, reward=np.abs(log.reward), reward_name="left")
    # Predictions of one decimal tie in hundreds of rows.
    tau, q_hat = true_tau(log).round(1), 0.5 * level(log.x)
    options = {"exchange_rate": 0.3, "harm_rate": 0.1, "today": 0.4, "n_resamples": 200, "seed": 3}
    whole = frontier(tau, log, q_hat, harm=harm, q_harm=2 * q_hat, **options)
    places = np.split(np.arange(2000), cuts)

    def passes(_):
        for rows in places:
            models = (lambda _, rows=rows: q_hat[rows]), (lambda _, rows=rows: 2 * q_hat[rows])
            yield JudgedChunk(log.rows(rows), {}, models[0], harm.rows(rows), models[1]), tau[rows]

    found = frontier_in_passes(passes, FrontierSpec(**options), MemberCount.of(log.member_keys))
    for comp, ref in zip((*found.points, found.today), (*whole.points, whole.today), strict=True):
        assert comp[:2] == ref[:2]
        assert comp[2:4] == pytest.approx(ref[2:4], rel=1e-9, abs=1e-12)
        # A band's resamples are exact to 1e-6 of their standard deviation.
        assert comp.band == pytest.approx(ref.band, abs=1e-5)
        assert comp.harm == pytest.approx(ref.harm, rel=1e-9, abs=1e-12)
        assert comp.harm_band == pytest.approx(ref.harm_band, abs=1e-5)
    assert found.recommended.net == pytest.approx(whole.recommended.net, rel=1e-9)
    assert found.recommended.volumes == whole.recommended.volumes


def test_what_the_log_cannot_tell_is_refused():
    log = simulated(5, n=60)
    assert "effective sample size" in frontier(true_tau(log), log).refused
    wide = simulated(6, n=9000)
    wrong = replace(wide, propensity=wide.propensity[:, [1, 0, 2]])
    assert "do not come as often" in frontier(true_tau(wide), wrong).refused


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shares": (0.5, 0.2)}, r"shares must rise within \[0, 1\]"),
        ({"shares": ()}, "shares must rise"),
        ({"shares": (0.0, 1.5)}, "shares must rise"),
        ({"n_resamples": 50}, "resamples must be 100 or more for a band, got 50"),
    ],
)
def test_bad_input(options, text):
    with pytest.raises(InvalidInput, match=text):
        frontier(np.zeros((4, 2)), small(), **options)
    with pytest.raises(InvalidInput, match="tau must be finite float64"):
        frontier(np.zeros((4, 3)), small())
    with pytest.raises(InvalidInput, match="harm must have the rows of the log"):
        frontier(np.zeros((4, 2)), small(), harm=small(arm=np.array([0, 0, 1, 0])))


@pytest.mark.real_data
def test_hillstrom_at_every_tenth(hillstrom):
    log = hillstrom("visit")
    tau = np.zeros((log.n_rows, 3))
    # By past purchase: what the trial's own table says of buyers of men's and of women's things.
    mens, womens = (log.x[:, log.feature_names.index(name)] > 0 for name in ("mens", "womens"))
    tau[:, log.arms.index("Mens E-Mail")] = np.where(mens & womens, 0.134, np.where(mens, 0.069, 0.071))
    tau[:, log.arms.index("Womens E-Mail")] = np.where(mens & womens, 0.071, np.where(mens, 0.011, 0.074))
    found = frontier(tau, log, shares=TENTHS, n_resamples=500)
    assert [point.volume for point in found.points] == pytest.approx(TENTHS, abs=1e-4)
    assert all(point.band.low > 0 for point in found.points[2:])
    assert 0.07 < found.points[-1].reward < 0.09
