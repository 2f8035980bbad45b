import naive_history as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core import reasons
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.permit import permit


def instance(seed, n_members=20, n_candidates=70, n_channels=3, n_rows=50):
    g = np.random.default_rng(seed)
    n_words = (n_candidates + 63) // 64
    return {
        "rows": g.integers(0, n_rows, n_members),
        "audience": g.integers(0, 1 << 64, (n_words, n_rows), np.uint64)
        | g.integers(0, 1 << 64, (n_words, n_rows), np.uint64),
        "consent": g.integers(0, 1 << 32, n_rows).astype(np.uint32) | np.uint32(1),
        "live": (g.random(n_candidates) < 0.2).astype(np.uint8) * np.uint8(reasons.NOT_LIVE),
        "channel": g.integers(0, n_channels, n_candidates).astype(np.int32),
        "channel_allowed": np.array([1, g.integers(2), 1][:n_channels], np.uint8),
        "quiet": (g.random((n_channels, n_members)) < 0.2).astype(np.uint8),
    }


@settings(deadline=None, max_examples=10 if INTERPRETED else 100)
@given(st.integers(0, 2**32), st.sampled_from([1, 63, 64, 65, 130]))
def test_equals_twin(seed, n_candidates):
    case = instance(seed, n_candidates=n_candidates)
    np.testing.assert_array_equal(permit(**case), naive.permit(**case))


@pytest.mark.parametrize("ordered", [True, False])
def test_many_members_equal_twin(ordered):
    """More than are looked at together, in rows that follow each other or not."""
    n = 40 if INTERPRETED else 2_100
    case = instance(2, n_members=n, n_rows=n + 5, n_candidates=10)
    if ordered:
        case["rows"] = np.arange(3, 3 + n)
    np.testing.assert_array_equal(permit(**case), naive.permit(**case))


def test_every_reason_occurs_and_the_first_one_wins():
    case = instance(1, n_candidates=1, n_members=1, n_rows=1, n_channels=1)
    case["audience"][:] = 0
    case["consent"][:] = 0
    case["quiet"][:] = 1
    case["live"][:] = reasons.NOT_LIVE
    case["channel_allowed"][:] = 0
    seen = []
    for name, value in [("live", 0), ("channel_allowed", 1), ("audience", 1), ("consent", 1), ("quiet", 0)]:
        seen.append(int(permit(**case)[0, 0]))
        case[name][:] = value
    assert seen == [
        reasons.NOT_LIVE,
        reasons.CHANNEL_FILTER,
        reasons.AUDIENCE,
        reasons.CONSENT,
        reasons.QUIET_HOURS,
    ]
    assert permit(**case)[0, 0] == reasons.ELIGIBLE


@pytest.mark.parametrize("chunk", [1, 7])
def test_same_in_any_batch(chunk):
    case = instance(2)
    whole = permit(**case)
    for first in range(0, 20, chunk):
        part = slice(first, first + chunk)
        some = permit(**case | {"rows": case["rows"][part], "quiet": case["quiet"][:, part]})
        np.testing.assert_array_equal(some, whole[:, part])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rows": np.array([0, 50] * 10)}, r"rows must be in \[0, 49\], got 50 at \[1\]"),
        ({"rows": np.array([0, -1] * 10)}, r"rows must be in \[0, 49\], got -1 at \[1\]"),
        ({"audience": np.zeros((1, 50), np.uint64)}, r"audience must have shape \(2, 50\)"),
        ({"channel": np.full(70, 3, np.int32)}, r"channel must be in \[0, 2\], got 3"),
        ({"quiet": np.zeros((3, 5), np.uint8)}, "quiet must have shape"),
        ({"channel_allowed": np.ones(33, np.uint8)}, "channel_allowed must have at most 32 channels, got 33"),
    ],
)
def test_refuses(change, text):
    with pytest.raises(ContractError, match=text):
        permit(**instance(0) | change)
