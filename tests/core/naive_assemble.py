"""Greedy assembly in plain Python, member by member, from its definition."""

import itertools
import math

import numpy as np

F = np.float32


def assemble(
    value,
    reason,
    fatigue,
    same_topic_penalty,
    cost,
    price,
    tie_cut,
    tie_keys,
    channel,
    topic,
    room_member,
    room_channel,
    room_topic,
    max_messages,
):
    n_candidates, n_members = value.shape
    sets = np.full((max_messages, n_members), -1, np.int16)
    gains = np.full((max_messages, n_members), np.nan, np.float32)
    for i in range(n_members):
        chosen = []
        while len(chosen) < max_messages:
            best = None
            for k in range(n_candidates):
                if not feasible(k, i, chosen, reason, channel, topic, room_member, room_channel, room_topic):
                    continue
                delta = gain(value[k, i], fatigue[i], same_topic_penalty, k, chosen, topic)
                tied = int(tie_keys[i]) | len(chosen)
                if not admitted(delta, cost[k], price[k], tied, tie_cut):
                    continue
                offer = (order_net(delta, cost[k], price[k]), delta, -k)
                if best is None or offer > best:
                    best = offer
            if best is None:
                break
            sets[len(chosen), i] = -best[2]
            gains[len(chosen), i] = best[1]
            chosen.append(-best[2])
    return sets, gains


def feasible(k, i, chosen, reason, channel, topic, room_member, room_channel, room_topic):
    return (
        reason[k, i] == 0
        and k not in chosen
        and len(chosen) < room_member[i]
        and sum(channel[c] == channel[k] for c in chosen) < room_channel[channel[k], i]
        and sum(topic[c] == topic[k] for c in chosen) < room_topic[topic[k], i]
    )


def gain(value, fatigue, same_topic_penalty, k, chosen, topic):
    n_topic = sum(topic[c] == topic[k] for c in chosen)
    return F(F(value - F(fatigue * F(len(chosen)))) - F(F(same_topic_penalty) * F(n_topic)))


def rate(delta, cost):
    if cost > 0:
        return F(delta / cost)
    return F(math.inf) if delta > 0 else F(-math.inf)


def admitted(delta, cost, price, tie_key, tie_cut):
    return bool(rate(delta, cost) > price or (rate(delta, cost) == price and tie_key < tie_cut))


def order_net(delta, cost, price):
    return delta if cost == 0 or price == -math.inf else F(delta - F(price * cost))


def gain_rates(gains, sets, cost):
    rates = np.full(gains.shape, np.nan, np.float32)
    for m, i in itertools.product(*map(range, gains.shape)):
        if sets[m, i] >= 0:
            rates[m, i] = rate(gains[m, i], cost[sets[m, i]])
    return rates


def best_subset(value, cost, price, max_messages):
    """The largest sum of value - price*cost over all subsets of at most `max_messages`, by trying each."""
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(len(value)), m) for m in range(max_messages + 1)
    )
    return max(math.fsum(float(value[k]) - float(price[k]) * float(cost[k]) for k in s) for s in subsets)
