import numpy as np
import pytest

from decider.evaluation.ranks import Ranked, find_cuts, first_volumes


def naive_first_volumes(values, ties, volumes):
    """The place of the first volume that holds each row, by sorting the rows themselves."""
    order = sorted(range(len(values)), key=lambda row: (-values[row], ties[row], row))
    rank = {row: place for place, row in enumerate(order)}
    return [
        next((k for k, v in enumerate(volumes) if rank[row] < v), len(volumes)) for row in range(len(values))
    ]


@pytest.mark.parametrize("cuts", [[], [7], [1, 2, 150, 299]])
@pytest.mark.parametrize("n_values", [1, 3, 40, 10**6])
def test_rows_are_in_the_volumes_that_sorting_puts_them_in(n_values, cuts):
    # Few values and few ties: whole runs of rows are told apart by their number alone.
    g = np.random.default_rng(n_values)
    values, ties = g.integers(0, n_values, 300) / 7.0, g.integers(0, 5, 300) / 5.0
    volumes = [0, 1, 2, 77, 150, 299, 300]
    parts = [Ranked(values[rows], ties[rows]) for rows in np.split(np.arange(300), cuts)]
    found = find_cuts(lambda: parts, volumes)
    starts = np.cumsum([0, *(len(part.values) for part in parts)])
    comp = np.concatenate(
        [first_volumes(found, part, int(start)) for part, start in zip(parts, starts[:-1], strict=True)]
    )
    assert comp.tolist() == naive_first_volumes(values.tolist(), ties.tolist(), volumes)
    falling = np.sort(values)[::-1]
    assert [cut.last for cut in found] == [None, *(falling[volume - 1] for volume in volumes[1:])]


def test_values_beyond_single_precision_keep_their_order():
    values = 1.0 + np.arange(4) * 1e-12
    found = find_cuts(lambda: [Ranked(values, np.zeros(4))], [2])
    assert first_volumes(found, Ranked(values, np.zeros(4)), 0).tolist() == [1, 1, 0, 0]
