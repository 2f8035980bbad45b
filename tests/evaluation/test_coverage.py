"""Coverage of every interval of every estimator over small logs; the full study is benchmarks/study_coverage.py."""

from collections import defaultdict

import numpy as np
import pytest
from small_logs import simulated

from decider.errors import InvalidInput
from decider.evaluation import ESTIMATORS, Limits, Logged, judge_policy

UNBIASED = ("ips", "snips", "dr", "sndr")


def binary(seed, n=1000):
    """A log of rewards 0 or 1 whose chance under each arm is known."""
    log = simulated(seed, n=n)
    chance = chances(log.x.astype(float))
    arm = log.arm
    reward = (np.random.default_rng(seed + 10**6).random(n) < chance[np.arange(n), arm]).astype(float)
    return Logged(**{**log.__dict__, "reward": reward})


def chances(x):
    base = -1.0 + 0.5 * x[:, 0]
    return 1 / (1 + np.exp(-np.stack([base, base + 0.5 + 0.5 * x[:, 1], base + 0.3], axis=1)))


@pytest.mark.slow
def test_every_interval_covers():
    # 300 logs: coverage of a true 95 % interval lies in [0.90, 0.985] but for probability 1e-3 for each of the 12
    # (binomial). Biased estimators, sequences and Bernstein promise at least 95 %: [0.90, 1]. q is half wrong.
    x = np.random.default_rng(1).normal(size=(1_000_000, 2))
    sends = np.where(x[:, 1] > 0, 1, 2)
    value = chances(x)[np.arange(len(x)), sends]
    truth = {"values": value.mean(), "incremental": (value - chances(x)[:, 0]).mean()}
    hits, limits = defaultdict(list), Limits(sample_ratio=0)
    for seed in range(300):
        log = binary(seed)
        policy = np.where(log.x[:, 1] > 0, 1, 2).astype(np.int64)
        q_hat = 0.5 * chances(log.x.astype(float))
        found = judge_policy(
            policy, log, q_hat, groups=np.array([0, 1, 1]), reward_range=(0, 1), n_resamples=200, seed=seed,
            limits=limits,
        )  # fmt: skip
        for form, true in truth.items():
            for name in ESTIMATORS:
                for kind in ("normal", "bootstrap", "anytime", "bernstein"):
                    ends = getattr(getattr(found, form)[name], kind)
                    if ends is not None:
                        hits[form, name, kind].append(ends.low <= true <= ends.high)
    for (form, name, kind), each in hits.items():
        exact = name in UNBIASED and kind in ("normal", "bootstrap")
        assert 0.90 <= np.mean(each) <= (0.985 if exact else 1.0), (form, name, kind, np.mean(each))
    assert {key[2] for key in hits} == {"normal", "bootstrap", "anytime", "bernstein"}
    assert {key[1] for key in hits if key[2] == "bernstein"} == {"ips", "dr"}


def test_rewards_out_of_the_range_named_are_refused():
    log = simulated(0)
    with pytest.raises(InvalidInput, match=r"y:visit must be in reward_range \[0, 1\], got .* at row"):
        judge_policy(np.ones(2000, np.int64), log, reward_range=(0.0, 1.0), n_resamples=0)
