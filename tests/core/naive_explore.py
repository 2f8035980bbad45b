"""Strata, policy values and random sets in plain Python, from their definitions."""

import itertools
import math

import numpy as np


def policy_values(kind, mean, sd, kappa, z):
    """Kinds 0 to 3: Thompson, UCB, greedy, cautious; `z` holds the normal draws."""
    if kind == 0:
        # Rounded once: the product of two float32 is exact in float64.
        return (mean + z.astype(np.float64) * sd).astype(np.float32)
    factor = {1: np.float32(kappa), 2: np.float32(0), 3: -np.float32(kappa)}[kind]
    return mean + factor * sd


def feasible(chosen, i, reason, channel, topic, room_member, room_channel, room_topic):
    """The candidates that may follow `chosen`."""
    if len(chosen) >= room_member[i]:
        return []
    return [
        k
        for k in range(len(reason))
        if reason[k, i] == 0
        and k not in chosen
        and sum(channel[c] == channel[k] for c in chosen) < room_channel[channel[k], i]
        and sum(topic[c] == topic[k] for c in chosen) < room_topic[topic[k], i]
    ]


def propensities(
    i, count_shares, weight, reason, channel, topic, room_member, room_channel, room_topic, max_messages
):
    """The probability of every set, by walking through every sequence of picks for every number aimed at."""
    found = {}

    def walk(chosen, probability, left):
        fits = feasible(chosen, i, reason, channel, topic, room_member, room_channel, room_topic)
        if left == 0 or not fits:
            key = frozenset(chosen)
            found[key] = found.get(key, 0.0) + probability
            return
        total = sum(weight[k] for k in fits)
        for k in fits:
            walk((*chosen, k), probability * weight[k] / total, left - 1)

    for m in range(max_messages + 1):
        walk((), float(count_shares[m]), m)
    return found


def all_sets(n_candidates, max_messages):
    for m in range(max_messages + 1):
        yield from itertools.combinations(range(n_candidates), m)


def draw(i, aim_uniform, pick_uniforms, count_shares, weight, reason, *caps):
    """One set: the number from one uniform, the picks in the order in which exponential clocks ring."""
    aim, below = 0, 0.0
    for m, share in enumerate(count_shares):
        if share > 0 and aim_uniform >= below:
            aim = m
        below += share
    clock = [-math.log(u) / w for u, w in zip(pick_uniforms, weight, strict=True)]
    chosen = []
    while len(chosen) < aim:
        fits = feasible(chosen, i, reason, *caps[:5])
        if not fits:
            break
        chosen.append(min(fits, key=lambda k: clock[k]))
    return chosen
