import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.evaluation import Logged, judge_policy
from decider.evaluation.adaptive import adaptive_value
from decider.evaluation.constraints import volume_and_cost


def bandit(seed, n_batches=40, per_batch=50):
    """An epsilon-greedy log of two arms of the same mean: which one is starved is up to early luck."""
    g = np.random.default_rng(seed)
    arms, rewards, chances = [], [], []
    sums, counts = np.zeros(2), np.zeros(2)
    for b in range(n_batches):
        greedy = int(np.argmax(sums / np.maximum(counts, 1))) if b else 0
        # The floor falls as 1/t^0.7, as in the literature's examples.
        floor = 0.5 * (b + 1.0) ** -0.7
        p = np.where(np.arange(2) == greedy, 1 - floor, floor)
        arm = (g.random(per_batch) < p[1]).astype(np.int64)
        reward = 1.0 + g.normal(size=per_batch)
        sums += np.bincount(arm, weights=reward, minlength=2)
        counts += np.bincount(arm, minlength=2)
        arms.append(arm)
        rewards.append(reward)
        chances.append(np.tile(p, (per_batch, 1)))
    n = n_batches * per_batch
    log = Logged(
        ("a", "b"), 0, "y", (), np.zeros((n, 0), np.float32), np.concatenate(arms), np.concatenate(rewards),
        np.concatenate(chances), np.arange(n, dtype=np.uint64),
    )  # fmt: skip
    return log, np.repeat(np.arange(n_batches), per_batch)


def test_equals_its_definition():
    log, batch = bandit(0)
    found = adaptive_value(np.ones(log.n_rows, np.int64), log, batch)
    h = [np.mean(1.0 / log.propensity[batch == b, 1]) ** -0.5 for b in batch]
    score = (log.arm == 1) / log.propensity[:, 1] * log.reward
    assert found.value == pytest.approx(np.sum(h * score) / np.sum(h), rel=1e-10)


def test_intervals_cover_the_truth_in_an_adaptive_log():
    # 400 logs: coverage of a true 95 % interval lies in [0.91, 0.985] but for probability 1e-3 (binomial).
    hits = 0
    for seed in range(400):
        log, batch = bandit(seed)
        # The arm's mean as a model: of order 1 right, so that DR's noise is the rewards' own.
        found = adaptive_value(np.ones(log.n_rows, np.int64), log, batch, np.full((log.n_rows, 2), 0.8))
        if found.value is None:
            found = adaptive_value(np.zeros(log.n_rows, np.int64), log, batch, np.full((log.n_rows, 2), 0.8))
        hits += found.normal.low <= 1.0 <= found.normal.high
    assert 0.91 <= hits / 400 <= 0.985


def test_batches_of_another_form_are_refused():
    log, batch = bandit(1)
    with pytest.raises(InvalidInput, match="batch must be int64 of shape"):
        adaptive_value(np.ones(log.n_rows, np.int64), log, batch[:-1])


def test_volume_and_cost_by_hand():
    log, _ = bandit(2)
    policy = np.arange(log.n_rows) % 2
    volume, cost = volume_and_cost(policy, log, np.array([0.0, 3.0]))
    assert (volume.value, cost.value) == (0.5, 1.5)
    assert volume.standard_error == pytest.approx(0.5 / np.sqrt(log.n_rows), rel=1e-3)
    assert volume_and_cost(policy, log)[1].value == 0.5
    with pytest.raises(InvalidInput, match=r"cost must be float64 of shape \(2,\), none below 0"):
        volume_and_cost(policy, log, np.array([0.0, -1.0]))


def test_the_explore_stratum_alone_is_an_ordinary_log():
    log, batch = bandit(3)
    explored = log.rows(batch == 0)
    assert judge_policy(np.ones(explored.n_rows, np.int64), explored, n_resamples=0).values["ips"].refused
