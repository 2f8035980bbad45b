"""The true weights of every candidate's effect, in every epoch: a walk around type, message and channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decider.simulation import keys
from decider.simulation.messages import Messages
from decider.simulation.spec import CHANNELS, FEATURES, N_TASTES, TYPES, WorldSpec
from decider_core.random import hash_string, normals, stream_key

N_WEIGHTS = 2 + len(FEATURES)
"""Of tau: a constant, the features, the affinity."""
_ACTIVITY, _RECENT, _AFFINITY = 1, len(FEATURES), N_WEIGHTS - 1


def make_weights(spec: WorldSpec, messages: Messages) -> NDArray[np.float32]:
    """Draw f32[n_epochs, K, N_WEIGHTS], in the order constant, FEATURES, affinity.

    A candidate's weights depend on the seed and on its own id, message, channel and type only. All candidates
    tire alike of recent sends: of that feature's weight only the mean is there.
    """
    mean = np.zeros(N_WEIGHTS)
    mean[[0, _ACTIVITY, _RECENT, _AFFINITY]] = (
        spec.effect, spec.activity_effect, spec.recent_effect, spec.affinity_effect,
    )  # fmt: skip
    groups = (
        ([f"type:{TYPES[each]}" for each in messages.type], spec.effect_type_sd, spec.slope_type_sd, 0.0),
        (
            [f"message:{each.id}" for each in messages.messages],
            spec.effect_message_sd,
            spec.slope_message_sd,
            spec.affinity_effect_sd,
        ),
        (
            [f"{each.id}@{CHANNELS[c]}" for each, c in zip(messages.messages, messages.channel, strict=True)],
            spec.effect_channel_sd,
            spec.slope_channel_sd,
            0.0,
        ),
    )
    first = np.tile(mean, (messages.n, 1))
    for names, level, slope, affinity in groups:
        own = np.array([hash_string(name) for name in names], np.uint64)
        first += _draw(spec, keys.WEIGHT, 0, own) * _sd(level, slope, affinity)
    steps = np.zeros((spec.n_epochs, messages.n, N_WEIGHTS))
    for epoch in range(1, spec.n_epochs):
        drawn = _draw(spec, keys.DRIFT, epoch, messages.keys)
        steps[epoch] = drawn * _sd(spec.drift_sd, spec.drift_sd / 3.0, 0.0)
    return (first + np.cumsum(steps, axis=0)).astype(np.float32)


def make_titles(spec: WorldSpec, messages: Messages) -> NDArray[np.float32]:
    """Draw f32[K, N_TASTES]: where each candidate's title lies among the tastes, at distance 1."""
    topics = np.array([hash_string(topic) for topic in messages.topics], np.uint64)
    axes = np.arange(N_TASTES, dtype=np.uint64)
    drawn = normals(stream_key(spec.seed, keys.TITLE), axes, topics)
    return np.asarray((drawn / np.linalg.norm(drawn, axis=1, keepdims=True))[messages.topic], np.float32)


def _sd(level: float, slope: float, affinity: float) -> NDArray[np.float64]:
    sd = np.full(N_WEIGHTS, slope)
    sd[[0, _RECENT, _AFFINITY]] = level, 0.0, affinity
    return sd


def _draw(spec: WorldSpec, stream: int, epoch: int, names: NDArray[np.uint64]) -> NDArray[np.float64]:
    weight_keys = np.arange(N_WEIGHTS, dtype=np.uint64)
    return normals(stream_key(spec.seed, stream, epoch), weight_keys, names).astype(np.float64)
