"""Runs with budgets of single channels: kept, priced, certified, replayed and resumed."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from decider.decision import few_to_all, held, sizes
from decider.decision.check import digest_of
from decider.decision.request import Budget, RunRequest
from decider.decision.result import ResultChunk, RunSummary
from decider.decision.run import Run
from decider.errors import Conflict, InvalidInput, Unavailable, UnknownName
from decider.logbook import Logbook
from decider.logbook.schema import RunRecord
from decider_core.explore import EXPLOIT
from decider_core.random import tie_keys
from tests.decision.world import CATALOG, TIME, World, build_world

BEFORE = "62d5c79e8fd5bd5c4fb74db593d4c231b36ae819736beffbebbf2a3b18e73bc8"
"""Digest of a request as it was before there were budgets."""
TWO = (Budget(channel="push", messages=400), Budget(channel="email", messages=900))


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "CHUNK", 256)
    monkeypatch.setattr(sizes, "SEGMENT", 1000)


@pytest.fixture
def by_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few enough members are searched first that most are only valued between two prices."""
    monkeypatch.setattr(few_to_all, "FIRST", 150)


@pytest.fixture(scope="module")
def costly(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world where messages cost this and that, and some nothing."""
    catalog = CATALOG.replace('name = "push"\ncost = 1.0', 'name = "push"\ncost = 0.0').replace(
        'id = "picks"', 'cost = { email = 2.5 }\nid = "picks"'
    )
    return build_world(tmp_path_factory.mktemp("costly"), catalog=catalog)


def asked(budgets: tuple[Budget, ...] = TWO, request_id: str = "budgets", **options: object) -> RunRequest:
    options = {"defer_propensities": True} | options
    return RunRequest(request_id=request_id, decision_time_micros=TIME, budgets=budgets, **options)


def decided(world: World, log: str, request: RunRequest) -> tuple[list[ResultChunk], RunSummary, Run]:
    with world.engine(log) as (engine, _):
        run = engine.start_run(request, whole_snapshot=True)
        chunks = list(run.finish())
        assert all(not replayed.different for replayed in engine.replay())
    return chunks, run.summary, run


def prices_of(summary: RunSummary) -> list[float | None]:
    return [budget.price for budget in summary.budgets]


@pytest.mark.parametrize("policy", ["thompson", "greedy", "single", "epsilon", "heuristic"])
def test_every_budget_is_kept_and_nearly_used(world: World, policy: str) -> None:
    _, summary, _ = decided(
        world, f"kept-{policy}", asked(policy=policy, defer_propensities=policy not in ("single", "thompson"))
    )
    assert [(each.channel, each.amount) for each in summary.budgets] == [("email", 900.0), ("push", 400.0)]
    for budget in summary.budgets:
        assert budget.spent == summary.per_channel[budget.channel]
        # Members alike tie, and a cut lets some of them have it; draws hardly ever do.
        assert budget.spent == budget.amount or (policy in ("thompson", "single") and budget.tie_cut == 0)
        assert 0.99 * budget.amount <= budget.spent <= budget.amount
        assert budget.price is not None
        assert budget.price > 0
    assert summary.gap == pytest.approx(0.0, abs=1e-3 if policy in ("thompson", "single") else 1e-12)


@pytest.mark.usefixtures("by_range")
@pytest.mark.parametrize("policy", ["thompson", "greedy", "heuristic", "epsilon"])
@pytest.mark.parametrize("errors", [4.0, 0.0])
def test_prices_are_those_of_a_search_over_everybody(
    world: World, policy: str, errors: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they lie where they are looked for (4 standard errors), or the range must be made wider (0)."""
    monkeypatch.setattr(few_to_all, "STANDARD_ERRORS", errors)
    _, near, _ = decided(world, f"near-{policy}-{errors}", asked(policy=policy))
    monkeypatch.setattr(few_to_all, "FIRST", 10_000)
    _, whole, _ = decided(world, f"whole-{policy}-{errors}", asked(policy=policy))
    assert near.budgets == whole.budgets
    assert near.bound == pytest.approx(whole.bound, rel=1e-12)


def test_the_certificate_is_what_the_decisions_say(world: World) -> None:
    chunks, summary, _ = decided(world, "certificate", asked(policy="greedy"))
    exploit = np.concatenate([chunk.gains[:, chunk.stratum == EXPLOIT] for chunk in chunks], axis=1)
    value = float(np.nansum(exploit, dtype=np.float64))
    unused = sum((each.price or 0.0) * (each.amount - each.spent) for each in summary.budgets)
    assert summary.bound == pytest.approx(value + unused, rel=1e-9)
    assert summary.gap == pytest.approx(unused / (value + unused), rel=1e-6)


def test_no_message_goes_out_below_its_price(world: World) -> None:
    chunks, summary, run = decided(world, "below", asked(policy="thompson"))
    catalog, own = world.parts.catalog, np.float32(0.02)
    price = {each.channel: np.float32(each.price or 0.0) for each in summary.budgets}
    charge = np.array([np.float32(float(own) + float(price[c.channel])) for c in catalog.candidates])
    for chunk in chunks:
        sent = (chunk.sets >= 0) & (chunk.stratum == EXPLOIT)
        assert (chunk.gains[sent] > charge[chunk.sets[sent]]).all()
    assert run.record.theta == pytest.approx(0.02)


def test_of_messages_worth_exactly_their_price_members_keys_decide(world: World) -> None:
    chunks, summary, run = decided(world, "ties", asked(policy="heuristic"))
    keys = tie_keys(0, run.record.epoch, world.parts.snapshot.keys)
    n_tied = 0
    for budget in summary.budgets:
        mine = [c.index for c in world.parts.catalog.candidates if c.channel == budget.channel]
        for chunk in chunks:
            held = np.isin(chunk.sets, mine) & (chunk.stratum == EXPLOIT)
            at_price = held & (chunk.gains == np.float32(budget.price or 0.0))
            members = chunk.rows[np.nonzero(at_price)[1]]
            assert (keys[members] < np.uint64(budget.tie_cut)).all()
            n_tied += members.size
    assert n_tied > 100


@pytest.mark.usefixtures("by_range")
@pytest.mark.parametrize("policy", ["thompson", "heuristic"])
def test_the_prices_do_not_depend_on_the_order_or_the_chunks(
    world: World, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    _, whole, _ = decided(world, f"in-order-{policy}", asked(policy=policy))
    ids = world.parts.snapshot.ids(np.arange(3000)).to_numpy()
    shuffled = np.random.default_rng(2).permutation(ids)
    monkeypatch.setattr(sizes, "CHUNK", 700)
    with world.engine(f"shuffled-{policy}", threads=1) as (engine, _):
        run = engine.start_run(asked(tuple(reversed(TWO)), policy=policy), whole_snapshot=False)
        for some in np.array_split(shuffled, 7):
            assert run.add(some) == []
        list(run.finish())
    assert run.summary.budgets == whole.budgets
    assert run.summary.per_message == whole.per_message


def files(log: Logbook, run: Run) -> list[tuple[str, str]]:
    return [(info.file, info.xxh3_128) for info in log.segments(run.run_id)]


@pytest.mark.usefixtures("by_range")
@pytest.mark.parametrize(("n_chunks", "policy"), [(0, "thompson"), (1, "thompson"), (1, "heuristic")])
def test_a_run_that_goes_on_leaves_the_same_files(world: World, n_chunks: int, policy: str) -> None:
    whole, parts = f"whole-files-{policy}-{n_chunks}", f"broken-files-{policy}-{n_chunks}"
    request = asked(policy=policy)
    with world.engine(whole) as (engine, log):
        run = engine.start_run(request, whole_snapshot=True)
        list(run.finish())
        expected, summary = files(log, run), run.summary
    with world.engine(parts) as (engine, _):
        broken = engine.start_run(request, whole_snapshot=True)
        chunks = broken.finish()
        for _ in range(n_chunks):
            next(chunks)
        chunks.close()
        broken.close()
    with world.engine(parts) as (engine, log):
        again = engine.start_run(request, whole_snapshot=True)
        assert (again.record.theta is None) == (n_chunks == 0)
        list(again.finish())
        assert files(log, again) == expected
        assert repr(again.summary) == repr(summary)  # not a number equals itself there
        assert log.run(again.run_id).summary["gap"] == summary.gap
        # And once more, from the log alone.
        finished = engine.start_run(request, whole_snapshot=True)
        list(finished.finish())
        assert repr(finished.summary) == repr(summary)
        with pytest.raises(Conflict):
            engine.start_run(asked((Budget(channel="push", messages=401), TWO[1])), whole_snapshot=True)
    left = {path.name for path in (world.directory / parts).iterdir()}
    assert {name for name in left if not name.startswith("log.sqlite")} == {"lock", "segments"}


@pytest.mark.parametrize(
    "budgets",
    [
        (Budget(cost=700.0),),
        (Budget(channel="email", cost=700.0), Budget(channel="push", messages=300)),
        (Budget(channel="push", messages=300),),
        (Budget(channel="email", cost=0.5), Budget(channel="push", messages=0)),
    ],
)
@pytest.mark.usefixtures("by_range")
def test_costs_and_messages(costly: World, budgets: tuple[Budget, ...]) -> None:
    request = asked(budgets, request_id=repr(budgets), policy="greedy")
    chunks, summary, _ = decided(costly, "costs", request)
    cost = costly.parts.catalog.cost.astype(np.float64)
    sent = np.concatenate([chunk.sets[chunk.sets >= 0] for chunk in chunks])
    for given, found in zip(sorted(budgets, key=lambda each: each.channel), summary.budgets, strict=True):
        mine = [c.index for c in costly.parts.catalog.candidates if given.channel in ("", c.channel)]
        taken = sent[np.isin(sent, mine)]
        if given.messages is None:
            assert found.unit == "cost"
            assert found.spent == pytest.approx(float(cost[taken].sum()))
        else:
            assert found.unit == "messages"
            assert found.spent == taken.size
        assert found.spent <= found.amount
        assert found.amount < 1 or found.spent >= 0.9 * found.amount
    assert summary.per_channel["push"] > 0 or budgets[-1].messages == 0


def test_wide_budgets_change_nothing(world: World) -> None:
    wide = (Budget(channel="email", messages=10_000), Budget(channel="push", cost=1e6))
    _, budgeted, _ = decided(world, "wide", asked(wide))
    _, plain, _ = decided(world, "plain", asked(()))
    assert prices_of(budgeted) == [0.0, 0.0]
    assert budgeted.gap == 0.0
    assert replace(budgeted, budgets=(), bound=None, gap=None) == plain


def test_what_is_drawn_at_random_counts_first(world: World) -> None:
    chunks, summary, _ = decided(world, "drawn", asked())
    names = np.array([c.channel for c in world.parts.catalog.candidates])
    drawn = np.concatenate([chunk.sets[:, chunk.stratum != EXPLOIT].reshape(-1) for chunk in chunks])
    n_email = int((names[drawn[drawn >= 0]] == "email").sum())
    assert 0 < n_email < summary.per_channel["email"]
    # As much as is drawn leaves nothing to a price; less is refused.
    none_left = asked((Budget(channel="email", messages=n_email),), "none-left")
    _, just, _ = decided(world, "none-left", none_left)
    assert just.per_channel["email"] == n_email
    said = rf"email.*leave room for the {n_email} messages.*got {n_email - 1}"
    with world.engine("too-little") as (engine, _):
        request = asked((Budget(channel="email", messages=n_email - 1),), dry_run=True)
        chunks = engine.start_run(request, whole_snapshot=True).finish()
        with pytest.raises(InvalidInput, match=said):
            next(chunks)


def test_explain_knows_the_price_of_the_channel(world: World) -> None:
    budgets = (Budget(channel="email", messages=0), Budget(channel="push", messages=500))
    with world.engine("explained") as (engine, _):
        run = engine.start_run(asked(budgets, policy="greedy"), whole_snapshot=True)
        (chunk, *_) = run.finish()
        assert run.summary.per_channel["email"] == 0
        n_priced = 0
        for ordinal in range(40):
            explained = engine.explain(f"{run.run_id}-{ordinal}")
            assert explained.reproduced
            assert [b.price for b in explained.decision.record.budgets] == prices_of(run.summary)
            held_back = explained.runner_up
            if held_back is not None and held_back.channel == "email":
                email = prices_of(run.summary)[0] or 0.0
                assert explained.distance_to_price == pytest.approx((held_back.gain_after_set or 0.0) - email)
                assert explained.binding_cap in ("price", "member_cap")
                n_priced += explained.binding_cap == "price"
        assert n_priced > 5
        assert chunk.n_members == 1000


@pytest.mark.parametrize(
    ("budgets", "options", "said"),
    [
        (TWO, {"volume": 5}, "budgets must not be given together with volume, got 2"),
        (TWO, {"price": 0.1}, "budgets must not be given together with price, got 2"),
        ((Budget(channel="email"),), {}, r"budgets\[0\] must give either messages or cost, got neither"),
        ((Budget(channel="email", messages=1, cost=1.0),), {}, "messages or cost, got both"),
        ((Budget(channel="email", messages=-1),), {}, r"budgets\[0\].messages must be in .* got -1"),
        ((Budget(cost=float("nan")),), {}, r"budgets\[0\].cost must be finite and >= 0, got nan"),
        ((Budget(cost=-0.5),), {}, r"budgets\[0\].cost must be finite and >= 0, got -0.5"),
        ((Budget(messages=3),), {}, r"budgets\[0\].channel must name a channel: .* are a volume"),
        ((TWO[0], Budget(cost=3.0)), {}, r"budgets\[1\].channel must name a channel where there are other"),
        ((TWO[0], TWO[0]), {}, r"budgets\[1\].channel must be named once, got 'push' again"),
        (TWO, {"channels": ("email",)}, r"budgets\[0\].channel must be one of the run's channels"),
    ],
)
def test_bad_budgets(
    world: World, budgets: tuple[Budget, ...], options: dict[str, object], said: str
) -> None:
    with world.engine("bad") as (engine, _), pytest.raises(InvalidInput, match=said):
        engine.start_run(asked(budgets, **options), whole_snapshot=True)


def test_an_unknown_channel_is_named(world: World) -> None:
    with (
        world.engine("fax") as (engine, _),
        pytest.raises(UnknownName, match="must be one of email, push, got 'fax'"),
    ):
        engine.start_run(asked((Budget(channel="fax", messages=1),)), whole_snapshot=True)


def test_requests_and_runs_from_before_budgets_are_what_they_were(world: World) -> None:
    request = RunRequest(
        request_id="monday", decision_time_micros=1_790_000_000_000_000, volume=300, channels=("email",)
    )
    assert digest_of(request, whole_snapshot=True) == BEFORE
    _, _, run = decided(world, "before", asked((), "before"))
    body = msgspec.to_builtins(run.record)
    for name in ("budgets", "bound", "gap"):
        del body[name]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(body), type=RunRecord) == run.record
    assert "budgets" not in run.summary.as_dict()


def test_a_disk_that_refuses_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:

    class Full:
        def write(self, _: memoryview) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(held.tempfile, "TemporaryFile", lambda **_: Full())
    with world.engine("full") as (engine, _), pytest.raises(Unavailable, match="No space left"):
        list(engine.start_run(asked(), whole_snapshot=True).finish())
