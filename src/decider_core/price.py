"""The price that meets a volume: "at most B messages in this run", exactly.

A message goes out if its rate, gain per unit of cost, exceeds the price. With equal costs the order of
assembly does not depend on the price, so the rates of the whole paths (assembled at price -inf) hold the
volume at every price, and the price is one of them: the (B+1)-th largest. It is found by counting the bits
of the rates, high half first, then the low half among those that share the high half: two passes over chunks
in any order, on any number of machines whose counts are merged; where several messages have exactly that
rate, their tie keys decide, in the same way.

With unequal costs a higher price also changes the order, through ``delta - price*cost``, and rates of one
path no longer tell the volume at another price: then :func:`decider_core.price_search.price_by_search`
assembles again at the prices it tries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, I64, U64, as_i32, inline, kernel
from decider_core.contracts import ContractError, check_array, check_number

_DIGIT_BITS: Final = 16
_N_DIGITS: Final = 1 << _DIGIT_BITS
_FEW: Final = 1 << 20
"""Messages at one price that are put in order in memory; more are counted by their bits, in passes."""


class Price(NamedTuple):
    """What a message must bring per unit of cost, and which of those that bring exactly that go out."""

    theta: np.float32
    """Reward per unit of cost."""
    tie_cut: np.uint64
    """Of the messages at exactly theta, those whose ``tie_key | place`` is below go out; 0: none."""
    n_above: int
    """Messages whose rate exceeds theta."""
    n_tied_admitted: int
    """Messages at exactly theta that go out. The volume is ``n_above + n_tied_admitted``."""


def price_for_volume(
    rates: F32 | Sequence[F32], tie_keys: U64 | Sequence[U64], budget: int, floor: float = 0.0
) -> Price:
    """Return the smallest price at which at most `budget` messages go out.

    Parameters
    ----------
    rates : f32[max_messages, n_members], or a sequence of such chunks
        Gains per unit of cost along each member's path, from :func:`decider_core.admission.gain_rates`; NaN
        where the path has ended.
    tie_keys : u64[n_members], or a sequence of such chunks
        From :func:`decider_core.random.tie_keys`.
    budget
        Messages that may go out.
    floor
        The least price, rounded to float32: a message that brings this or less never goes out.

    Returns
    -------
    Price
        If more than `budget` rates exceed the floor: theta is the (budget+1)-th largest rate, and exactly
        `budget` messages go out. Else theta is the floor and all that exceed it go out.

    Raises
    ------
    ContractError
        If chunks do not match, the budget is negative, or the floor is NaN.

    Notes
    -----
    Exact and independent of the chunks and their order. Two passes; one more only if messages tie at theta and
    some of them go out, five if there are more than a million of those. Two messages with the same
    ``tie_key | place`` (which members of different keys have with probability 2^-60) at exactly theta go out
    together or not at all: then the volume may fall short, and never exceeds the budget.
    """
    chunks = _check_chunks(rates, tie_keys)

    def tied(theta: np.float32) -> Iterator[U64]:
        return (tied_keys(chunk, keys, theta) for chunk, keys in chunks)

    return price_in_passes(lambda: (chunk for chunk, _ in chunks), tied, budget, floor)


def tied_keys(rates: F32, tie_keys: U64, theta: np.float32) -> U64:
    """Return the keys, ``tie_key | place``, of the messages whose rate is exactly theta, u64[n_tied].

    Parameters
    ----------
    rates : f32[max_messages, n_members]
    tie_keys : u64[n_members]
    """
    place, member = np.nonzero(rates == theta)
    return np.asarray(tie_keys[member] | place.astype(np.uint64))


def price_in_passes(
    rates: Callable[[], Iterable[F32]],
    tied: Callable[[np.float32], Iterable[U64]],
    budget: int,
    floor: float = 0.0,
    high: RateHistogram | None = None,
) -> Price:
    """Return the price of :func:`price_for_volume` for more chunks than memory holds.

    Parameters
    ----------
    rates
        Goes through all rates once more, in chunks of any shape and order, whenever it is called.
    tied
        Goes through :func:`tied_keys` of all chunks at a price, whenever it is called: where messages tie there.
    budget, floor
        As there.
    high
        All rates, counted already above this floor: spares the first pass.
    """
    if budget < 0:
        raise ContractError(f"budget must be at least 0, got {budget}")
    if high is None:
        high = RateHistogram(floor)
        for chunk in rates():
            high.add(chunk)
    if high.n_counted <= budget:
        return Price(high.floor, np.uint64(0), high.n_counted, 0)
    low = high.refined(budget)
    for chunk in rates():
        low.add(chunk)
    theta, n_above = low.rate_at(budget)
    n_tied = budget - n_above
    if n_tied == 0:
        return Price(theta, np.uint64(0), n_above, 0)
    return Price(theta, _tie_cut(lambda: tied(theta), n_tied), n_above, n_tied)


class RateHistogram:
    """Counts of rates above a floor by sixteen of their bits, which add up across chunks and machines.

    Parameters
    ----------
    floor
        Rates at or below are not counted.
    high_half
        None counts all by their high half. Else only those with this high half are counted, by their low
        half; :meth:`refined` makes that one.
    n_better
        Rates with a higher high half.

    Attributes
    ----------
    counts : i64[65536]
        Bucket 0 holds the largest rates.

    Notes
    -----
    The bits of a float32, with the sign bit flipped for positive numbers and all bits for negative ones, are
    integers in the order of the numbers; here complemented, so that the largest comes first. -0 counts as 0.
    """

    def __init__(self, floor: float = 0.0, high_half: int | None = None, n_better: int = 0) -> None:
        self.floor = _check_floor(floor)
        self.high_half = high_half
        self.n_better = n_better
        # One more bucket for what is not counted.
        self._counts: I64 = np.zeros(_N_DIGITS + 1, np.int64)
        self.counts: I64 = self._counts[:-1]

    @property
    def n_counted(self) -> int:
        """Number of rates counted here."""
        return int(self.counts.sum())

    def add(self, rates: F32) -> None:
        """Count `rates`, f32 of any shape; NaN is no rate and is passed over."""
        rates = check_array("rates", rates, np.float32, np.shape(rates))
        if self.high_half is None:
            _count_high(rates.reshape(-1), self.floor, self._counts)
        else:
            _count_low(rates.reshape(-1), self.floor, self.high_half, self.counts)

    def merge(self, other: RateHistogram) -> None:
        """Add what `other` counted, with the same floor and high half."""
        mine, theirs = ((h.floor, h.high_half, h.n_better) for h in (self, other))
        if mine != theirs:
            raise ContractError(
                f"histograms must have the same floor, high half and n_better, got {mine} and {theirs}"
            )
        self.counts += other.counts

    def refined(self, budget: int) -> RateHistogram:
        """Return an empty histogram of where the (budget+1)-th largest rate lies, for another pass."""
        if self.high_half is not None:
            raise ContractError("a histogram must count high halves to be refined, got one of low halves")
        bucket, n_better = _locate(self.counts, budget)
        return RateHistogram(float(self.floor), bucket, n_better)

    def rate_at(self, budget: int) -> tuple[np.float32, int]:
        """Return the (budget+1)-th largest rate, and how many are larger; of a refined histogram only."""
        if self.high_half is None:
            raise ContractError("a histogram must be refined to tell a rate, got one of high halves")
        bucket, n_larger = _locate(self.counts, budget - self.n_better)
        bits = (self.high_half << _DIGIT_BITS | bucket) ^ 0xFFFFFFFF
        return _from_ordered(bits), self.n_better + n_larger


def _check_chunks(rates: F32 | Sequence[F32], tie_keys: U64 | Sequence[U64]) -> list[tuple[F32, U64]]:
    if isinstance(rates, np.ndarray) or isinstance(tie_keys, np.ndarray):
        rates, tie_keys = [rates], [tie_keys]  # type: ignore[list-item]
    if len(rates) != len(tie_keys):
        raise ContractError(
            f"rates and tie_keys must have the same number of chunks, got {len(rates)} and {len(tie_keys)}"
        )
    chunks = []
    for i, (chunk, keys) in enumerate(zip(rates, tie_keys, strict=True)):
        checked = check_array(f"rates[{i}]", chunk, np.float32, (None, None))
        chunks.append((checked, check_array(f"tie_keys[{i}]", keys, np.uint64, (checked.shape[1],))))
    return chunks


def _check_floor(floor: float) -> np.float32:
    # Adding 0 makes -0 of no account.
    return np.float32(check_number("floor", floor, finite=False)) + np.float32(0.0)


def _tie_cut(tied: Callable[[], Iterable[U64]], n_admitted: int) -> np.uint64:
    # The key of rank n_admitted: sixteen bits at a time, from the highest.
    few: list[U64] = []
    for keys in tied():
        few.append(keys)
        if sum(each.size for each in few) > _FEW:
            break
    else:
        return np.uint64(np.partition(np.concatenate(few), n_admitted)[n_admitted])
    prefix, rank = 0, n_admitted
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = np.zeros(_N_DIGITS, np.int64)
        for keys in tied():
            _count_digits(keys, np.uint64(prefix), np.uint64(shift), counts)
        digit, n_smaller = _locate(counts, rank)
        prefix, rank = prefix << _DIGIT_BITS | digit, rank - n_smaller
    return np.uint64(prefix)


def _locate(counts: I64, rank: int) -> tuple[int, int]:
    # The bucket that holds the entry of this rank (from 0), and how many entries lie in earlier buckets.
    past = np.cumsum(counts)
    if not 0 <= rank < past[-1]:
        raise ContractError(f"budget must be below the number of rates counted, {past[-1]}, got {rank}")
    bucket = int(np.searchsorted(past, rank, side="right"))
    return bucket, int(past[bucket] - counts[bucket])


def _to_ordered(number: np.float32) -> int:
    bits = int((number + np.float32(0.0)).view(np.uint32))
    return bits ^ (0xFFFFFFFF if bits >> 31 else 0x80000000)


def _from_ordered(ordered: int) -> np.float32:
    bits = ordered ^ (0x80000000 if ordered >> 31 else 0xFFFFFFFF)
    return np.uint32(bits).view(np.float32)


@inline
def _from_best(rate: np.float32) -> np.int32:
    # The complement of _to_ordered, in int32: as_i32 is negative for negative numbers.
    bits = as_i32(rate + np.float32(0.0))
    return bits if bits < 0 else bits ^ np.int32(0x7FFFFFFF)


@kernel
def _count_high(rates: F32, floor: np.float32, counts: I64) -> None:
    # What is not above the floor goes to the extra bucket: no branch that the processor would have to guess.
    for i in range(rates.size):
        bucket = (np.int64(_from_best(rates[i])) & 0xFFFFFFFF) >> _DIGIT_BITS
        counts[bucket if rates[i] > floor else _N_DIGITS] += 1


@kernel
def _count_low(rates: F32, floor: np.float32, high_half: int, counts: I64) -> None:
    for i in range(rates.size):
        order = np.int64(_from_best(rates[i])) & 0xFFFFFFFF
        if order >> _DIGIT_BITS == high_half and rates[i] > floor:
            counts[order & (_N_DIGITS - 1)] += 1


@kernel
def _count_digits(keys: U64, prefix: np.uint64, shift: np.uint64, counts: I64) -> None:
    # Counts the sixteen bits at `shift` of the keys whose higher bits are `prefix`.
    mask = np.uint64(_N_DIGITS - 1)
    for i in range(keys.size):
        digits = keys[i] >> shift
        if digits >> np.uint64(_DIGIT_BITS) == prefix:
            counts[np.int64(digits & mask)] += 1
