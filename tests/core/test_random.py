"""Keyed random numbers: against their definition, against published vectors, and as random numbers.

Every statistical test has a fixed seed, so it always gives the same answer; the alpha beside it is the
chance with which a perfect generator would have failed it when it was first run.
"""

from __future__ import annotations

import naive_random as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from decider_core import random
from decider_core.compile import INTERPRETED, kernel
from decider_core.contracts import ContractError
from decider_core.inverse_normal import normal_of_bits

statistical = pytest.mark.skipif(INTERPRETED, reason="same numbers as compiled, a thousand times slower")

ALPHA = 1e-4
Z_ALPHA = stats.norm.isf(ALPHA / 2)
words = st.integers(-(2**63), 2**64 - 1)
key_lists = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5)


@kernel
def _normals_of(bits, numbers):
    for i in range(bits.size):
        numbers[i] = normal_of_bits(bits[i])


@kernel
def _states_of(stream, member_keys, candidate_keys, states):
    for i in range(states.size):
        states[i] = random.pair_state(random.member_state(stream, member_keys[i]), candidate_keys[i])


def keys(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


@given(words, words, words, words)
def test_stream_key_is_its_definition(seed, stream, epoch, index):
    ref = naive.stream_key(seed, stream, epoch, index)
    comp = random.stream_key(seed, stream, epoch, index)
    assert comp == ref
    assert comp.dtype == np.uint64


def test_stream_keys_are_those_of_each_index():
    comp = random.stream_keys(11, random.REPLAY, -4, 7)
    np.testing.assert_array_equal(comp, [random.stream_key(11, random.REPLAY, -4, i) for i in range(7)])
    with pytest.raises(ContractError, match="epoch must fit in 64 bits"):
        random.stream_keys(0, 1, 2**64, 3)


def test_stream_keys_of_neighbouring_words_differ():
    made = {
        int(random.stream_key(seed, stream, epoch, index))
        for seed in range(-3, 3)
        for stream in range(1, 11)
        for epoch in range(6)
        for index in range(6)
    }
    assert len(made) == 6 * 10 * 6 * 6


@pytest.mark.parametrize("name", ["seed", "stream", "epoch", "index"])
@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_stream_key_refuses_more_than_64_bits(name, value):
    words = {"seed": 1, "stream": 1, name: value}
    with pytest.raises(ContractError, match=f"{name} must fit in 64 bits, got {value}"):
        random.stream_key(**words)


def test_uniforms_are_splitmix64():
    # The published first outputs of splitmix64 with seed 1234567; a member's key is its place in the
    # sequence.
    outputs = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    comp = random.uniforms(np.uint64(1234567), keys(1, 2, 3, 4))
    np.testing.assert_array_equal(comp, [(h // 2**12 + 0.5) / 2**52 for h in outputs])


def test_hash_is_fnv1a_then_mixed():
    # Published FNV-1a hashes of 64 bits.
    for text, fnv in {"": 0xCBF29CE484222325, "a": 0xAF63DC4C8601EC8C, "foobar": 0x85944171F73967E8}.items():
        assert random.hash_string(text) == naive.mix(fnv)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_hash_strings_is_its_definition(texts):
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.cumsum([0, *map(len, encoded)])
    comp = random.hash_strings(data, offsets)
    assert comp.tolist() == [naive.hash_bytes(text) for text in encoded]
    assert comp.tolist() == [random.hash_string(text) for text in texts]


@pytest.mark.parametrize("offsets", [[], [0, 4], [-1, 2], [0, 2, 1]])
def test_hash_strings_refuses_offsets_outside_the_data(offsets):
    with pytest.raises(ContractError, match=r"offsets must rise within \[0, 3\]"):
        random.hash_strings(np.zeros(3, np.uint8), np.array(offsets, np.int64))


@given(words, key_lists, key_lists)
def test_numbers_are_their_definition(seed, members, candidates):
    stream = random.stream_key(seed, random.DRAW, 3)
    member_keys, candidate_keys = keys(*members), keys(*candidates)
    states = [[naive.pair_state(int(stream), m, c) for m in members] for c in candidates]

    ref = [naive.uniform(naive.member_state(int(stream), m)) for m in members]
    np.testing.assert_array_equal(random.uniforms(stream, member_keys), ref)
    ref = [[naive.uniform(state) for state in row] for row in states]
    np.testing.assert_array_equal(random.pair_uniforms(stream, member_keys, candidate_keys), ref)
    ref = [[naive.normal(state) for state in row] for row in states]
    comp = random.normals(stream, member_keys, candidate_keys)
    np.testing.assert_allclose(comp, ref, rtol=0, atol=1e-6)
    tie = naive.stream_key(seed, random.TIE, 5)
    ref = [naive.member_state(tie, m) // 16 * 16 for m in members]
    assert random.tie_keys(seed, 5, member_keys).tolist() == ref


def test_uniforms_are_inside_the_open_interval():
    for state, ref in ((0, 2.0**-53), (2**64 - 1, 1.0 - 2.0**-53)):
        assert random._uniform(np.uint64(state)) == ref


def test_normals_at_the_ends_and_across_octaves():
    # q = 0 and 1 at the ends, and the octaves of 2^-1, 2^-8 and 2^-29 between them.
    meeting = np.array([2**30, 2**23, 2**2])[:, None]
    near = np.arange(-3, 200)
    bits = np.concatenate([np.arange(200), 2**31 - 1 - np.arange(200), (meeting + near).ravel()]).astype(
        np.int32
    )
    comp = np.empty(bits.size, np.float32)
    _normals_of(bits, comp)
    ref = [naive.normal_of_bits(int(b)) for b in bits]
    np.testing.assert_allclose(comp, ref, rtol=0, atol=1e-6)
    assert comp.max() == pytest.approx(6.338, abs=1e-3)
    negative = np.empty(bits.size, np.float32)
    _normals_of(bits | np.int32(-(2**31)), negative)
    np.testing.assert_array_equal(negative, -comp)


@statistical
def test_normals_are_within_1e_6_of_the_inverse_normal_everywhere():
    bits = np.arange(0, 2**31, 2003).astype(np.int32)
    comp = np.empty(bits.size, np.float32)
    _normals_of(bits, comp)
    ref = stats.norm.isf((bits + 0.5) / 2**32)
    np.testing.assert_allclose(comp, ref, rtol=0, atol=1e-6)


@given(st.lists(st.integers(0, 199), min_size=1, max_size=70))
def test_a_member_has_the_same_bits_in_any_batch(members):
    stream = random.stream_key(1, random.DRAW)
    if INTERPRETED:
        members = members[:5]
    chosen = np.array(members)
    member_keys = np.arange(200, dtype=np.uint64)[chosen]
    candidates = keys(5, 9, 7)
    comp = random.normals(stream, member_keys, candidates)
    alone = [random.normals(stream, member_keys[i : i + 1], candidates)[:, 0] for i in range(chosen.size)]
    np.testing.assert_array_equal(comp, np.array(alone).T)
    np.testing.assert_array_equal(comp[1], random.normals(stream, member_keys, candidates[1:2])[0])


def test_replay_normals_are_the_normals_of_each_stream():
    streams = np.array([random.stream_key(7, random.REPLAY, 2, index) for index in range(9)])
    candidates = keys(1, 2, 3)
    ref = [random.normals(stream, keys(42), candidates)[:, 0] for stream in streams]
    comp = random.replay_normals(streams, np.uint64(42), candidates)
    np.testing.assert_array_equal(comp, np.array(ref).T)


def test_inputs_may_be_read_only_and_out_is_filled():
    members, candidates = keys(1, 2, 3), keys(4, 5)
    members.flags.writeable = candidates.flags.writeable = False
    out = np.empty((2, 3), np.float32)
    assert random.normals(np.uint64(9), members, candidates, out=out) is out
    np.testing.assert_array_equal(out, random.normals(np.uint64(9), members.copy(), candidates.copy()))


def test_wrong_dtypes_are_refused():
    with pytest.raises(ContractError, match="member_keys must have dtype uint64, got int64"):
        random.uniforms(np.uint64(1), np.arange(3))
    with pytest.raises(ContractError, match=r"out must have shape \(1, 3\), got \(3, 1\)"):
        random.normals(np.uint64(1), keys(1, 2, 3), keys(1), out=np.empty((3, 1), np.float32))


@statistical
def test_uniforms_are_uniform():
    u = random.uniforms(random.stream_key(1, random.STRATUM), np.arange(2_000_000, dtype=np.uint64))
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    counts = np.bincount((u * 4096).astype(int), minlength=4096)
    assert stats.chisquare(counts).pvalue > ALPHA
    # The low bits too: the fraction of u * 2^32.
    counts = np.bincount((u * 2.0**32 % 1.0 * 4096).astype(int), minlength=4096)
    assert stats.chisquare(counts).pvalue > ALPHA


@statistical
def test_normals_are_normal():
    member_keys = np.arange(100_000, dtype=np.uint64)
    z = random.normals(random.stream_key(2, random.DRAW), member_keys, np.arange(20, dtype=np.uint64))
    z = z.astype(float).ravel()
    assert stats.kstest(z, "norm").pvalue > ALPHA
    # Moments of order 1 to 4 of n normals; E z^2k = (2k - 1)!!.
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - expected) < Z_ALPHA * np.sqrt(variance / z.size)


# Two places (stream words seed, stream, epoch, index; member; candidate) that differ by little.
HERE = (3, random.DRAW, 4, 0, 0, 0)
NEIGHBOURS = {
    "member": (HERE, (3, random.DRAW, 4, 0, 1, 0)),
    "member by 2^32": (HERE, (3, random.DRAW, 4, 0, 2**32, 0)),
    "candidate": (HERE, (3, random.DRAW, 4, 0, 0, 1)),
    "member and candidate crossed": ((3, random.DRAW, 4, 0, 0, 1), (3, random.DRAW, 4, 0, 1, 0)),
    "epoch": (HERE, (3, random.DRAW, 5, 0, 0, 0)),
    "seed": (HERE, (4, random.DRAW, 4, 0, 0, 0)),
    "stream": (HERE, (3, random.REPLAY, 4, 0, 0, 0)),
    "index": (HERE, (3, random.DRAW, 4, 1, 0, 0)),
    "stream and epoch crossed": ((3, random.DRAW, 6, 0, 0, 0), (3, random.REPLAY, 5, 0, 0, 0)),
}


def uniforms_from(place: tuple[int, ...]) -> np.ndarray:
    *words, member, candidate = place
    members = np.arange(500_000, dtype=np.uint64) + np.uint64(member)
    return random.pair_uniforms(random.stream_key(*words), members, keys(candidate))[0]


@statistical
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbouring_keys_are_independent(name):
    a, b = map(uniforms_from, NEIGHBOURS[name])
    # Correlation of u, and of |u - 1/2| which sees dependence in spread.
    for f in (lambda u: u, lambda u: np.abs(u - 0.5)):
        assert abs(np.corrcoef(f(a), f(b))[0, 1]) < Z_ALPHA / np.sqrt(a.size)
    # Joint distribution over 32 x 32 cells.
    cells = np.bincount((a * 32).astype(int) * 32 + (b * 32).astype(int), minlength=1024)
    assert stats.chisquare(cells).pvalue > ALPHA


@statistical
def test_candidates_draw_independently_for_each_member():
    n, k = 200_000, 32
    z = random.normals(
        random.stream_key(5, random.DRAW), np.arange(n, dtype=np.uint64), np.arange(k).astype("u8")
    )
    correlation = np.corrcoef(z.astype(float))[np.triu_indices(k, 1)]
    # Bonferroni over the pairs, alpha in all.
    assert np.abs(correlation).max() < stats.norm.isf(ALPHA / 2 / correlation.size) / np.sqrt(n)


@statistical
@pytest.mark.parametrize("word", ["stream", "member", "candidate"])
def test_each_input_bit_flips_each_output_bit_half_the_time(word):
    n = 20_000
    numbers = np.arange(n, dtype=np.uint64)
    stream, zeros = random.stream_key(6, random.DRAW), np.zeros(n, np.uint64)

    def states(flip: int) -> np.ndarray:
        made = np.empty(n, np.uint64)
        flipped = numbers ^ np.uint64(flip)
        if word == "stream":
            for i in range(n):
                _states_of(flipped[i], zeros[:1], zeros[:1], made[i : i + 1])
        elif word == "member":
            _states_of(stream, flipped, zeros, made)
        else:
            _states_of(stream, zeros, flipped, made)
        return made

    input_bits = (0, 1, 31, 63) if word == "stream" else range(64)
    before = states(0)
    shares = []
    for bit in input_bits:
        changed = before ^ states(2**bit)
        shares += [((changed >> np.uint64(b)) & np.uint64(1)).mean() for b in range(64)]
    # Bonferroni over input and output bits, alpha in all.
    bound = stats.norm.isf(ALPHA / 2 / len(shares)) * 0.5 / np.sqrt(n)
    assert np.abs(np.array(shares) - 0.5).max() < bound
