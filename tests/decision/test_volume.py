"""Volumes where messages' costs differ: the price of one pass is the one of deciding everybody at every price."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decider.catalog import parse_catalog
from decider.decision import few_to_all, sizes
from decider.decision.asking import Asking, Members
from decider.decision.cells import bind_experiments, cell_volumes, with_holdouts
from decider.decision.finding import find_prices
from decider.decision.parts import bind_parts
from decider.decision.policy import parse_policies
from decider.decision.request import RunRequest
from decider.decision.stages import Question
from decider.errors import InvalidInput
from tests.decision.naive_volume import counted, searched_price
from tests.decision.test_cells import FEWER
from tests.decision.world import CATALOG, POLICIES, TIME, World, build_world, model

N = 2_000
COSTS = (0.01, 0.05, 0.3, 1.0)
"""Some messages cost a hundred times as much as others."""


def with_costs(world: World, seed: int) -> World:
    """The same members, under random costs (some 0 for one seed in four) and caps, and more or less of chance."""
    g = np.random.default_rng(seed)
    catalog = CATALOG
    for message in ("picks", "season", "arrival"):
        of_channels = g.choice((0.0, *COSTS) if seed % 4 == 2 else COSTS, 2).tolist()
        cost = dict(zip(("email", "push"), of_channels, strict=True))
        table = ", ".join(f"{channel} = {each}" for channel, each in cost.items())
        catalog = catalog.replace(f'id = "{message}"', f'cost = {{ {table} }}\nid = "{message}"')
    if seed % 3 == 0:
        catalog = catalog.replace("cap = { count = 2, days = 7 }", "cap = { count = 1, days = 7 }")
    if seed % 3 == 1:
        catalog = catalog.replace("topic = { count = 2, days = 7 }\n", "")
        catalog = catalog.replace("cap = { count = 2, days = 7 }\n", "")
    policies = POLICIES
    if seed % 2:
        policies = policies.replace("explore = 0.0\n", "explore = 0.1\nholdout = 0.1\nprice = 0.01\n")
    parsed = parse_policies(policies)
    parts = bind_parts(parse_catalog(catalog), world.parts.snapshot, parsed, {"uplift": model(seed=seed)})
    return replace(world, parts=parts)


@pytest.fixture(scope="module")
def costly(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("unequal"), N)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks, segments and first searches so small that a few thousand members make many."""
    monkeypatch.setattr(sizes, "CHUNK", 300)
    monkeypatch.setattr(sizes, "SEGMENT", 1000)
    monkeypatch.setattr(few_to_all, "FIRST", 30)


def asked(policy: str, volume: int, request_id: str = "volume") -> RunRequest:
    return RunRequest(
        request_id=request_id,
        decision_time_micros=TIME,
        policy=policy,
        volume=volume,
        defer_propensities=True,
        dry_run=True,
    )


@contextmanager
def members_of(world: World, request: RunRequest, ids: np.ndarray | None = None) -> Iterator[Members]:
    """What a run of all members, or of some, goes through to find its price."""
    with world.engine("log") as (engine, _):
        run = engine.start_run(request, whole_snapshot=ids is None)
        if ids is not None:
            run.add(ids)
            run._waiting = [np.concatenate(run._waiting)]
        yield run._members()


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("errors", [4.0, 0.0])
@pytest.mark.parametrize("policy", ["thompson", "greedy", "single", "epsilon", "heuristic", "random"])
def test_it_is_the_price_of_deciding_everybody_at_every_price(
    costly: World, policy: str, errors: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it lies where it is looked for (4 standard errors), or members must be gone through again (0)."""
    monkeypatch.setattr(few_to_all, "STANDARD_ERRORS", errors)
    found = set()
    for seed in range(4):
        world, g = with_costs(costly, seed), np.random.default_rng(seed)
        bound = world.parts.policy(policy)
        with members_of(world, asked(policy, 1)) as members:
            n_drawn = counted(members, bound, None)(float(bound.policy.price))[1]
            for more in (0, 1, int(g.integers(2, 300)), int(g.integers(300, 2500)), 20_000):
                volume = n_drawn + more
                asking = replace(members.asking, request=asked(policy, volume))
                price = find_prices(members._replace(asking=asking)).price
                assert price == searched_price(members, bound, volume, None)
                found.add(float(price.theta))
            if n_drawn:
                few = replace(members.asking, request=asked(policy, n_drawn - 1))
                with pytest.raises(InvalidInput, match=f"room for the {n_drawn} sends that are drawn"):
                    find_prices(members._replace(asking=few))
    assert policy == "random" or len(found) > 5


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("n_members", [1, 2, 17, 260])
def test_a_few_members(costly: World, n_members: int) -> None:
    ids = costly.parts.snapshot.ids(np.arange(N)).to_numpy()
    for seed in range(6):
        world, g = with_costs(costly, seed), np.random.default_rng(seed)
        some = g.choice(ids, n_members, replace=False)
        for volume in (0, 1, n_members // 2, n_members):
            with members_of(world, asked("greedy", volume), some) as members:
                bound = members.asking.bound
                n_drawn = counted(members, bound, None)(float(bound.policy.price))[1]
                if n_drawn <= volume:
                    assert find_prices(members).price == searched_price(members, bound, volume, None)
                else:
                    with pytest.raises(InvalidInput, match=f"room for the {n_drawn} sends that are drawn"):
                        find_prices(members)


@pytest.mark.usefixtures("small_parts")
def test_each_cell_has_the_price_of_its_own_members(costly: World) -> None:
    for seed in range(3):
        world = with_costs(costly, seed)
        policies = with_holdouts(world.parts.policies, [FEWER])
        parts = bind_parts(world.parts.catalog, world.parts.snapshot, policies, {"uplift": model(seed=seed)})
        world = replace(world, parts=bind_experiments(parts, [FEWER]))
        with members_of(world, asked("fewer", 1_500)) as members:
            experiment = members.asking.experiment
            assert experiment is not None
            volumes = cell_volumes(1_500, 4, experiment.codes, members.rows(1000))
            found = find_prices(members).of_cells
            for code in (1, 2, 3):
                volume = volumes[code]
                assert volume is not None
                assert found[code] == searched_price(members, experiment.bound[code], volume, code)
            assert len({float(price.theta) for price in found}) > 2


@pytest.mark.usefixtures("small_parts")
def test_the_run_sends_what_the_price_says_whatever_the_order(costly: World) -> None:
    world = with_costs(costly, 5)
    request = replace(asked("thompson", 1_000), dry_run=False)
    with world.engine("whole") as (engine, _):
        run = engine.start_run(request, whole_snapshot=True)
        list(run.finish())
        assert 950 < run.summary.volume <= 1_000
        assert all(not replayed.different for replayed in engine.replay())
    ids = np.random.default_rng(1).permutation(world.parts.snapshot.ids(np.arange(N)).to_numpy())
    with world.engine("parts", threads=1) as (engine, _):
        again = engine.start_run(request, whole_snapshot=False)
        for some in np.array_split(ids, 5):
            again.add(some)
        list(again.finish())
    assert (again.record.theta, again.summary.volume) == (run.record.theta, run.summary.volume)


def test_tens_of_thousands(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At the sizes that runs have."""
    large = build_world(tmp_path_factory.mktemp("large"), 40_000)
    for seed, policy, volume in ((0, "thompson", 15_000), (2, "greedy", 9_000), (4, "heuristic", 25_000)):
        world = with_costs(large, seed)
        with members_of(world, asked(policy, volume)) as members:
            expected = searched_price(members, members.asking.bound, volume, None)
            assert find_prices(members).price == expected
            assert expected.theta > 0.02


@pytest.mark.parametrize(
    ("n_members", "seed", "policy", "volume"),
    [(300_000, 5, "thompson", 120_000), (40_000, 3, "greedy", 25_000), (40_000, 2, "thompson", 10_000)],
)
def test_members_are_valued_once_for_the_price_and_once_to_be_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_members: int, seed: int, policy: str, volume: int
) -> None:
    """Also where messages that cost nothing (the last one) leave no price but infinity."""
    world = with_costs(build_world(tmp_path, n_members), seed)
    asked_for: list[int] = []
    question = Asking.question

    def counting(self: Asking, rows: np.ndarray, *rest: object, **named: object) -> Question:
        asked_for.append(rows.size)
        return question(self, rows, *rest, **named)  # type: ignore[arg-type]

    with world.engine("many") as (engine, _):
        run = engine.start_run(asked(policy, volume), whole_snapshot=True)
        with monkeypatch.context() as patch:
            patch.setattr(Asking, "question", counting)
            n_sent = sum(int((chunk.sets >= 0).sum()) for chunk in run.finish())
        searched = sum(few_to_all.sizes_of_searches(n_members, 8))
        assert searched > 0
        # As many members as keys below a share make: 36,864 of 300,000, give or take 1,200 at six standard deviations.
        assert abs(sum(asked_for) - 2 * n_members - searched) < 1_200
        counts_at = counted(run._members(), world.parts.policy(policy), None)
        theta = np.float32(run.record.theta)
        assert np.isinf(theta) == (seed == 2)
        assert sum(counts_at(float(theta))) == n_sent <= volume
        assert sum(counts_at(float(np.nextafter(theta, np.float32(0.0))))) > volume
