"""Off-policy sums from their definitions, in plain Python: one row, one resample, one sum at a time."""

import math

MASK_32, MASK_64 = (1 << 32) - 1, (1 << 64) - 1
BOOTSTRAP_STREAM = 10


def mix(state):
    """Splitmix64's finaliser."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK_64
    return state ^ (state >> 31)


def tails():
    """P(count > k) in units of 2^-16, rounded; the last takes all that is beyond it."""
    found = []
    for k in range(6):
        reached = sum(math.exp(-1) / math.factorial(i) for i in range(k + 1))
        found.append(round((1 - reached) * 65536))
    return [*found, 65536 - sum(found)]


def poisson_count(seed, resample, member_key):
    """The count of a member in a resample: a Poisson(1) variate by inversion of a keyed 16-bit number."""
    step = 0x9E3779B97F4A7C15
    stream = mix((seed + step) & MASK_64)
    for word in (BOOTSTRAP_STREAM, 0, 0):
        stream = mix((stream + word * step) & MASK_64)
    state = mix((stream + member_key * step) & MASK_64)
    first, second = state & MASK_32, state >> 32
    kept = ((second * resample + first) & MASK_32) >> 16
    return sum(kept >= 65536 - tail for tail in tails())


def resample_sums(columns, member_keys, n_resamples, seed):
    """Totals, counts and resampled totals of columns."""
    counts = [[poisson_count(seed, b, int(key)) for key in member_keys] for b in range(n_resamples)]
    totals = [math.fsum(column) for column in columns]
    resampled = [
        [math.fsum(c * v for c, v in zip(drawn, column, strict=True)) for drawn in counts]
        for column in columns
    ]
    return totals, [sum(drawn) for drawn in counts], resampled


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


def off_policy_actions(reward, propensity, arm, target, q_hat, member_keys, n_resamples, seed):
    """The same, from what the policy and the reward model say of every action."""
    chosen = [float(pi[a]) for pi, a in zip(target, arm, strict=True)]
    q_logged = [float(q[a]) for q, a in zip(q_hat, arm, strict=True)]
    dm = [
        math.fsum(float(x) * float(y) for x, y in zip(pi, q, strict=True))
        for pi, q in zip(target, q_hat, strict=True)
    ]
    return off_policy(reward, propensity, chosen, dm, q_logged, member_keys, n_resamples, seed)
