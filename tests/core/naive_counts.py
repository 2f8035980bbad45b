"""Counts of sets in plain Python, from their definitions."""

from itertools import combinations


def count_pairs(sets, topic):
    """Pairs of messages in each set, and those of one topic."""
    groups = [[int(k) for k in lane if k >= 0] for lane in sets.T]
    pairs = [list(combinations(group, 2)) for group in groups]
    same = [sum(topic[a] == topic[b] >= 0 for a, b in each) for each in pairs]
    return [len(each) for each in pairs], same


def count_sets(sets, stratum, n_candidates, n_strata):
    """Sets by candidate and by size; members and messages by stratum."""
    groups = [[int(k) for k in lane if k >= 0] for lane in sets.T]
    return (
        [sum(k in group for group in groups) for k in range(n_candidates)],
        [sum(len(group) == size for group in groups) for size in range(len(sets) + 1)],
        [sum(s == code for s in stratum.tolist()) for code in range(n_strata)],
        [
            sum(len(group) for group, s in zip(groups, stratum.tolist(), strict=True) if s == code)
            for code in range(n_strata)
        ],
    )
