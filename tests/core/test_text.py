from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decider_core import text
from decider_core.contracts import ContractError
from decider_core.text import Texts, numbered_texts, take_texts, texts_of


def listed(texts: Texts) -> list[str]:
    data, ends = texts.data.tobytes(), texts.offsets.tolist()
    assert ends[0] == 0
    assert ends[-1] == len(data)
    return [data[begin:end].decode() for begin, end in pairwise(ends)]


@pytest.mark.parametrize("prefix", ["", "run-", "\N{SNOWMAN}-", "x" * 40])
@pytest.mark.parametrize(
    ("first", "n_rows"),
    [
        (0, 0), (0, 1), (0, 10), (0, 11), (9, 1), (9, 2), (7, 2_000), (99_998, 5), (10**18 - 2, 4),
        (2**63 - 3, 3),
    ],
)  # fmt: skip
def test_numbers_behind_a_prefix(prefix, first, n_rows):
    assert listed(numbered_texts(prefix, first, n_rows)) == [f"{prefix}{first + i}" for i in range(n_rows)]


@pytest.mark.parametrize(("first", "n_rows"), [(-1, 1), (2**63 - 1, 2), (2**63, 1), (0, -1)])
def test_refuses_numbers_that_no_row_can_have(first, n_rows):
    with pytest.raises(ContractError, match="numbers must be in"):
        numbered_texts("", first, n_rows)


@given(st.lists(st.text(max_size=50), min_size=1, max_size=6), st.data())
def test_texts_by_their_codes(values, data):
    codes = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=30))
    taken = take_texts(texts_of(values), np.array(codes, np.int16))
    assert listed(taken) == [values[code] for code in codes]


@pytest.mark.parametrize("n_bytes", [0, 1, 15, 16, 17, 31, 32, 33, 100])
def test_texts_of_any_length(n_bytes):
    values = ["", "a" * n_bytes, "b"]
    codes = np.array([1, 2, 1, 0, 1], np.int16)
    assert listed(take_texts(texts_of(values), codes)) == [values[code] for code in codes]


@pytest.mark.parametrize("code", [-1, 2])
def test_refuses_codes_outside(code):
    with pytest.raises(ContractError, match=r"codes must be in \[0, 1\]"):
        take_texts(texts_of(["a", "b"]), np.array([0, code], np.int16))


def test_refuses_texts_that_an_offset_cannot_reach(monkeypatch):
    monkeypatch.setattr(text, "MAX_BYTES", 9)
    assert listed(numbered_texts("a", 0, 4)) == ["a0", "a1", "a2", "a3"]
    for make in (
        lambda: numbered_texts("a", 0, 5),
        lambda: texts_of(["12345", "67890"]),
        lambda: take_texts(texts_of(["12345"]), np.zeros(2, np.int16)),
    ):
        with pytest.raises(ContractError, match="texts must have at most 9 bytes together, got 10"):
            make()
