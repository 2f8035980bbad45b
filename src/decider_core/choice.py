"""The best candidate of every lane, one pass over all candidates with the best so far held in registers.

A lane is a member, or a draw of one member. What limits a candidate arrives as losses: a lane's loss on a
channel is infinity where the channel has no room, else nothing; its loss on a topic is the penalty for the
messages of the topic so far, or infinity. An infinite loss bars: the gain is -inf, which is never more than the
best so far.

Four passes, :data:`best_level`, :data:`best_level_limited`, :data:`best` and :data:`best_limited`, differ in what
they look at. *Level*: all candidates cost the same at the same price, so the order is that of the gains, and the
best alone is looked at for admission. *Limited*: channels or topics have losses. All take the same arguments:

free : f32[n_candidates, LANES]
    Value where eligible and not taken, else -inf; at least one candidate.
fatigue : f32[LANES]
    What each message before it takes from a message.
room : i32[LANES]
    Places of the lane's set; set to 0 where nothing is admitted.
channel_loss : f32[n_rows, LANES], channel_row : i32[n_candidates]
    Losses, and the row of each candidate; read if limited.
topic_loss : f32[n_rows, LANES], topic_row : i32[n_candidates]
    Likewise.
charge : f32[n_candidates]
    What the order takes off; read if not level.
least : f32[2, n_candidates]
    The least gain that is admitted; in row 1 where the tie key is below the cut.
below_cut : i32[LANES]
    Not 0 where the tie key is below the cut.
delta : f32[LANES], chosen : i32[LANES]
    Written: the best gain and its candidate, NaN and -1 if none is admitted. Of equal nets the larger gain is the
    best, then the lower index.
place
    How many messages went before.
n_lanes
    Lanes to work on, at least one. They are read and written in whole groups.

Each returns 0 if nothing is admitted in any of the lanes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, I32, INTERPRETED, U8

LANES: Final = 128
"""Lanes in a block: the values of 32 candidates, 16 KiB, stay in L1."""
GROUP: Final = 64
"""Lanes worked on together: four vectors, whose bests and the best's indices fill a quarter of the registers."""


if INTERPRETED:

    def _make_best(level: bool, limited: bool) -> Any:
        def best(
            free: F32,
            fatigue: F32,
            room: I32,
            channel_loss: F32,
            channel_row: I32,
            topic_loss: F32,
            topic_row: I32,
            charge: F32,
            least: F32,
            below_cut: I32,
            delta: F32,
            chosen: I32,
            place: int,
            n_lanes: int,
        ) -> int:
            best_net = np.full(n_lanes, -np.inf, np.float32)
            best_delta = best_net.copy()
            best_k = np.full(n_lanes, -1, np.int32)
            below = below_cut[:n_lanes] != 0
            loss = fatigue[:n_lanes] * np.float32(place)
            loss[room[:n_lanes] <= place] = np.inf
            for k in range(len(free)):
                gain = free[k, :n_lanes] - loss
                if limited:
                    gain = gain - channel_loss[channel_row[k], :n_lanes]
                    gain = gain - topic_loss[topic_row[k], :n_lanes]
                net = gain if level else gain - charge[k]
                better = (net > best_net) | ((net == best_net) & (gain > best_delta))
                if not level:
                    better &= gain >= np.where(below, least[1, k], least[0, k])
                best_net[better], best_delta[better], best_k[better] = net[better], gain[better], k
            if level:
                best_k[~(best_delta >= np.where(below, least[1, 0], least[0, 0]))] = -1
            added = best_k >= 0
            room[:n_lanes][~added] = 0
            delta[:n_lanes] = np.where(added, best_delta, np.float32(np.nan))
            chosen[:n_lanes] = best_k
            return int(added.any())

        return best

    def offer(value: F32, reason: U8, free: F32, n_lanes: int) -> int:
        """Stand in for the compiled pass."""
        eligible = reason[:, :n_lanes] == 0
        free[:, :n_lanes] = np.where(eligible, value[:, :n_lanes], np.float32(-np.inf))
        return int((eligible & ~np.isfinite(value[:, :n_lanes])).any())

else:
    _N_VECTORS: Final = GROUP // vectors.VECTOR
    _NEVER: Final = vectors.constants(vectors.FLOATS, float("-inf"))
    _EVER: Final = vectors.constants(vectors.FLOATS, float("inf"))
    _NOTHING: Final = vectors.constants(vectors.FLOATS, float("nan"))
    _NONE: Final = vectors.constants(vectors.WORDS, -1)

    def _make_best(level: bool, limited: bool) -> Any:
        @intrinsic
        def best(
            typing_context: Any,
            free: Any,
            fatigue: Any,
            room: Any,
            channel_loss: Any,
            channel_row: Any,
            topic_loss: Any,
            topic_row: Any,
            charge: Any,
            least: Any,
            below_cut: Any,
            delta: Any,
            chosen: Any,
            place: Any,
            n_lanes: Any,
        ) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                arrays = vectors.arrays_of(context, builder, signature, arguments)
                n_candidates = vectors.length(builder, arrays[0])
                free, fatigue, room, channel_loss, channel_row, topic_loss, topic_row, *rest = (
                    a.data for a in arrays
                )
                charge, least, below_cut, delta, chosen = rest
                tied_least = vectors.at(builder, least, n_candidates)
                place_word = vectors.splat(builder, builder.trunc(arguments[-2], vectors.WORD))
                place_float = builder.sitofp(place_word, vectors.FLOATS)
                nobody = vectors.constants(vectors.WORDS, 0)

                def lanes_of(block: Any, row: Any, lane: Any) -> list[Any]:
                    first = builder.add(builder.mul(row, vectors.count(LANES)), lane)
                    start = vectors.at(builder, block, first)
                    return [
                        vectors.load(builder, vectors.at(builder, start, v * vectors.VECTOR))
                        for v in range(_N_VECTORS)
                    ]

                def less(gains: list[Any], block: Any, rows: Any, k: Any, lane: Any) -> list[Any]:
                    row = builder.sext(builder.load(vectors.at(builder, rows, k)), vectors.INT)
                    return [
                        builder.fsub(a, b) for a, b in zip(gains, lanes_of(block, row, lane), strict=True)
                    ]

                def group(lane: Any, total: list[Any]) -> list[Any]:
                    here = vectors.count(0)
                    below = [
                        builder.icmp_signed("!=", bits, nobody) for bits in lanes_of(below_cut, here, lane)
                    ]
                    rooms = lanes_of(room, here, lane)
                    tired = [
                        builder.select(
                            builder.icmp_signed(">", left, place_word), builder.fmul(each, place_float), _EVER
                        )
                        for left, each in zip(rooms, lanes_of(fatigue, here, lane), strict=True)
                    ]

                    def candidate(k: Any, carried: list[Any]) -> list[Any]:
                        index, bests = vectors.splat(builder, carried[0]), carried[1:]
                        gains = lanes_of(free, k, lane)
                        gains = [builder.fsub(a, b) for a, b in zip(gains, tired, strict=True)]
                        if limited:
                            gains = less(gains, channel_loss, channel_row, k, lane)
                            gains = less(gains, topic_loss, topic_row, k, lane)
                        if not level:
                            taken = vectors.broadcast(builder, charge, k)
                            plain = vectors.broadcast(builder, least, k)
                            tied = vectors.broadcast(builder, tied_least, k)
                        for v, gain in enumerate(gains):
                            at = v * (2 if level else 3)
                            better = builder.fcmp_ordered(">", gain, bests[at])
                            if not level:
                                net = builder.fsub(gain, taken)
                                equal = builder.fcmp_ordered("==", net, bests[at + 2])
                                more = builder.fcmp_ordered(">", net, bests[at + 2])
                                better = builder.or_(more, builder.and_(equal, better))
                                bound = builder.select(below[v], tied, plain)
                                better = builder.and_(better, builder.fcmp_ordered(">=", gain, bound))
                                bests[at + 2] = builder.select(better, net, bests[at + 2])
                            bests[at] = builder.select(better, gain, bests[at])
                            bests[at + 1] = builder.select(better, index, bests[at + 1])
                        return [builder.add(carried[0], vectors.index(1)), *bests]

                    start = [_NEVER, _NONE] if level else [_NEVER, _NONE, _NEVER]
                    _, *bests = vectors.repeat(
                        builder,
                        vectors.count(0),
                        n_candidates,
                        1,
                        [vectors.index(0), *start * _N_VECTORS],
                        candidate,
                    )
                    any_added = total[0]
                    for v in range(_N_VECTORS):
                        gain, found = bests[v * len(start)], bests[v * len(start) + 1]
                        if level:
                            bound = builder.select(
                                below[v],
                                vectors.broadcast(builder, tied_least, 0),
                                vectors.broadcast(builder, least, 0),
                            )
                            found = builder.select(builder.fcmp_ordered(">=", gain, bound), found, _NONE)
                        added = builder.icmp_signed(">=", found, nobody)
                        at = builder.add(lane, vectors.count(v * vectors.VECTOR))
                        for block, vector in (
                            (delta, builder.select(added, gain, _NOTHING)),
                            (chosen, found),
                            (room, builder.select(added, rooms[v], nobody)),
                        ):
                            vectors.store(builder, vector, vectors.at(builder, block, at))
                        bits = builder.zext(builder.bitcast(added, vectors.SHORT), vectors.INT)
                        any_added = builder.or_(any_added, bits)
                    return [any_added]

                return vectors.repeat(
                    builder, vectors.count(0), arguments[-1], GROUP, [vectors.count(0)], group
                )[0]

            return types.int64(
                free, fatigue, room, channel_loss, channel_row, topic_loss, topic_row, charge, least,
                below_cut, delta, chosen, types.int64, types.int64,
            ), generate  # fmt: skip

        return best

    @intrinsic
    def offer(typing_context: Any, value: Any, reason: Any, free: Any, n_lanes: Any) -> Any:
        """Fill free with the values of those eligible; return not 0 if one of those is not finite.

        A multiple of GROUP lanes is read and written.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value, reason, free = vectors.arrays_of(context, builder, signature, arguments)
            strides = [vectors.row_stride(builder, array) for array in (value, reason, free)]
            n_candidates = vectors.length(builder, free)

            def group(lane: Any, total: list[Any]) -> list[Any]:
                def candidate(k: Any, taints: list[Any]) -> list[Any]:
                    starts = [
                        vectors.at(builder, array.data, builder.add(builder.mul(k, stride), lane))
                        for array, stride in zip((value, reason, free), strides, strict=True)
                    ]
                    for v in range(_N_VECTORS):
                        numbers, codes, out = (vectors.at(builder, s, v * vectors.VECTOR) for s in starts)
                        number = vectors.load(builder, numbers)
                        code = vectors.load(builder, codes)
                        eligible = builder.icmp_signed("==", code, vectors.constants(vectors.BYTES, 0))
                        # x - x is 0 for every finite x, and nan for nan and the infinities.
                        offered = builder.select(eligible, number, vectors.ZEROS)
                        taints[v] = builder.fadd(taints[v], builder.fsub(offered, offered))
                        vectors.store(builder, builder.select(eligible, number, _NEVER), out)
                    return taints

                zeros = [vectors.ZEROS] * _N_VECTORS
                taints = vectors.repeat(builder, vectors.count(0), n_candidates, 1, zeros, candidate)
                for taint in taints:
                    wrong = builder.fcmp_unordered("!=", taint, vectors.ZEROS)
                    bits = builder.bitcast(wrong, vectors.SHORT)
                    total = [builder.or_(total[0], builder.zext(bits, vectors.INT))]
                return total

            return vectors.repeat(builder, vectors.count(0), arguments[3], GROUP, [vectors.count(0)], group)[
                0
            ]

        return types.int64(value, reason, free, types.int64), generate


best_level = _make_best(level=True, limited=False)
best_level_limited = _make_best(level=True, limited=True)
best = _make_best(level=False, limited=False)
best_limited = _make_best(level=False, limited=True)
