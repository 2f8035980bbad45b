"""One epoch's decisions of one policy: the seven steps of production, on the same kernels.

``decider.decision.steps`` works on a snapshot on disk, whose features do not change from epoch to epoch, and has
no pair features for runs. Here the arrays are in memory; the order of the steps and what makes each number are
the same: gather and permit (``state``), describe, estimate, explore, price, assemble. Nothing is logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider.decision.policy import VALUED_AS
from decider.errors import InvalidInput
from decider.simulation import keys as streams
from decider.simulation.contenders import COUNT_SHARES, Contender
from decider.simulation.inclusion import Inclusion, counted_inclusion, expected_inclusion
from decider.simulation.learner import Posterior
from decider.simulation.spec import FEATURES
from decider.simulation.state import State
from decider.simulation.truth import true_effects, true_fatigue
from decider.simulation.world import Epoch
from decider_core import explore, values
from decider_core.admission import gain_rates
from decider_core.assemble import Caps, assemble
from decider_core.price import price_for_volume
from decider_core.random import DRAW, REPLAY, pair_uniforms, stream_key, tie_keys
from decider_core.score import fatigue, posterior_moments

CHUNK = 32_768
"""Members that one call of the kernels works on."""
REPLAYS = 15
"""Draws, beside the one that was made, that tell what a Thompson set was expected to hold."""
PRIORITY = {
    "continue_watching": 0.5,
    "new_season": 0.5,
    "new_arrival": 0.4,
    "top_picks": 0.3,
    "top_10": 0.2,
    "coming_soon": 0.1,
}
"""The heuristic's priorities by type, on the scale of one standard deviation of activity or affinity."""


class Question(NamedTuple):
    """What one policy decides from in an epoch."""

    epoch: Epoch
    state: State
    contender: Contender
    posterior: Posterior | None
    """None for kinds that learn nothing."""
    volume: float
    """Sends a member, at most."""
    seed: int
    """Of the policy's own draws."""

    @property
    def max_messages(self) -> int:
        """Places in a set."""
        return min(self.contender.max_messages, self.epoch.world.spec.max_messages)


class Choice(NamedTuple):
    """What one policy decided for all N members."""

    sets: NDArray[np.int16]
    """[M, N]"""
    drawn: NDArray[np.bool_]
    """[N] whether the set was drawn at random."""
    reason: NDArray[np.uint8]
    """[K, N]"""
    price: float
    """Reward per message; -inf for send-all."""
    inclusion: Inclusion | None
    """What the sets were expected to hold, of members whose set chance had a part in; None for who does not learn
    from it."""


class _Believed(NamedTuple):
    """The posterior of every candidate's effect, [K, n]."""

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]


class _Valued(NamedTuple):
    """A chunk after step 5."""

    rows: slice
    believed: _Believed | None
    """None for a policy that has no posterior."""
    reason: NDArray[np.uint8]
    value: NDArray[np.float32]
    tired: NDArray[np.float32]
    same_topic: float
    drawn: NDArray[np.bool_]
    sets: NDArray[np.int16]
    caps: Caps
    ties: NDArray[np.uint64]


def choose(question: Question, pool: ThreadPoolExecutor) -> Choice:
    """Decide for every member of the world.

    Raises
    ------
    InvalidInput
        When sets drawn at random alone exceed the volume.
    """
    n = question.epoch.world.spec.n_members
    rows = [slice(at, min(at + CHUNK, n)) for at in range(0, n, CHUNK)]
    chunks = list(pool.map(partial(_value, question), rows))
    theta, tie_cut = np.float32(-np.inf), np.uint64(0)
    if question.contender.kind != "send_all":
        theta, tie_cut = _price(question, chunks, pool)
    sets = list(pool.map(lambda chunk: _assemble(chunk, theta, tie_cut)[0], chunks))
    inclusion = None
    if question.contender.learns in ("effects", "effects_without_parents"):
        expected = list(pool.map(partial(_inclusion, question, theta, tie_cut), chunks, sets))
        inclusion = Inclusion(*(np.concatenate(part, axis=-1) for part in zip(*expected, strict=True)))
    return Choice(
        np.concatenate(sets, axis=1),
        np.concatenate([chunk.drawn for chunk in chunks]),
        np.concatenate([chunk.reason for chunk in chunks], axis=1),
        float(theta),
        inclusion,
    )


def _value(question: Question, rows: slice) -> _Valued:
    """Steps 1 to 5: who may get what, what it is worth to the policy, whose set is drawn."""
    epoch, state, contender = question.epoch, question.state, question.contender
    messages, member_keys = epoch.world.messages, epoch.world.members.keys[rows]
    reason = state.reasons(epoch, rows)
    value, believed, tired, same_topic = _worth(question, rows, member_keys)
    n, room = member_keys.size, question.max_messages
    caps = Caps(
        messages.channel, messages.topic, np.full(n, room, np.int16),
        np.full((int(messages.channel.max()) + 1, n), room, np.int16),
        np.full((len(messages.topics), n), room, np.int16), room,
    )  # fmt: skip
    share = contender.explore_share(epoch.number, question.volume, epoch.world.spec.n_members)
    drawn = explore.strata(question.seed, epoch.number, 0.0, share, member_keys) == explore.EXPLORE
    # Where a set may not hold so many, an aim beyond it ends there.
    aims = np.minimum(np.arange(len(COUNT_SHARES)), room)
    shares = np.bincount(aims, COUNT_SHARES, minlength=room + 1).astype(np.float64)
    sets, _ = explore.explore_sets(
        question.seed, epoch.number, shares, np.ones(messages.n), reason, caps,
        member_keys, messages.keys, where=drawn.view(np.uint8),
    )  # fmt: skip
    ties = tie_keys(question.seed, epoch.number, member_keys)
    return _Valued(rows, believed, reason, value, tired, same_topic, drawn, sets, caps, ties)


def _worth(
    question: Question, rows: slice, member_keys: NDArray[np.uint64]
) -> tuple[NDArray[np.float32], _Believed | None, NDArray[np.float32], float]:
    """Steps 3 and 4: the policy's value of every candidate, its posterior, phi and rho as it believes them."""
    epoch, kind, recent = question.epoch, question.contender.kind, question.state.recent
    messages, number = epoch.world.messages, epoch.number
    none = np.zeros(member_keys.size, np.float32)
    if kind in ("random", "send_all"):
        dice = pair_uniforms(stream_key(question.seed, streams.VALUE, number), member_keys, messages.keys)
        return dice.astype(np.float32), None, none, 0.0
    if kind == "heuristic":
        return _priorities(epoch, rows), None, none, 0.0
    if kind == "oracle":
        return (
            true_effects(epoch, recent, rows),
            None,
            true_fatigue(epoch, recent, rows),
            epoch.world.spec.same_topic,
        )
    assert question.posterior is not None
    z, u = epoch.features(recent, rows), np.ascontiguousarray(epoch.world.affinity[None, :, rows])
    mean, sd = posterior_moments(question.posterior.packed, z, u)
    value = values.policy_values(
        VALUED_AS[kind], mean, sd, question.contender.kappa,
        stream_key(question.seed, DRAW, number), member_keys, messages.keys,
    )  # fmt: skip
    tired = fatigue(z, question.posterior.fatigue)
    return value, _Believed(mean, sd), tired, question.posterior.same_topic


def _priorities(epoch: Epoch, rows: slice) -> NDArray[np.float32]:
    """Rules as they are written by hand: by type, to whom the title suits, to the active first."""
    by_type = np.array([PRIORITY[m.type] for m in epoch.world.messages.messages], np.float32)
    activity = epoch.z_fresh[rows, 1 + FEATURES.index("activity")]
    # The priorities are kept positive, since what has none is never sent.
    return np.float32(10.0) + by_type[:, None] + epoch.world.affinity[:, rows] + activity


def _price(
    question: Question, chunks: list[_Valued], pool: ThreadPoolExecutor
) -> tuple[np.float32, np.uint64]:
    """The price that meets the volume: what is drawn at random counts, and no price changes it."""
    budget = int(question.volume * question.epoch.world.spec.n_members)
    n_drawn = sum(int((chunk.sets >= 0).sum()) for chunk in chunks)
    if n_drawn > budget:
        rule = f"must leave room for the {n_drawn} sends that are drawn at random, in sends a member"
        raise InvalidInput.of("volume", rule, question.volume)
    rates = list(pool.map(_rates, chunks))
    price = price_for_volume(rates, [chunk.ties for chunk in chunks], budget - n_drawn)
    return price.theta, price.tie_cut


def _rates(chunk: _Valued) -> NDArray[np.float32]:
    sets, gains = _assemble(chunk, np.float32(0.0), np.uint64(0))
    rates = gain_rates(gains, sets, np.ones(len(chunk.value), np.float32))
    rates[:, chunk.drawn] = np.nan
    return rates


def _assemble(
    chunk: _Valued, theta: np.float32, tie_cut: np.uint64
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Step 6: the greedy set under the price, or the one that was drawn."""
    n_candidates = len(chunk.value)
    sets, gains = assemble(
        chunk.value, chunk.reason, chunk.tired, chunk.same_topic, np.ones(n_candidates, np.float32),
        np.full(n_candidates, theta, np.float32), tie_cut, chunk.ties, chunk.caps,
    )  # fmt: skip
    sets[:, chunk.drawn] = chunk.sets[:, chunk.drawn]
    return sets, gains


def _inclusion(
    question: Question, theta: np.float32, tie_cut: np.uint64, chunk: _Valued, sets: NDArray[np.int16]
) -> Inclusion:
    """What the sets were expected to hold: by its formula where drawn at random, by replays where by Thompson."""
    topic = question.epoch.world.messages.topic
    at_random = expected_inclusion(chunk.reason == 0, topic, COUNT_SHARES)
    if question.contender.kind != "thompson":
        return at_random
    by_draws = counted_inclusion(_replays(question, theta, tie_cut, chunk, sets), topic)
    drawn = chunk.drawn
    return Inclusion(
        np.where(drawn, at_random.each, by_draws.each),
        np.where(drawn, at_random.pairs, by_draws.pairs),
        np.where(drawn, at_random.same_topic, by_draws.same_topic),
    )


def _replays(
    question: Question, theta: np.float32, tie_cut: np.uint64, chunk: _Valued, sets: NDArray[np.int16]
) -> Iterator[NDArray[np.int16]]:
    """The sets that were sent, then those that other draws from the same posterior would have sent."""
    assert chunk.believed is not None
    yield sets
    epoch, candidate_keys = question.epoch, question.epoch.world.messages.keys
    member_keys = epoch.world.members.keys[chunk.rows]
    for number in range(REPLAYS):
        value = values.policy_values(
            values.THOMPSON, *chunk.believed, question.contender.kappa,
            stream_key(question.seed, REPLAY, epoch.number, number), member_keys, candidate_keys,
        )  # fmt: skip
        yield _assemble(chunk._replace(value=value), theta, tie_cut)[0]
