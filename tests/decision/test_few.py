"""A few members decided by one kernel: the same bits as step by step, and what it leaves to the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import msgspec
import numpy as np
import pytest

from decider.decision.check import channel_mask
from decider.decision.exposure import Exposure
from decider.decision.few import MOST, decide_few
from decider.decision.inclusion import inclusion_propensities
from decider.decision.request import RunRequest
from decider.decision.stages import Decided, Question
from decider.decision.steps import decide, step_by_step
from decider_core.contracts import ContractError
from tests.decision.world import TIME, World

HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def history(world: World) -> Iterator[Exposure]:
    """What a run and a day's decisions have sent."""
    with world.engine("history") as (engine, _):
        for policy in ("greedy", "random"):
            run = engine.start_run(
                RunRequest(request_id=policy, decision_time_micros=TIME - HOUR, policy=policy),
                whole_snapshot=True,
            )
            for _ in run.finish():
                pass
        yield engine._state.exposure


def question(
    world: World, history: Exposure, rows: np.ndarray, policy: str = "thompson", **changes: object
) -> Question:
    seen = history.observe(rows, world.parts.catalog)
    bound = world.parts.policy(policy)
    asked = Question(
        parts=world.parts, bound=bound, rows=rows, time_micros=TIME, epoch=1,
        channel_allowed=channel_mask(world.parts.catalog, None), theta=np.float32(bound.policy.price),
        tie_cut=np.uint64(0), sends=seen.sends, until_sequence=seen.until_sequence, with_inclusion=True,
    )  # fmt: skip
    return replace(asked, **changes)


def with_policy(world: World, **changes: object) -> object:
    bound = world.parts.policy("thompson")
    return replace(bound, policy=msgspec.structs.replace(bound.policy, **changes))


def assert_same(one: object, other: object, where: str = "decided") -> None:
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, tuple):
        assert isinstance(other, tuple)
        for place, (each, its) in enumerate(zip(one, other, strict=True)):
            assert_same(each, its, f"{where}[{place}]")
    elif isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), where
    else:
        assert one == other, where


def assert_same_decisions(asked: Question, few: Decided, steps: Decided) -> None:
    """Also what single messages' chances are, which is part of the one and made of the other."""
    assert_same(inclusion_propensities(asked, few), inclusion_propensities(asked, steps))
    held = None if steps.held is None else few.held  # nobody exploits
    assert_same(replace(few, held=held, of_messages=None), steps)


@pytest.mark.parametrize("kind", ["thompson", "ucb", "greedy", "cautious"])
def test_the_same_bits_as_step_by_step(world: World, history: Exposure, kind: str) -> None:
    rng = np.random.default_rng(5)
    bound = with_policy(world, kind=kind)
    n_drawn = n_replayed = n_full = 0
    for turn, size in enumerate((1, 2, 3, 31, 32, 33, 64, MOST)):
        rows = rng.choice(3000, size, replace=False)
        time = TIME + turn * 3 * HOUR
        asked = question(world, history, rows, bound=bound, epoch=turn, time_micros=time)
        asked = replace(asked, times_micros=time + rng.integers(0, 1000, size))
        few, steps = decide_few(asked), step_by_step(asked)
        assert few is not None
        assert_same_decisions(asked, few, steps)
        n_drawn += few.explored.n_drawn
        n_replayed += int((few.hits >= 0).sum())
        n_full += int((few.permitted.caps.room_channel == 0).sum())
    assert n_drawn > 10
    assert n_full > 10
    assert (n_replayed > 10) == (kind == "thompson")


@pytest.mark.parametrize(
    "changes",
    [
        {"theta": np.float32(0.3)},
        {"theta": np.float32(-np.inf)},
        {"tie_cut": np.uint64(1 << 63)},
        {"channel_allowed": np.array([0, 1], np.uint8)},
        {"with_inclusion": False},
        {"until_sequence": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_is_asked(world: World, history: Exposure, changes: dict[str, object]) -> None:
    asked = question(world, history, np.arange(50), **changes)
    few = decide_few(asked)
    assert few is not None
    assert_same_decisions(asked, few, step_by_step(asked))


def test_policies_of_one_price_are_told_apart(world: World, history: Exposure) -> None:
    for changes in ({"propensity_draws": 10}, {"seed": 8}, {"propensity_draws": 0}):
        asked = question(world, history, np.arange(50), bound=with_policy(world, **changes))
        few = decide_few(asked)
        assert few is not None
        assert_same_decisions(asked, few, step_by_step(asked))


def test_what_is_left_to_the_steps(world: World, history: Exposure) -> None:
    rows = np.arange(5)
    for policy in ("single", "epsilon", "heuristic", "random"):
        assert decide_few(question(world, history, rows, policy)) is None
    for changes in ({"by_formula": False}, {"with_propensities": False}):
        assert decide_few(question(world, history, rows, **changes)) is None
    assert decide_few(question(world, history, np.arange(MOST + 1))) is None


def test_what_is_wrong_is_named_by_the_steps(world: World, history: Exposure) -> None:
    asked = question(world, history, np.arange(5))
    for rows, times in ((np.array([3000]), [TIME]), (np.array([-1]), [TIME]), (np.array([0]), [2**62])):
        wrong = replace(asked, rows=rows, times_micros=np.array(times))
        with pytest.raises((ContractError, IndexError)):
            decide(wrong)
    features = world.parts.snapshot.features.copy()
    features[3, 1] = np.nan
    before = world.parts.snapshot.features
    try:
        world.parts.snapshot.features = features
        with pytest.raises(ContractError, match="x must be finite"):
            decide(asked)
    finally:
        world.parts.snapshot.features = before
