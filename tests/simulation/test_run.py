from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from decider.errors import InvalidInput
from decider.simulation.arrivals import arrivals_frame, epochs_to_reach
from decider.simulation.contenders import Contender, contenders_named
from decider.simulation.learner import Batch, Learner, Posterior
from decider.simulation.metrics import summary_frame
from decider.simulation.run import Simulation, make_learner, simulate
from decider.simulation.spec import proportional_world
from decider.simulation.world import World, make_world
from tests.simulation.small_worlds import small_world

NAMES = ["random", "send_all", "heuristic", "correlational", "causal", "oracle"]


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(20_000, 14)


@pytest.fixture(scope="module")
def lived(world: World) -> Simulation:
    return simulate(world, contenders_named(NAMES), 0.5)


def test_what_the_simulation_is_there_to_show(lived: Simulation) -> None:
    # Half of the reference size and epochs: the margins are those of the documentation's table, halved.
    found = {row["policy"]: row for row in summary_frame(lived.epochs, 10).to_dicts()}
    incremental = {name: row["incremental_per_1000"] for name, row in found.items()}
    assert incremental["oracle"] > incremental["causal"] > 1.25 * incremental["correlational"]
    assert incremental["causal"] > 1.25 * incremental["heuristic"]
    assert incremental["send_all"] < incremental["random"]
    assert found["causal"]["opt_outs"] <= found["send_all"]["opt_outs"] / 2


def test_where_effects_go_with_the_base_rate_ranking_by_it_does_well() -> None:
    shown = simulate(make_world(proportional_world(20_000, 8, 1)), contenders_named(["correlational"]), 0.5)
    found = {row["policy"]: row["share_of_oracle"] for row in summary_frame(shown.epochs, 4).to_dicts()}
    assert found["correlational"] > 0.75


def test_all_but_send_all_have_the_same_volume(lived: Simulation) -> None:
    for row in lived.epochs.to_dicts():
        if row["policy"] not in ("send_all", "causal"):
            assert row["sends"] == 10_000
    # Where less is worth its price, less is sent: never more.
    assert lived.epochs.filter(policy="causal")["sends"].max() == 10_000


def test_sums_agree_with_each_other(lived: Simulation) -> None:
    told = {(row["policy"], row["epoch"]): row for row in lived.epochs.to_dicts()}
    by_message = (
        lived.messages.group_by("policy", "epoch").agg(pl.col("sends", "incremental").sum()).to_dicts()
    )
    for row in by_message:
        whole = told[row["policy"], row["epoch"]]
        assert row["sends"] == whole["sends"]
        if whole["bounded"] == 0:
            assert row["incremental"] == pytest.approx(whole["incremental"], abs=0.02)
    for row in told.values():
        assert row["regret"] == pytest.approx(
            told["oracle", row["epoch"]]["incremental"] - row["incremental"]
        )


def test_two_runs_agree_to_the_bit_and_policies_do_not_disturb_each_other() -> None:
    world = small_world(2_000, 5)
    first = simulate(world, contenders_named(["causal", "thompson"]), 0.5)
    second = simulate(world, contenders_named(["causal"]), 0.5)
    names = ["causal", "oracle"]
    assert first.epochs.filter(first.epochs["policy"].is_in(names)).equals(second.epochs)


class Spy:
    """A learner that looks at the calendar."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.epochs: list[int] = []

    def prior(self) -> Posterior:
        return self.learner.prior()

    def fit(self, batch: Batch) -> Posterior:
        self.epochs.append(batch.epoch)
        return self.learner.fit(batch)


def test_only_closed_windows_are_learned_from_and_each_once() -> None:
    world, spies = small_world(2_000, 6, past_epochs=2), dict[str, Spy]()
    closed: list[list[int]] = []

    def spied(contender: Contender, world: World) -> Learner | None:
        learner = make_learner(contender, world)
        if learner is None:
            return None
        spies[contender.name] = Spy(learner)
        return spies[contender.name]

    def look(done: int, total: int) -> None:
        assert total == 6
        closed.append([epoch for epoch in spies["causal"].epochs if epoch >= 0])

    simulate(world, contenders_named(["causal", "correlational"]), 0.5, look, spied)
    window = world.spec.window_epochs
    assert closed == [list(range(max(0, done - window))) for done in range(1, 7)]
    # What was sent before anybody drew at random is for the correlational engine alone.
    assert spies["correlational"].epochs == [-2, -1, *range(6 - window)]


def test_new_messages_are_followed(world: World, lived: Simulation) -> None:
    arrivals = arrivals_frame(lived.messages, world.messages, 14)
    assert set(arrivals["message"]) == {"arrival-delta", "soon-coast"}
    oracle = arrivals.filter(policy="oracle")
    assert np.allclose(oracle["share_of_oracle"].drop_nulls(), 1.0)
    assert arrivals["epochs_since"].min() == 2
    reached = epochs_to_reach(arrivals).filter(policy="oracle")
    assert reached["epochs_to_reach"].to_list() == [3, 3]


@pytest.mark.parametrize(
    ("names", "volume", "said"),
    [
        (["oracle"], 0.0, "volume must be in"),
        (["oracle"], 3.5, "volume must be in"),
        (["random"], 0.5, "policies must hold the oracle"),
    ],
)
def test_bad_input_is_refused(names: list[str], volume: float, said: str) -> None:
    chosen = [each for each in contenders_named(names) if each.name in names]
    with pytest.raises(InvalidInput, match=said):
        simulate(small_world(10), chosen, volume)
