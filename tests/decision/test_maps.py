"""Decisions of a model with a map of trees: bit-identical in any chunks, order and threads; replayed and explained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decider.catalog import parse_catalog
from decider.decision.parts import bind_parts
from decider.decision.policy import parse_policies
from decider.decision.request import MemberRequest
from decider.models import GbdtMap, load_model, save_model
from tests.decision.test_invariance import assert_same_bits, decide_all
from tests.decision.world import CATALOG, FEATURES, POLICIES, TIME, World, build_world, model


@pytest.fixture(scope="module")
def leafy(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world with leaves of trees for features, its model saved and loaded again."""
    folder: Path = tmp_path_factory.mktemp("leafy")
    world = build_world(folder, 2000)
    x = np.array(world.parts.snapshot.features)
    g = np.random.default_rng(0)
    targets = [x[:, 1] + g.normal(size=len(x)), (x[:, 0] > 5) + g.normal(size=len(x))]
    trees = GbdtMap.fit(x, FEATURES, targets)
    d, plain = trees.n_outputs, model()
    half = g.normal(size=(len(plain.posterior_names), d, d)) * 0.01
    mean = g.normal(size=(len(plain.posterior_names), d)) * 0.02
    mean[:, 0] += 0.05
    leafed = replace(
        plain, feature_map=trees, mean=mean, covariance=half @ half.transpose(0, 2, 1),
        fatigue=np.r_[0.01, np.zeros(d - 1)],
    )  # fmt: skip
    save_model(leafed, folder / "model")
    parts = bind_parts(
        parse_catalog(CATALOG),
        world.parts.snapshot,
        parse_policies(POLICIES),
        {"uplift": load_model(folder / "model")},
    )
    return World(parts, folder)


def test_chunks_order_and_threads_do_not_matter(leafy: World) -> None:
    ids = leafy.parts.snapshot.ids(np.arange(leafy.parts.snapshot.n_members)).to_numpy()
    expected = decide_all(leafy, "thompson", ids, [ids.size])
    assert (expected["sets"] >= 0).any()
    shuffled = np.random.default_rng(5).permutation(ids)
    assert_same_bits(decide_all(leafy, "thompson", shuffled, [1, 13, 200], threads=1), expected)


def test_explanation_is_the_decision_that_was_logged(leafy: World) -> None:
    with leafy.engine("one") as (engine, _):
        for member in leafy.parts.snapshot.ids(np.arange(5)).to_list():
            request = MemberRequest(request_id=f"r{member}", member_id=member, decision_time_micros=TIME)
            made = engine.decide(request)
            engine.explain(made.record.decision_id)
