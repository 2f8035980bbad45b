import numpy as np
import polars as pl
import pytest

from decider.errors import InvalidInput
from decider.learning.panel import panel_effect


def moments_of(seed, n_members=60, n_times=40, uneven=True, member_sd=0.3):
    """Members with a level and an answer of their own; the effect fades over time from .5 by .01 each."""
    g = np.random.default_rng(seed)
    member = np.repeat(np.arange(n_members), n_times)
    time = np.tile(np.arange(n_times, dtype=float), n_members)
    x = g.normal(size=member.size)
    p = 1 / (1 + np.exp(-0.8 * x)) if uneven else np.full(member.size, 0.6)
    sent = g.random(member.size) < p
    answer = (0.5 - 0.01 * time) + member_sd * g.normal(size=n_members)[member]
    reward = np.exp(0.5 * x) + g.normal(size=n_members)[member] + answer * sent + g.normal(size=member.size)
    return sent, p, reward, member.astype(np.uint64), x[:, None], time


def test_the_constant_effect_is_a_difference_of_means_without_controls():
    sent, p, reward, keys, _, _ = moments_of(0, uneven=False)
    found = panel_effect(sent, p, reward, keys, np.empty((len(sent), 0)))
    assert found.mean[0] == pytest.approx(reward[sent].mean() - reward[~sent].mean(), rel=1e-10)
    assert (found.n_rows, found.n_members) == (2400, 60)


def test_effects_and_their_fading_are_covered_though_the_baseline_is_wrong():
    # 200 trials; coverage of 95 % lies in [0.89, 0.99] but for probability 1e-3; small-sample errors take 1 %.
    hits, naive = [], []
    for seed in range(200):
        sent, p, reward, keys, x, time = moments_of(seed)
        moderators = np.column_stack([np.ones(len(time)), time])
        found = panel_effect(sent, p, reward, keys, x, moderators)
        hits.append(np.abs(found.mean - [0.5, -0.01]) < 1.96 * found.standard_error)
        alone = panel_effect(sent, p, reward, np.arange(len(sent), dtype=np.uint64), x)
        naive.append(abs(alone.mean[0] - 0.305) < 1.96 * alone.standard_error[0])
    assert (np.mean(hits, axis=0) > 0.89).all()
    assert np.mean(naive) < 0.93


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("propensity", 0.0, r"propensity must be in \(0, 1\), got 0\.0 at row 3"),
        ("propensity", np.nan, r"propensity must be in \(0, 1\), got nan at row 3"),
        ("reward", np.inf, r"reward must be finite, got \[inf\] at row 3"),
    ],
)
def test_bad_values_are_named(field, value, text):
    sent, p, reward, keys, x, _ = moments_of(1, 20, 5)
    given = {"sent": sent, "propensity": p, "reward": reward, "member_keys": keys, "baseline": x}
    given[field][3] = value
    with pytest.raises(InvalidInput, match=text):
        panel_effect(**given)


def test_too_few_members_and_moderators_alike_are_refused():
    sent, p, reward, keys, x, time = moments_of(2, 20, 5)
    with pytest.raises(InvalidInput, match="members must be more than 2, got 2"):
        panel_effect(sent, p, reward, keys % 2, x)
    with pytest.raises(InvalidInput, match="moderators must be independent"):
        panel_effect(sent, p, reward, keys, x, np.column_stack([time, 2 * time]))
    with pytest.raises(InvalidInput, match=r"centre must be in \(0, 1\), got 1\.0"):
        panel_effect(sent, p, reward, keys, x, centre=1.0)
    with pytest.raises(InvalidInput, match="baseline must have 100 rows and 2 axes"):
        panel_effect(sent, p, reward, keys, x[:5])


@pytest.mark.real_data
def test_a_push_adds_steps_and_less_as_weeks_go_by(data_dir):
    # HeartSteps V1: pushes at random moments. The published figures; those by period count rows apart.
    frame = pl.read_csv(data_dir("heartsteps_v1.csv.gz"), null_values=["NA", ""], infer_schema_length=None)
    frame = frame.filter("avail")
    sent, reward = frame["send"].to_numpy(), frame["jbsteps30.log"].to_numpy()
    before, day = frame["jbsteps30pre.log"].to_numpy()[:, None], frame["study.day.nogap"].to_numpy()
    keys, p = frame["user"].to_numpy().astype(np.uint64), np.full(len(sent), 0.6)
    assert sent.mean() == pytest.approx(0.593, abs=5e-4)
    found = panel_effect(sent, p, reward, keys, before)
    assert found.mean[0] == pytest.approx(0.131, abs=1e-3)
    assert found.standard_error[0] == pytest.approx(0.065, abs=2e-3)
    for first, last, effect, error in ((0, 13, 0.303, 0.137), (28, 41, -0.039, 0.140)):
        part = (day >= first) & (day <= last)
        rows = np.arange(part.sum(), dtype=np.uint64)
        apart = panel_effect(sent[part], p[part], reward[part], rows, np.empty((part.sum(), 0)))
        assert apart.mean[0] == pytest.approx(effect, abs=1e-3)
        assert apart.standard_error[0] == pytest.approx(error, abs=1e-3)
    fading = panel_effect(
        sent, p, reward, keys, np.column_stack([before, day]), np.column_stack([np.ones(len(day)), day])
    )
    assert fading.mean[1] < -3 * fading.standard_error[1]
