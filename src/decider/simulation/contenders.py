"""The policies that live side by side in a simulated world."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from decider.errors import InvalidInput

Kind = Literal[
    "random", "send_all", "heuristic", "oracle", "greedy", "cautious", "thompson", "ucb", "epsilon_greedy"
]
Learns = Literal["nothing", "levels", "effects", "effects_without_parents"]

COUNT_SHARES = (0.25, 0.45, 0.2, 0.1)
"""Probabilities of aiming at 0, 1, 2, 3 messages where a set is drawn at random."""
_MEAN_COUNT = sum(count * share for count, share in enumerate(COUNT_SHARES))
_MEAN_SQUARE = sum(count**2 * share for count, share in enumerate(COUNT_SHARES))
_LARGEST_DRAWN_SHARE = 0.9
"""Of a volume: at most so much of it, in expectation, goes to sets drawn at random."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A policy of the comparison."""

    name: str
    kind: Kind
    learns: Learns = "nothing"
    """``levels``: p(Y | x, message) of what was sent, whoever got it; ``effects``: tau, phi and rho, from what
    chance had a part in: sets drawn at random, and where Thompson draws decide, all sets."""
    explore_first: float = 0.0
    """Share of members whose set is drawn at random in the first epoch."""
    explore_last: float = 0.0
    """Share that is never gone below."""
    explore_half_life: float = 3.0
    """Epochs in which the share halves."""
    kappa: float = 1.0
    """Standard deviations of optimism (ucb) or caution (cautious)."""
    max_messages: int = 8
    """Most messages in one decision, besides the world's own cap."""

    def explore_share(self, epoch: int, volume: float, n_members: int) -> float:
        """Share of members whose set is drawn at random.

        Parameters
        ----------
        epoch
            From 0.
        volume
            Sends a member that the policy may use: what is drawn stays below it, by a tenth and by five
            standard deviations.
        n_members
            N.
        """
        wanted = max(self.explore_last, self.explore_first * math.exp2(-epoch / self.explore_half_life))
        # With share s, N s sets are drawn, of mean count c and mean squared count q: the largest s with
        # c N s + 5 sqrt(q N s) <= volume N.
        root = math.sqrt(25.0 * _MEAN_SQUARE + 4.0 * _MEAN_COUNT * volume * n_members)
        drawn = ((root - 5.0 * math.sqrt(_MEAN_SQUARE)) / (2.0 * _MEAN_COUNT)) ** 2
        return min(wanted, drawn / n_members, _LARGEST_DRAWN_SHARE * volume / _MEAN_COUNT)


def _level(name: str, kind: Kind, max_messages: int = 1, explore: float = 0.0) -> Contender:
    return Contender(
        name=name,
        kind=kind,
        learns="levels",
        max_messages=max_messages,
        explore_first=explore,
        explore_last=explore,
    )


def _causal(name: str, kind: Kind, learns: Learns = "effects") -> Contender:
    # Before the first window closes nothing is known that choosing could rest on: nearly all is drawn. Later
    # Thompson's own draws are learned from; who decides without chance learns from the share alone.
    by_draws = kind == "thompson"
    return Contender(
        name=name,
        kind=kind,
        learns=learns,
        explore_first=1.0,
        explore_last=0.01 if by_draws else 0.02,
        explore_half_life=1.0 if by_draws else 4.0,
    )


CONTENDERS = (
    Contender(name="random", kind="random"),
    Contender(name="send_all", kind="send_all"),
    Contender(name="heuristic", kind="heuristic", max_messages=1),
    _level("correlational", "greedy"),
    _level("correlational_sets", "greedy", max_messages=8),
    _level("epsilon_greedy", "epsilon_greedy", explore=0.1),
    _level("ucb", "ucb"),
    _level("thompson", "thompson"),
    _causal("causal", "thompson"),
    _causal("causal_greedy", "greedy"),
    _causal("causal_cautious", "cautious"),
    _causal("causal_without_parents", "thompson", "effects_without_parents"),
    Contender(name="oracle", kind="oracle"),
)
"""All of them, in the order in which they are told. At equal volume, but for `send_all`.

The heuristic and those that rank by levels know no fatigue; they send at most one message in a decision, which
serves them better in the default world. `correlational_sets` fills sets up to the world's cap, as `causal` may.
"""


def contenders_named(names: list[str]) -> tuple[Contender, ...]:
    """Look contenders up, the oracle always among them; all for no name.

    Raises
    ------
    InvalidInput
        For a name that there is not.
    """
    known = {each.name: each for each in CONTENDERS}
    for name in names:
        if name not in known:
            raise InvalidInput.of("policy", f"must be one of {', '.join(known)}", name)
    return tuple(each for each in CONTENDERS if not names or each.name in (*names, "oracle"))
