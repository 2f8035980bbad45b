"""What is estimated of a model before it decides: against a world whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from decider.catalog import parse_catalog
from decider.evaluation import Estimate
from decider.loop.gates import against, refusal
from decider.loop.judge import better_by
from decider.loop.learn import Learner, halves
from decider.loop.outcomes import Drawn
from decider.loop.spec import Gates
from decider.models import RawMap, UpliftModel
from decider_core.caps import Caps
from decider_core.explore import explore_sets
from tests.loop.house import CATALOG

CATALOGUE = parse_catalog(CATALOG, "loop")
NAMES = tuple(candidate.id for candidate in CATALOGUE.candidates)
K, N = len(NAMES), 3_000
SHARES = np.array([0.2, 0.4, 0.4])
CHARGE = np.array([0.02, 0.05, 0.02, 0.05], np.float32)
# Effects of each candidate: on average, and by one deviation of activity.
TRUTH = np.array([[0.3, 0.2], [0.1, -0.1], [0.05, 0.0], [-0.2, 0.3]])
FATIGUE = 0.06
ACTIVITY = np.random.default_rng(8).normal(size=(N, 1)).astype(np.float32)
KEYS = np.random.default_rng(9).integers(0, 2**63, N).astype(np.uint64)
MAP = RawMap.fit(ACTIVITY, ("activity",))


@dataclass(frozen=True)
class Given:
    """Outcomes that are given, an epoch each."""

    epochs: Sequence[Sequence[Drawn]]

    @property
    def run_ids(self) -> tuple[str, ...]:
        return tuple(map(str, range(len(self.epochs))))

    def drawn(self, run_id: str) -> Iterator[Drawn]:
        return iter(self.epochs[int(run_id)])


def model(effects: np.ndarray) -> UpliftModel:
    mean = np.ascontiguousarray(effects, np.float64)
    fatigue = np.array([FATIGUE, 0.0])
    return UpliftModel("visits", MAP, NAMES, mean, np.zeros((K, 2, 2)), "visit", fatigue=fatigue)


def expected(groups: Sequence[Sequence[int]], effects: np.ndarray = TRUTH) -> np.ndarray:
    """E[Y | x, do(S)] by its definition, member by member."""
    z = MAP.apply(ACTIVITY).astype(np.float64)
    return np.array(
        [
            0.3 + 0.1 * z[i, 1] + sum(z[i] @ effects[c] for c in group) - FATIGUE * (len(group) == 2)
            for i, group in enumerate(groups)
        ]
    )


def greedy(effects: np.ndarray) -> list[list[int]]:
    """The sets that a model of such effects chooses, at most two messages."""
    z = MAP.apply(ACTIVITY).astype(np.float64)
    groups = []
    for each in z:
        tau, group = effects @ each, []
        while len(group) < 2:
            gain = tau - FATIGUE * len(group) - CHARGE
            best = max((c for c in range(K) if c not in group), key=lambda c: gain[c])
            if gain[best] <= 0:
                break
            group.append(best)
        groups.append(group)
    return groups


def epoch(seed: int, shares: np.ndarray = SHARES, part: slice = slice(None)) -> Drawn:
    """Sets drawn for everybody, or some, and rewards of 0.5 standard deviations around the truth."""
    n = KEYS[part].size
    room = np.full(n, 2, np.int16)
    topics = int(CATALOGUE.topic.max()) + 1
    caps = Caps(
        CATALOGUE.channel, CATALOGUE.topic, room, np.tile(room, (2, 1)), np.tile(room, (topics, 1)), 2
    )
    reason = np.zeros((K, n), np.uint8)
    sets, _ = explore_sets(seed, 0, shares, CATALOGUE.weight, reason, caps, KEYS[part], CATALOGUE.keys)
    noise = np.random.default_rng(seed).normal(size=N)[part] * 0.5
    groups = [[int(c) for c in lane if c >= 0] for lane in sets.T]
    everybody = [[]] * N
    everybody[part] = groups
    reward = expected(everybody)[part] + noise
    features = np.ascontiguousarray(ACTIVITY[part])
    return Drawn(sets, reward, reason, caps, features, KEYS[part], CATALOGUE, shares, seed, CHARGE)


def judged(seed: int, new: np.ndarray, old: np.ndarray, **more: object) -> Estimate:
    first = epoch(seed, **more)
    return better_by(Given([[first]]), (model(new), model(new)), model(old))


BAD = TRUTH[::-1]


def test_it_is_right_on_average_and_its_intervals_cover() -> None:
    # 40 logs: the mean error within 4.5 standard errors of it (false alarm 7e-6); at least 32 of 40 intervals hold the
    # truth (fewer by chance: 6e-5).
    best, worst = greedy(TRUTH), greedy(BAD)
    paid = [np.array([CHARGE[group].sum() for group in groups]) for groups in (best, worst)]
    truth = float((expected(best) - paid[0] - expected(worst) + paid[1]).mean())
    assert truth > 0.1
    found = [judged(seed, TRUTH, BAD) for seed in range(40)]
    errors = np.array([each.value - truth for each in found])
    assert abs(errors.mean()) < 4.5 * errors.std() / np.sqrt(40)
    assert sum(each.normal.low <= truth <= each.normal.high for each in found) >= 32
    # And the other way round, which is what keeps the old model.
    assert all(each.normal.high < 0 for each in (judged(seed, BAD, TRUTH) for seed in range(3)))


def test_halves_are_judged_by_the_model_that_has_not_seen_them() -> None:
    drawn = epoch(1)
    first, second = halves(drawn.keys)
    assert abs(first.mean() - 0.5) < 0.05
    apart = better_by(Given([[drawn]]), (model(TRUTH), model(BAD)), model(BAD))
    # Of the second half nothing can be gained: there the new model is the old one.
    swapped = better_by(Given([[drawn]]), (model(BAD), model(TRUTH)), model(BAD))
    whole = better_by(Given([[drawn]]), (model(TRUTH), model(TRUTH)), model(BAD))
    assert apart.value + swapped.value == pytest.approx(whole.value, abs=1e-12)
    assert second.sum() == N - first.sum()


def test_the_same_choices_are_worth_the_same() -> None:
    found = judged(2, 1.0000001 * TRUTH, TRUTH)
    assert (found.value, found.normal) == (0.0, (0.0, 0.0))


def test_where_too_little_is_known_there_is_a_reason() -> None:
    never_two = judged(3, TRUTH, BAD, shares=np.array([0.5, 0.5, 0.0]))
    assert never_two.refused.startswith("the new model's sets: no support: in ")
    assert "effective sample size" in judged(4, TRUTH, BAD, part=slice(0, 200)).refused
    other = UpliftModel("visits", MAP, NAMES, TRUTH, np.zeros((K, 2, 2)), "visit", outcome="level")
    assert "of another kind" in better_by(Given([[epoch(5)]]), (model(TRUTH),) * 2, other).refused
    assert "no set was drawn" in better_by(Given([[]]), (model(TRUTH),) * 2, model(BAD)).refused


def learner_of(*steps: Sequence[Sequence[Drawn]]) -> Learner:
    found = Learner(MAP, 0.5, "visit")
    for step in steps:
        found.add(Given(step))
    return found


def test_the_crossed_models_lack_the_latest_outcomes_of_a_half() -> None:
    before = [[epoch(1)], [epoch(2)]]
    latest = [[epoch(3, part=slice(0, 1_000)), epoch(3, part=slice(1_000, N))], [epoch(4)]]
    whole = learner_of(before, latest)
    in_one_step = learner_of([*before, *latest]).posterior()
    np.testing.assert_allclose(whole.posterior().mean, in_one_step.mean, rtol=1e-7, atol=1e-10)
    for half, found in enumerate(whole.crossed("visits")):
        others = [[of_half(drawn, 1 - half) for drawn in chunks] for chunks in latest]
        wanted = learner_of(before, others).posterior()
        np.testing.assert_allclose(found.mean[:K], wanted.mean, rtol=1e-7, atol=1e-10)


def of_half(drawn: Drawn, half: int) -> Drawn:
    mine = halves(drawn.keys)[half]
    caps = drawn.caps
    rooms = (caps.room_member[mine], caps.room_channel[:, mine], caps.room_topic[:, mine])
    return Drawn(
        np.ascontiguousarray(drawn.sets[:, mine]),
        drawn.reward[mine],
        np.ascontiguousarray(drawn.reason[:, mine]),
        Caps(caps.channel, caps.topic, *map(np.ascontiguousarray, rooms), caps.max_messages),
        drawn.features[mine],
        drawn.keys[mine],
        CATALOGUE,
        drawn.count_shares,
        drawn.seed,
        CHARGE,
    )


def test_a_model_whose_sets_are_worth_less_is_refused() -> None:
    outcomes = Given([[epoch(1)]])
    learner = learner_of(outcomes.epochs)
    posterior = learner.posterior()
    new = learner.model(posterior, "visits")
    better = against(model(BAD), new, learner, outcomes)
    assert better.normal.low > 0
    assert refusal(Gates(), N, posterior, better) == ""
    worse = judged(1, BAD, TRUTH)
    said = refusal(Gates(), N, posterior, worse)
    assert said.startswith("no_worse: the sets of the model that decides must not be worth more, got -0.")
    assert refusal(Gates(), N, posterior, Estimate.refuse("too few")) == ""
    assert refusal(Gates(rows=N + 1), N, posterior, worse).startswith("rows must be at least 3001")
    assert against(new, new, learner, outcomes).refused == "it is the model that decides"
    alone = learner_of([[epoch(1, part=slice(0, 8))]])
    assert against(model(BAD), new, alone, Given([[]])).refused.startswith(
        "of half of the members: rows must be"
    )
