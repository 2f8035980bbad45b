"""Figures of the Open Bandit Dataset's small version, from logs with real propensities.

DECIDER_OBD_DIR names the folder ``obp/dataset/obd`` of the unpacked wheel obp 0.4.1.
"""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from decider.evaluation import Limits, Logged, judge_policy, policy_value, support_of

NO_LIMITS = Limits(effective_rows=0, largest_share=1, matched_members=0, sample_ratio=0)
N_SIMULATIONS = 100_000
PUBLISHED = {"all": (0.004571, 0.00210), "men": (0.004549, 0.001187), "women": (0.006800, 0.001878)}


@pytest.fixture(scope="module")
def obd():
    folder = os.environ.get("DECIDER_OBD_DIR")
    if not folder:
        pytest.skip("DECIDER_OBD_DIR is not set: the tests on the Open Bandit data are left out")
    return Path(folder)


def read(folder, policy, campaign):
    frame = pl.read_csv(folder / policy / campaign / f"{campaign}.csv", columns=[
        "item_id", "position", "click", "propensity_score"])  # fmt: skip
    n_items = pl.read_csv(folder / policy / campaign / "item_context.csv").height
    return frame, n_items, (frame["position"].rank("dense") - 1).to_numpy().astype(int)


def logged(frame, propensity):
    n, n_items = propensity.shape
    return Logged(
        tuple(f"item {k}" for k in range(n_items)), 0, "click", (), np.zeros((n, 0), np.float32),
        frame["item_id"].to_numpy().astype(np.int64), frame["click"].to_numpy().astype(float), propensity,
        np.arange(n, dtype=np.uint64),
    )  # fmt: skip


def thompson(folder, campaign):
    """P(item at position) of the Bernoulli Thompson policy from its published prior, by simulation."""
    text = (folder.parents[1] / "policy" / "conf" / "prior_bts.yaml").read_text()
    numbers = {"alpha": [], "beta": []}
    current = None
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line.rstrip(":") == campaign
        elif line.strip().rstrip(":") in numbers:
            current = line.strip().rstrip(":")
        elif inside:
            numbers[current].append(float(line.strip().removeprefix("- ")))
    g = np.random.default_rng(0)
    draws = g.beta(numbers["alpha"], numbers["beta"], (N_SIMULATIONS, len(numbers["alpha"])))
    first = np.argpartition(-draws, 3, axis=1)[:, :3]
    order = np.argsort(-np.take_along_axis(draws, first, axis=1), axis=1)
    top = np.take_along_axis(first, order, axis=1)
    n_items = draws.shape[1]
    return np.stack([np.bincount(top[:, place], minlength=n_items) for place in range(3)]) / N_SIMULATIONS


@pytest.mark.real_data
@pytest.mark.parametrize("campaign", PUBLISHED)
def test_thompsons_value_from_the_random_log(obd, campaign):
    frame, n_items, position = read(obd, "random", campaign)
    log = logged(frame, np.full((frame.height, n_items), 1 / n_items))
    assert frame["propensity_score"].to_numpy() == pytest.approx(1 / n_items)
    policy = thompson(obd, campaign)
    found = policy_value(policy[position], log, limits=NO_LIMITS, n_resamples=0)
    value, error = PUBLISHED[campaign]
    # Both are simulated: each of the few clicks weighs by a chance that is known to about 1 in 100.
    assert found.ips.value == pytest.approx(value, rel=0.03)
    assert found.ips.standard_error == pytest.approx(error, rel=0.05)
    clicked = frame["click"].to_numpy() == 1
    weight = policy[position, frame["item_id"].to_numpy()] * n_items
    assert found.snips.value == pytest.approx(weight[clicked].sum() / weight.sum(), rel=1e-10)


@pytest.mark.real_data
def test_the_womens_log_of_thompson_says_nothing_of_random(obd):
    frame, n_items, _ = read(obd, "bts", "women")
    items, taken = frame["item_id"].to_numpy(), frame["propensity_score"].to_numpy()
    # The log tells the chance of the item shown; the others' share of the rest does not enter.
    propensity = np.repeat((1.0 - taken[:, None]) / (n_items - 1), n_items, axis=1)
    propensity[np.arange(frame.height), items] = taken
    log = logged(frame, propensity)
    policy = np.full((frame.height, n_items), 1 / n_items)
    support = support_of(policy, log)
    assert support.effective_rows == pytest.approx(2.0, abs=0.5)
    found = judge_policy(policy, log, n_resamples=0, limits=Limits(sample_ratio=0))
    for name in ("ips", "snips", "clipped_ips"):
        assert found.values[name].value is None
    assert "effective sample size must be at least 100, got " in found.values["ips"].refused
