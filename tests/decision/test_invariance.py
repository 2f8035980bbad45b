"""Invariant 1: a decision is bit-identical whatever the batch, chunk, thread count or path that makes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from decider.decision import sizes
from decider.decision.request import MemberRequest, RunRequest
from decider.decision.result import ResultChunk
from tests.decision.world import TIME, World

COLUMNS = ("stratum", "sets", "mean", "sd", "gains", "propensity", "propensity_hits", "expected")
POLICIES = ("thompson", "single", "greedy", "epsilon", "heuristic", "random")


def decide_all(
    world: World, policy: str, ids: np.ndarray, pieces: Sequence[int], threads: int = 2, **options: object
) -> dict[str, np.ndarray]:
    """All members' columns, sent in pieces of the given sizes over and over."""
    request = RunRequest(request_id="run", decision_time_micros=TIME, policy=policy, dry_run=True, **options)
    with world.engine(f"log-{policy}", threads) as (engine, _):
        run = engine.start_run(request, whole_snapshot=False)
        chunks: list[ResultChunk] = []
        at, turn = 0, 0
        while at < ids.size:
            size = pieces[turn % len(pieces)]
            chunks += run.add(ids[at : at + size])
            at, turn = at + size, turn + 1
        chunks += run.finish()
    order = np.concatenate([chunk.rows for chunk in chunks])
    back = np.argsort(order)
    columns = {name: np.concatenate([getattr(c, name) for c in chunks], axis=-1) for name in COLUMNS}
    return {name: column[..., back] for name, column in columns.items()}


def assert_same_bits(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name in COLUMNS:
        assert got[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("policy", POLICIES)
def test_chunks_order_and_threads_do_not_matter(
    world: World, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = world.parts.snapshot.ids(np.arange(world.parts.snapshot.n_members)).to_numpy()
    expected = decide_all(world, policy, ids, [ids.size])
    assert (expected["sets"] >= 0).any()
    shuffled = np.random.default_rng(5).permutation(ids)
    assert_same_bits(decide_all(world, policy, shuffled, [ids.size], threads=1), expected)
    for chunk, segment in ((1, 64), (7, 700), (512, 4096)):
        monkeypatch.setattr(sizes, "CHUNK", chunk)
        monkeypatch.setattr(sizes, "SEGMENT", segment)
        few = ids if chunk > 1 else ids[:300]
        some = decide_all(world, policy, few, [1, 13, 200])
        assert_same_bits(some, {name: column[..., : few.size] for name, column in expected.items()})


@pytest.mark.parametrize("policy", POLICIES)
def test_one_at_a_time_equals_the_run(world: World, policy: str) -> None:
    snapshot, candidates = world.parts.snapshot, world.parts.catalog.candidates
    ids = snapshot.ids(np.arange(200)).to_numpy()
    expected = decide_all(world, policy, ids, [ids.size])
    with world.engine(f"log-{policy}") as (engine, _):
        for place, member_id in enumerate(ids.tolist()):
            decision = engine.decide(
                MemberRequest(
                    member_id=member_id,
                    request_id=f"one-{member_id}",
                    decision_time_micros=TIME,
                    policy=policy,
                    dry_run=True,
                )
            )
            chosen = [k for k in expected["sets"][:, place] if k >= 0]
            assert [m.candidate for m in decision.messages] == [candidates[k].id for k in chosen]
            gains = np.array([m.marginal_gain for m in decision.messages], np.float32)
            assert gains.tobytes() == expected["gains"][: len(chosen), place].tobytes()
            means = np.array([m.expected_incrementality for m in decision.messages], np.float32)
            assert means.tobytes() == expected["mean"][: len(chosen), place].tobytes()
            assert decision.record.stratum == expected["stratum"][place]
            assert decision.record.propensity == expected["propensity"][place]
