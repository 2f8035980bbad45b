from __future__ import annotations

import numpy as np
import pytest

from decider_core.assemble import assemble
from decider_core.caps import Caps
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.gains import path_gains, path_moments, put_drawn


def naive_path_gains(sets, value, fatigue, penalty, topic):
    gains = np.full(sets.shape, np.nan)
    for r in range(sets.shape[1]):
        before: list[int] = []
        for place in range(sets.shape[0]):
            k = int(sets[place, r])
            if k < 0:
                break
            same = sum(topic[other] == topic[k] for other in before)
            gains[place, r] = float(value[k, r]) - float(fatigue[r]) * len(before) - penalty * same
            before.append(k)
    return gains


def test_path_gains_are_those_of_assembly_bit_for_bit() -> None:
    rng = np.random.default_rng(2)
    n_candidates, n_members = 6, 40
    value = rng.normal(0.3, 0.5, (n_candidates, n_members)).astype(np.float32)
    fatigue = rng.random(n_members).astype(np.float32) * np.float32(0.2)
    topic = np.array([0, 0, 1, 1, 2, 2], np.int32)
    caps = Caps(
        np.zeros(n_candidates, np.int32),
        topic,
        np.full(n_members, 4, np.int16),
        np.full((1, n_members), 4, np.int16),
        np.full((3, n_members), 4, np.int16),
        4,
    )
    sets, gains = assemble(
        value,
        np.zeros(value.shape, np.uint8),
        fatigue,
        0.07,
        np.ones(n_candidates, np.float32),
        np.zeros(n_candidates, np.float32),
        0,
        np.zeros(n_members, np.uint64),
        caps,
    )
    comp = path_gains(sets, value, fatigue, 0.07, topic)
    assert ((sets >= 0).sum(axis=0) > 1).any()
    assert comp.tobytes() == gains.tobytes()
    np.testing.assert_allclose(comp, naive_path_gains(sets, value, fatigue, 0.07, topic), rtol=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_path_moments_are_those_of_the_candidates_along_the_set(penalty: float) -> None:
    n = 30 if INTERPRETED else 2_500  # of more than two blocks
    rng = np.random.default_rng(3)
    mean, sd = (rng.random((5, n)).astype(np.float32) for _ in range(2))
    fatigue = rng.random(n).astype(np.float32)
    topic = np.array([0, 0, 1, 1, 2], np.int32)
    count = rng.integers(0, 4, n)
    order = np.argsort(rng.random((5, n)), axis=0)[:3]
    sets = np.where(np.arange(3)[:, None] < count, order, -1).astype(np.int16)
    path = path_moments(sets, mean, sd, fatigue, penalty, topic)
    held, places = sets >= 0, np.where(sets < 0, 0, sets)
    for comp, of in ((path.mean, mean), (path.sd, sd)):
        np.testing.assert_array_equal(comp, np.where(held, np.take_along_axis(of, places, 0), np.nan))
    gains = path_gains(sets, mean, fatigue, penalty, topic)
    assert path.gain is not None
    np.testing.assert_array_equal(path.gain, gains)
    np.testing.assert_array_equal(path.total, np.where(held, gains, 0).sum(axis=0, dtype=np.float32))
    less = path_moments(sets, mean, sd, fatigue, penalty, topic, with_gains=False)
    assert less.gain is None
    assert all(
        getattr(less, name).tobytes() == getattr(path, name).tobytes() for name in ("mean", "sd", "total")
    )


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_drawn_sets_take_the_place_of_assembled_ones_with_their_gains(penalty: float) -> None:
    n = 200
    rng = np.random.default_rng(4)
    value = rng.random((5, n)).astype(np.float32)
    fatigue = rng.random(n).astype(np.float32)
    topic = np.array([0, 0, 1, 1, 2], np.int32)

    def some_sets() -> np.ndarray:
        order = np.argsort(rng.random((5, n)), axis=0)[:3]
        return np.where(np.arange(3)[:, None] < rng.integers(0, 4, n), order, -1).astype(np.int16)

    assembled, drawn_sets = some_sets(), some_sets()
    drawn, held_out = ((rng.random(n) < share).astype(np.uint8) for share in (0.3, 0.2))
    sets, gains = assembled.copy(), path_gains(assembled, value, fatigue, penalty, topic)
    put_drawn(sets, gains, drawn, held_out, drawn_sets, value, fatigue, penalty, topic)
    wanted = np.where(held_out, np.int16(-1), np.where(drawn, drawn_sets, assembled))
    np.testing.assert_array_equal(sets, wanted)
    assert gains.tobytes() == path_gains(wanted, value, fatigue, penalty, topic).tobytes()


def test_path_gains_refuse_what_does_not_fit() -> None:
    value, fatigue = np.zeros((2, 3), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ContractError, match="sets"):
        path_gains(np.full((1, 3), 2, np.int16), value, fatigue, 0.0, np.zeros(2, np.int32))
    with pytest.raises(ContractError, match="fatigue"):
        path_gains(np.zeros((1, 3), np.int16), value, fatigue[:2], 0.0, np.zeros(2, np.int32))
    with pytest.raises(ContractError, match="same_topic_penalty"):
        path_gains(np.zeros((1, 3), np.int16), value, fatigue, -1.0, np.zeros(2, np.int32))
