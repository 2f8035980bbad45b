from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from decider.errors import InvalidInput
from decider.simulation import choose as room
from decider.simulation.choose import Choice, Question, choose
from decider.simulation.contenders import CONTENDERS, Contender, contenders_named
from decider.simulation.past import live_past
from decider.simulation.run import make_learner
from decider.simulation.truth import true_effects
from decider.simulation.world import World
from tests.simulation.small_worlds import lived_in, small_world


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def question(world: World, contender: Contender, volume: float = 0.5) -> Question:
    learner, past = make_learner(contender, world), live_past(world)
    posterior = learner.prior() if learner else None
    if learner and contender.learns == "levels":
        posterior = [learner.fit(batch) for batch in past.batches][-1]
    return Question(world.epoch(0), past.state, contender, posterior, volume, 5)


def asked(world: World, name: str, pool: ThreadPoolExecutor, volume: float = 0.5) -> Choice:
    return choose(question(world, contenders_named([name])[0], volume), pool)


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: each.name)
def test_nobody_gets_what_is_not_allowed_and_the_volume_is_kept(
    contender: Contender, pool: ThreadPoolExecutor
) -> None:
    world = small_world(3_000)
    choice = choose(question(world, contender), pool)
    held = choice.sets >= 0
    place, member = np.nonzero(held)
    assert (choice.reason[choice.sets[place, member], member] == 0).all()
    for lane in range(100):
        chosen = choice.sets[held[:, lane], lane]
        assert np.unique(chosen).size == chosen.size <= contender.max_messages
    # Empty places come last.
    assert (held[:-1] >= held[1:]).all()
    if contender.name == "send_all":
        assert held.sum() > 2.5 * 3_000
    else:
        assert held.sum() <= 1_500
        # With a prior of mean zero no message is worth its price; everybody else uses the volume up.
        if contender.learns not in ("effects", "effects_without_parents") or contender.kind == "thompson":
            assert held.sum() == 1_500


@pytest.mark.parametrize("name", ["causal", "epsilon_greedy", "random", "oracle"])
def test_chunks_change_nothing(name: str, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world(1_000)
    whole = asked(world, name, pool)
    monkeypatch.setattr(room, "CHUNK", 77)
    pieces = asked(world, name, pool)
    assert np.array_equal(whole.sets, pieces.sets)
    assert whole.price == pieces.price
    if whole.inclusion is not None:
        assert pieces.inclusion is not None
        assert all(np.array_equal(a, b) for a, b in zip(whole.inclusion, pieces.inclusion, strict=True))


def test_what_thompson_sets_were_expected_to_hold_is_what_they_hold(pool: ThreadPoolExecutor) -> None:
    # Sends of each candidate against the sum of their chances, for draws and for sets at random: the difference
    # is a sum of independent terms of mean zero, so 5 standard errors and 40 sums give a false alarm of 2e-5.
    world = small_world(20_000)
    choice = asked(world, "causal", pool)
    assert choice.inclusion is not None
    each = choice.inclusion.each
    assert 0.05 < choice.drawn.mean() < 0.95
    for members in (np.flatnonzero(choice.drawn), np.flatnonzero(~choice.drawn)):
        for k in range(world.messages.n):
            p = each[k, members].astype(np.float64)
            held = (choice.sets[:, members] == k).any(axis=0)
            assert abs(held.sum() - p.sum()) <= 5.0 * np.sqrt((p * (1 - p)).sum()) + 1e-6
    assert (each[choice.reason != 0] == 0.0).all()


def test_the_oracle_takes_what_is_worth_most(pool: ThreadPoolExecutor) -> None:
    world = small_world(2_000)
    choice = asked(world, "oracle", pool)
    tau = true_effects(world.epoch(0), lived_in(world).recent)
    best = np.where(choice.reason == 0, tau, -np.inf).max(axis=0)
    messaged = choice.sets[0] >= 0
    # The certificate: who got something has a best message at the price or above, who got nothing has none.
    assert best[messaged].min() >= choice.price >= best[~messaged].max()


def test_the_causal_bandit_draws_less_and_less_and_never_nothing() -> None:
    causal = contenders_named(["causal"])[0]
    shares = [causal.explore_share(epoch, 0.5, 100_000) for epoch in range(40)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == causal.explore_last > 0.0
    # Sends drawn at random leave room under any volume: 1.15 a drawn set.
    for volume in (0.01, 0.1, 0.5):
        assert causal.explore_share(0, volume, 100_000) * 1.15 <= 0.9 * volume + 1e-12
        assert causal.explore_share(0, volume, 50) * 1.15 < 0.5 * volume


def test_a_volume_below_what_is_drawn_is_refused(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Contender, "explore_share", lambda *_: 1.0)
    with pytest.raises(InvalidInput, match="volume must leave room for the"):
        asked(small_world(200), "causal", pool)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInput, match="policy must be one of random, send_all"):
        contenders_named(["best"])
