"""The sums over logged message sets that the R-learner stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from decider.errors import InvalidInput, Violation
from decider.learning.sets import SetRows, held_matrix
from decider_core.counts import count_pairs
from decider_core.gram import expand_gram, gram_products_update, n_products, product_place


class SetSums:
    """Sums over rows of message sets: what arrives in parts adds up, and may fade.

    A row's design is ``[r_0 z, r_1 z, ..., r_K z, r_{K+1} z]`` with ``r_0 = 1`` for the linear baseline,
    ``r_c = 1{c in S} - p_c`` for the candidates and ``r_{K+1} = -(C - E[C])`` for fatigue, and besides it the
    extras ``r_c u_c`` and ``-(P - E[P])``. Kept are its Gram matrix in the compact form of
    :mod:`decider_core.gram`, its products with the reward, and the reward's squares.

    Parameters
    ----------
    candidates
        The K candidates' names.
    topic
        Topic of every candidate, int32 of shape [K].
    d, n_pair_features
        Lengths of z and of the pair features.
    """

    def __init__(
        self, candidates: Sequence[str], topic: NDArray[np.int32], d: int, n_pair_features: int = 0
    ) -> None:
        if not candidates or len(set(candidates)) != len(candidates):
            raise InvalidInput.of("candidates", "must be one or more distinct names", list(candidates))
        if topic.shape != (len(candidates),):
            raise InvalidInput.of("topic", f"must have shape ({len(candidates)},)", topic.shape)
        self.candidates, self.topic, self.d, self.n_pair_features = (
            tuple(candidates),
            topic,
            d,
            n_pair_features,
        )
        n_extra = n_pair_features * len(candidates) + 1
        self.products = np.zeros((n_products(self.n_responses), n_products(d)))
        self.information = np.zeros((self.n_responses, d))
        self.crossed = np.zeros((n_extra, self.n_responses, d))
        self.extra_gram = np.zeros((n_extra, n_extra))
        self.extra_information = np.zeros(n_extra)
        self.squares = 0.0
        self.weight = 0.0
        self.n_sent = np.zeros(len(candidates))

    @property
    def n_candidates(self) -> int:
        """K."""
        return len(self.candidates)

    @property
    def n_responses(self) -> int:
        """K + 2: baseline, candidates, fatigue."""
        return len(self.candidates) + 2

    @property
    def mean_z(self) -> NDArray[np.float64]:
        """Mean of z over the rows, float64 of shape [d]."""
        return self.products[0, : self.d] / self.weight

    @property
    def reward_variance(self) -> float:
        """Variance of the reward less its baseline over the rows."""
        return float(self.squares / self.weight - (self.information[0, 0] / self.weight) ** 2)

    def whole(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the design's whole Gram matrix and its products with the reward, extras last."""
        inner = self.n_responses * self.d
        n_design = inner + len(self.extra_information)
        gram = np.empty((n_design, n_design))
        gram[:inner, :inner] = expand_gram(self.products, self.n_responses, self.d)
        crossed = self.crossed.reshape(len(self.extra_information), inner)
        gram[inner:, :inner], gram[:inner, inner:] = crossed, crossed.T
        gram[inner:, inner:] = self.extra_gram
        return gram, np.concatenate([self.information.ravel(), self.extra_information])

    def add(self, rows: SetRows) -> None:
        """Add rows; nothing is changed if they do not fit."""
        self._check(rows)
        weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight
        y = rows.reward if rows.baseline is None else rows.reward - rows.baseline
        held = held_matrix(rows.sets, self.n_candidates)
        pairs, same_topic = count_pairs(rows.sets, self.topic)
        response = np.empty((self.n_responses, rows.n_rows))
        response[0] = 1.0
        np.subtract(held, rows.inclusion, out=response[1:-1])
        response[-1] = rows.expected_pairs - pairs
        z = rows.z.astype(np.float64)
        gram_products_update(self.products, response, np.ascontiguousarray(rows.z), weight)
        self.information += (response * (weight * y)) @ z
        extra = self._extras(rows, response, rows.expected_same_topic - same_topic)
        for place, column in enumerate(extra):
            self.crossed[place] += (response * (weight * column)) @ z
        self.extra_gram += (extra * weight) @ extra.T
        self.extra_information += extra @ (weight * y)
        self.squares += float(weight @ y**2)
        self.weight += float(weight.sum())
        self.n_sent += held @ weight

    def forget(self, keep: float) -> None:
        """Let all rows count `keep` of what they do now, in [0, 1].

        Applied once an epoch before its rows are added, it leaves a row of k epochs ago ``keep ** k``.
        """
        if not 0.0 <= keep <= 1.0:
            raise InvalidInput.of("keep", "must be in [0, 1]", keep)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) * keep)

    def plus(self, other: SetSums) -> SetSums:
        """Return the sums over both sets of rows; candidates, topics and shapes must agree."""
        ours = (self.candidates, self.d, self.n_pair_features, self.topic.tolist())
        theirs = (other.candidates, other.d, other.n_pair_features, other.topic.tolist())
        if ours != theirs:
            raise InvalidInput.of("other", f"must have candidates and features {ours}", theirs)
        total = SetSums(self.candidates, self.topic, self.d, self.n_pair_features)
        for name in _SUMS:
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def with_candidates(self, candidates: Sequence[str], topic: NDArray[np.int32]) -> Self:
        """Return the same sums for more candidates, in any order: no row speaks of the new ones.

        Raises
        ------
        InvalidInput
            If a candidate that has rows is not among them.
        """
        gone = [name for name in self.candidates if name not in set(candidates)]
        if gone:
            raise InvalidInput.of("candidates", "must hold all that have rows, missing", gone)
        wider = type(self)(candidates, topic, self.d, self.n_pair_features)
        new_place = [wider.candidates.index(name) for name in self.candidates]
        responses = [0, *(1 + place for place in new_place), wider.n_responses - 1]
        p = self.n_pair_features
        extras = [place * p + j for place in new_place for j in range(p)] + [wider.n_candidates * p]
        for k, to in enumerate(responses):
            for other in range(k, self.n_responses):
                row = product_place(k, other, self.n_responses)
                wider.products[product_place(to, responses[other], wider.n_responses)] = self.products[row]
        wider.information[responses] = self.information
        wider.crossed[np.ix_(extras, responses)] = self.crossed
        wider.extra_gram[np.ix_(extras, extras)] = self.extra_gram
        wider.extra_information[extras] = self.extra_information
        wider.squares, wider.weight = self.squares, self.weight
        wider.n_sent[new_place] = self.n_sent
        return wider

    def _check(self, rows: SetRows) -> None:
        broken = []
        n_pair = 0 if rows.pair is None else len(rows.pair)
        for field, wanted, found in (
            ("inclusion", self.n_candidates, len(rows.inclusion)),
            ("z", self.d, rows.z.shape[1]),
            ("pair", self.n_pair_features, n_pair),
        ):
            if wanted != found:
                broken.append(Violation(field, f"must hold {wanted}, got {found}"))
        if broken:
            raise InvalidInput(broken)

    def _extras(
        self, rows: SetRows, response: NDArray[np.float64], same_topic: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        extra = np.empty((len(self.extra_information), rows.n_rows))
        p = self.n_pair_features
        if rows.pair is not None:
            for j in range(p):
                np.multiply(response[1:-1], rows.pair[j], out=extra[j:-1:p])
        extra[-1] = same_topic
        return extra


_SUMS = (
    "products",
    "information",
    "crossed",
    "extra_gram",
    "extra_information",
    "squares",
    "weight",
    "n_sent",
)
