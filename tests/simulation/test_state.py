from __future__ import annotations

import numpy as np
import pytest

from decider.simulation.spec import CHANNELS
from decider.simulation.state import State
from decider_core.reasons import CONSENT, ELIGIBLE, NOT_LIVE, SUPPRESSED
from tests.simulation.small_worlds import small_world, some_sets


def one_message(world_members: int, candidate: int) -> np.ndarray:  # type: ignore[type-arg]
    sets = np.full((3, world_members), -1, np.int16)
    sets[0] = candidate
    return sets


def test_every_exclusion_has_its_reason() -> None:
    world = small_world(400)
    state, epoch = State.fresh(world), world.epoch(0)
    reason = state.reasons(epoch, slice(None))
    for k, message in enumerate(world.messages.messages):
        says_yes = (state.consent >> np.uint32(world.messages.channel[k])) & 1
        if message.appears > 0:
            assert (reason[k] == NOT_LIVE).all()
        else:
            assert np.array_equal(reason[k], np.where(says_yes, ELIGIBLE, CONSENT))


def test_a_topic_rests_on_all_channels() -> None:
    world = small_world(100, suppress_epochs=2, opt_out=(0.0,) * 4, consent=(1.0,) * 4)
    state = State.fresh(world)
    north = [k for k, message in enumerate(world.messages.messages) if message.topic == "north"]
    state.after(world.epoch(0), one_message(100, north[0]))
    for number, rests in ((1, True), (2, False)):
        reason = state.reasons(world.epoch(number), slice(None))
        assert (reason[north] == (SUPPRESSED if rests else ELIGIBLE)).all()
        assert (np.delete(reason, north, axis=0) != SUPPRESSED).all()


def test_recent_sends_count_on_any_channel_and_fade() -> None:
    world = small_world(50, recent_keep=0.5)
    state, sets = State.fresh(world), some_sets(world)
    state.after(world.epoch(0), sets)
    assert np.array_equal(state.recent, 0.5 * (sets >= 0).sum(axis=0))
    state.after(world.epoch(1), np.full_like(sets, -1))
    assert np.array_equal(state.recent, 0.25 * (sets >= 0).sum(axis=0))


def test_an_opt_out_ends_the_channel_and_a_complaint_all_of_them() -> None:
    for share, left in ((0.0, 0b1110), (1.0, 0)):
        world = small_world(20, opt_out=(1.0,) * 4, complaint_share=share, consent=(1.0,) * 4)
        state = State.fresh(world)
        email = int(np.flatnonzero(world.messages.channel == CHANNELS.index("email"))[0])
        departures = state.after(world.epoch(0), one_message(20, email))
        assert departures == (20, 20 * int(share))
        assert (state.consent == left).all()
        reason = state.reasons(world.epoch(0 + world.spec.suppress_epochs), slice(None))
        assert (reason[world.messages.channel == CHANNELS.index("email")] != ELIGIBLE).all()


def test_who_is_sent_more_leaves_more_often() -> None:
    # 40,000 sends at hazards 0.01 and 0.04: apart by more than twenty standard errors.
    world = small_world(40_000, opt_out=(0.01,) * 4, opt_out_recent=1.0)
    rested, tired = State.fresh(world), State.fresh(world)
    tired.recent[:] = 9.0
    sets = one_message(40_000, 0)
    few, many = rested.after(world.epoch(0), sets), tired.after(world.epoch(0), sets)
    assert few.n_opt_outs == pytest.approx(40_000 * 0.01 * (1 + 1 / 3), rel=0.3)
    assert many.n_opt_outs == pytest.approx(40_000 * 0.01 * (1 + 10 / 3), rel=0.2)


def test_what_happens_to_a_member_does_not_depend_on_the_others() -> None:
    small, large = small_world(60), small_world(300)
    states = State.fresh(small), State.fresh(large)
    for number in range(4):
        sets = some_sets(large, number)
        states[0].after(small.epoch(number), sets[:, :60])
        states[1].after(large.epoch(number), sets)
    assert np.array_equal(states[0].consent, states[1].consent[:60])
    assert np.array_equal(states[0].recent, states[1].recent[:60])
    assert np.array_equal(states[0].last_sent, states[1].last_sent[:, :60])
