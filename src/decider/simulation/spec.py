"""What a simulated world is like: every number of its truth, with two worlds that are ready.

Rewards are in outcomes (someone watches) per member and epoch, so an effect of 0.03 is 30 more of 1,000 who watch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from decider.errors import InvalidInput, Violation

TYPES = ("new_arrival", "new_season", "coming_soon", "top_picks", "continue_watching", "top_10")
CHANNELS = ("email", "push", "sms", "in_app")
FEATURES = ("activity", "tenure", "breadth", "taste_0", "taste_1", "taste_2", "recent_sends")
"""What is known of a member, besides a constant; each but the last has mean 0 and variance 1."""
N_TASTES = 3
RECENT_UNIT = 3.0
"""The feature recent_sends is the decayed count of sends over this."""


@dataclass(frozen=True)
class MessageSpec:
    """A message: its type, its title and where and when it may go out."""

    id: str
    type: str
    topic: str
    channels: tuple[str, ...]
    appears: int = -1_000
    """First epoch in which it is live."""
    expires: int = 1_000
    """First epoch in which it is not live any more."""


MESSAGES = (
    MessageSpec("picks", "top_picks", "picks", ("email", "push")),
    MessageSpec("continue", "continue_watching", "continue", ("push", "in_app")),
    MessageSpec("top-10", "top_10", "top-10", ("email", "in_app")),
    MessageSpec("season-north", "new_season", "north", ("email", "push"), expires=18),
    MessageSpec("season-south", "new_season", "south", ("push", "sms")),
    MessageSpec("arrival-east", "new_arrival", "east", ("email", "push"), expires=12),
    MessageSpec("arrival-north", "new_arrival", "north", ("in_app",)),
    MessageSpec("soon-west", "coming_soon", "west", ("email", "in_app"), expires=10),
    MessageSpec("arrival-delta", "new_arrival", "delta", ("email", "push"), appears=8),
    MessageSpec("soon-coast", "coming_soon", "coast", ("email", "in_app"), appears=10),
    MessageSpec("season-lake", "new_season", "lake", ("email", "push"), appears=15),
    MessageSpec("arrival-hill", "new_arrival", "hill", ("push", "in_app"), appears=20),
)
"""Eight messages at first, 15 candidates; four appear later, three expire."""


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """A world. Its truth for a member and a set S is ``b + sum tau - phi*pairs - rho*pairs of one topic``."""

    name: str
    n_members: int = 100_000
    n_epochs: int = 30
    seed: int = 0
    messages: tuple[MessageSpec, ...] = MESSAGES

    organic_low: float = 0.05
    """b of the least active: the chance to watch with no message."""
    organic_high: float = 0.65
    """b of the most active."""
    organic_steepness: float = 1.5
    """b is logistic in activity with this slope, and 0.3 in tenure: the strength of organic behaviour."""
    weekly_swing: float = 0.3
    """Rise and fall of b over seven epochs, on the logistic scale."""

    effect: float = 0.035
    """Mean of tau over candidates, for an average member to whom nothing was sent lately."""
    effect_type_sd: float = 0.010
    """How types differ in it; then messages of a type, then channels of a message."""
    effect_message_sd: float = 0.010
    effect_channel_sd: float = 0.006
    activity_effect: float = -0.015
    """What one standard deviation of activity adds to tau: who watches anyway has little to gain."""
    slope_type_sd: float = 0.004
    """How types differ in what any feature adds to tau; then messages, then channels."""
    slope_message_sd: float = 0.004
    slope_channel_sd: float = 0.002
    affinity_effect: float = 0.020
    """What one standard deviation of affinity to the title adds to tau (the pair feature)."""
    affinity_effect_sd: float = 0.005
    drift_sd: float = 0.001
    """Random walk of every candidate's mean effect, per epoch; slopes walk at a third of it."""

    recent_effect: float = -0.012
    """What each RECENT_UNIT of recent sends adds to tau."""
    recent_keep: float = 0.7
    """Share of the recent sends, on whatever channel, that still tells an epoch later."""
    fatigue: float = 0.004
    """phi of a member to whom nothing was sent lately."""
    fatigue_recent: float = 0.004
    """What each RECENT_UNIT adds to phi."""
    same_topic: float = 0.015
    """rho: what a second message about the same title takes, on whatever channel."""
    suppress_epochs: int = 3
    """A topic is not sent again within so many epochs."""
    max_messages: int = 3

    consent: tuple[float, ...] = (0.95, 0.70, 0.30, 1.00)
    """Share of members who consent, by channel."""
    opt_out: tuple[float, ...] = (0.0010, 0.0015, 0.0030, 0.0005)
    """Chance that a send ends in an opt-out from its channel, by channel, if nothing was sent lately."""
    opt_out_recent: float = 1.0
    """How much of it each RECENT_UNIT of recent sends (this decision's included) adds."""
    complaint_share: float = 0.1
    """Share of opt-outs that are complaints; these end the consent to all channels."""

    delay_shares: tuple[float, ...] = (0.6, 0.25, 0.15)
    """Shares of outcomes that show 0, 1, ... epochs later; the window closes with the last."""
    past_epochs: int = 5
    """Epochs before the first, in which rules sent more to who was active."""
    past_steepness: float = 1.5
    """Of the chance to be sent something in these epochs, logistic in activity."""

    def __post_init__(self) -> None:
        wrong = _violations(self)
        if wrong:
            raise InvalidInput(wrong)

    @property
    def window_epochs(self) -> int:
        """Epochs after a decision until all its outcomes have shown."""
        return len(self.delay_shares) - 1


def default_world(n_members: int = 100_000, n_epochs: int = 30, seed: int = 0) -> WorldSpec:
    """A world where those who watch anyway have little to gain: ranking by who will watch misleads."""
    return WorldSpec(name="default", n_members=n_members, n_epochs=n_epochs, seed=seed)


def proportional_world(n_members: int = 100_000, n_epochs: int = 30, seed: int = 0) -> WorldSpec:
    """A world where effects go with the base rate and hardly tire: who will watch is who is worth a message.

    Activity adds to tau what it takes off in the default world, members differ in little else, and fatigue and
    cannibalisation are slight.
    """
    return replace(
        default_world(n_members, n_epochs, seed),
        name="proportional",
        activity_effect=0.020,
        slope_type_sd=0.001,
        slope_message_sd=0.001,
        slope_channel_sd=0.0005,
        affinity_effect=0.010,
        affinity_effect_sd=0.002,
        recent_effect=-0.001,
        fatigue=0.0005,
        fatigue_recent=0.0005,
        same_topic=0.002,
    )


WORLDS = {"default": default_world, "proportional": proportional_world}


def _violations(spec: WorldSpec) -> list[Violation]:
    found: list[Violation] = []

    def rule(field: str, holds: bool, text: str) -> None:
        if not holds:
            found.append(Violation(field, f"{text}, got {getattr(spec, field)!r}"))

    for each in fields(spec):
        value = getattr(spec, each.name)
        numbers = value if isinstance(value, tuple) else (value,)
        finite = all(math.isfinite(number) for number in numbers if isinstance(number, float))
        rule(each.name, finite, "must be finite")
        if each.name.endswith("_sd"):
            rule(each.name, value >= 0.0, "must be >= 0")
    rule("n_members", 1 <= spec.n_members <= 2**31, "must be in [1, 2^31]")
    rule("n_epochs", 1 <= spec.n_epochs <= 10_000, "must be in [1, 10000]")
    rule("seed", 0 <= spec.seed < 2**63, "must be in [0, 2^63)")
    rule("max_messages", 1 <= spec.max_messages <= 8, "must be in [1, 8]")
    rule("organic_low", 0.0 <= spec.organic_low <= spec.organic_high, "must be in [0, organic_high]")
    rule("organic_high", spec.organic_high <= 1.0, "must be <= 1")
    rule("recent_keep", 0.0 <= spec.recent_keep < 1.0, "must be in [0, 1)")
    rule("complaint_share", 0.0 <= spec.complaint_share <= 1.0, "must be in [0, 1]")
    for field in (
        "fatigue",
        "fatigue_recent",
        "same_topic",
        "opt_out_recent",
        "suppress_epochs",
        "past_epochs",
    ):
        rule(field, getattr(spec, field) >= 0, "must be >= 0")
    for field in ("consent", "opt_out"):
        shares = getattr(spec, field)
        right = len(shares) == len(CHANNELS) and all(0.0 <= share <= 1.0 for share in shares)
        rule(field, right, f"must hold {len(CHANNELS)} shares in [0, 1]")
    delays = spec.delay_shares
    right = bool(delays) and all(s >= 0.0 for s in delays) and abs(math.fsum(delays) - 1.0) < 1e-9
    rule("delay_shares", right, "must be shares that sum to 1")
    ids = [message.id for message in spec.messages]
    rule("messages", len(set(ids)) == len(ids) > 0, "must be at least one, each id once")
    for message in spec.messages:
        known = message.type in TYPES and message.channels and set(message.channels) <= set(CHANNELS)
        rule("messages", bool(known), f"must have known types and channels ({message.id} has not)")
    return found
