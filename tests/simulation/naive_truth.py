"""What a message set causes, member by member and from the definition; imports nothing of ours."""

from __future__ import annotations

from itertools import combinations


def effect(weights: list[float], features: list[float], affinity: float) -> float:
    """tau = w'[z, u], the last weight being that of the affinity."""
    return sum(w * x for w, x in zip(weights, [*features, affinity], strict=True))


def incremental(chosen: list[int], tau: list[float], phi: float, rho: float, topic: list[int]) -> float:
    """sum tau - phi * pairs - rho * pairs of one topic"""
    pairs = list(combinations(chosen, 2))
    same = sum(topic[a] == topic[b] for a, b in pairs)
    return sum(tau[c] for c in chosen) - phi * len(pairs) - rho * same


def best(
    eligible: list[int], tau: list[float], phi: float, rho: float, topic: list[int], price: float, most: int
) -> float:
    """Largest incremental reward less price times messages over all sets."""
    groups = (group for size in range(most + 1) for group in combinations(eligible, size))
    return max(incremental(list(group), tau, phi, rho, topic) - price * len(group) for group in groups)
