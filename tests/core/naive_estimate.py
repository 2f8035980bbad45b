"""Off-policy sums from their definitions, in plain Python: one row, one resample, one sum at a time."""

import math

MASK_32, MASK_64 = (1 << 32) - 1, (1 << 64) - 1
BOOTSTRAP_STREAM = 10


def mix(state):
    """Splitmix64's finaliser."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK_64
    return state ^ (state >> 31)


def poisson_count(seed, resample, member_key):
    """The count of a member in a resample: a Poisson(1) variate by inversion of a keyed 32-bit number."""
    step = 0x9E3779B97F4A7C15
    stream = mix((seed + step) & MASK_64)
    for word in (BOOTSTRAP_STREAM, 0, 0):
        stream = mix((stream + word * step) & MASK_64)
    state = mix((stream + member_key * step) & MASK_64)
    x = ((resample * 0x9E3779B9) ^ state) & MASK_32
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK_32
    x = ((x ^ (x >> 15)) + (state >> 32)) & MASK_32
    x = (x * 0x846CA68B) & MASK_32
    x ^= x >> 16
    count, reached = 0, 0.0
    for k in range(8):
        reached += math.exp(-1) / math.factorial(k)
        count += x >= round(reached * 2**32)
    return count


def off_policy(reward, propensity, target, dm, q_logged, member_keys, n_resamples, seed):
    """Totals, resampled totals, sum of squared weights, largest weight."""
    rows = []
    for r, p, pi, value, q in zip(reward, propensity, target, dm, q_logged, strict=True):
        w = pi / p
        rows.append((1.0, w, w * r, value + w * (r - q)))
    totals = [sum(row[j] for row in rows) for j in range(4)]
    resampled = [[0.0] * n_resamples for _ in range(4)]
    for b in range(n_resamples):
        counts = [poisson_count(seed, b, int(key)) for key in member_keys]
        for j in range(4):
            resampled[j][b] = sum(count * row[j] for count, row in zip(counts, rows, strict=True))
    return totals, resampled, sum(row[1] ** 2 for row in rows), max(row[1] for row in rows)
