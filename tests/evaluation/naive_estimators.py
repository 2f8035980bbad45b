"""Estimators from their published definitions, in plain Python: one row at a time."""

import math


def weights(rows):
    return [pi / p for pi, p in zip(rows["target"], rows["propensity"], strict=True)]


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def replay(rows):
    kept = [r for r, pi in zip(rows["reward"], rows["target"], strict=True) if pi == 1.0]
    return mean(kept)


def ips(rows):
    return mean(w * r for w, r in zip(weights(rows), rows["reward"], strict=True))


def snips(rows):
    w = weights(rows)
    return math.fsum(a * r for a, r in zip(w, rows["reward"], strict=True)) / math.fsum(w)


def clipped_ips(rows, largest):
    return mean(min(w, largest) * r for w, r in zip(weights(rows), rows["reward"], strict=True))


def dm(rows):
    return mean(rows["dm"])


def _corrected(rows, new_weight):
    total = []
    for value, w, r, q in zip(rows["dm"], weights(rows), rows["reward"], rows["q_logged"], strict=True):
        total.append(value + new_weight(w) * (r - q))
    return mean(total)


def dr(rows):
    return _corrected(rows, lambda w: w)


def switch_dr(rows, largest):
    return _corrected(rows, lambda w: w if w <= largest else 0.0)


def dr_shrunk(rows, strength):
    return _corrected(rows, lambda w: strength * w / (w * w + strength))


def sndr(rows):
    w = weights(rows)
    errors = [a * (r - q) for a, r, q in zip(w, rows["reward"], rows["q_logged"], strict=True)]
    return mean(rows["dm"]) + math.fsum(errors) / math.fsum(w)


def mips(target, propensity, arm, reward, groups):
    """Every row's weight: the chances of all arms of the logged arm's group, under both policies."""
    total = []
    for pi, p, a, r in zip(target, propensity, arm, reward, strict=True):
        group = [k for k in range(len(pi)) if groups[k] == groups[a]]
        total.append(math.fsum(pi[k] for k in group) / math.fsum(p[k] for k in group) * r)
    return mean(total)


def pseudo_inverse(slot_target, slot_propensity, reward):
    total = []
    for pi, p, r in zip(slot_target, slot_propensity, reward, strict=True):
        total.append(r * (math.fsum(x / y for x, y in zip(pi, p, strict=True)) - len(pi) + 1))
    return mean(total)


def recap(scores, propensity, arm, reward, normalised):
    """Without ties; arms of chance 0 are no actions."""
    above = below = 0.0
    for s, p, a, r in zip(scores, propensity, arm, reward, strict=True):
        actions = [k for k in range(len(s)) if p[k] > 0]
        rank = 1 + sum(s[k] > s[a] for k in actions)
        w = 1 / rank / p[a]
        if normalised:
            w /= math.fsum(1 / k for k in range(1, len(actions) + 1))
        above += w * r
        below += w
    return above / below
