"""The price that meets a volume, by sorting everything."""

import math

import numpy as np


def price_for_volume(rates, tie_keys, budget, floor=0.0):
    """Returns theta, the set of (place, member) that goes out, and how many lie above theta."""
    entries = [
        (-float(rates[m, i]), int(tie_keys[i]) | m, (m, i))
        for m in range(rates.shape[0])
        for i in range(rates.shape[1])
        if not math.isnan(rates[m, i]) and rates[m, i] > floor
    ]
    entries.sort()
    theta = np.float32(-entries[budget][0]) if len(entries) > budget else np.float32(floor)
    return theta, {e[2] for e in entries[:budget]}, sum(-e[0] > theta for e in entries)


def goes_out(rates, tie_keys, theta, tie_cut):
    return {
        (m, i)
        for m in range(rates.shape[0])
        for i in range(rates.shape[1])
        if rates[m, i] > theta or (rates[m, i] == theta and (int(tie_keys[i]) | m) < tie_cut)
    }


def smallest_price(count_at, budget, candidates):
    """The smallest of some prices whose volume fits."""
    return min(p for p in candidates if count_at(p) <= budget)
