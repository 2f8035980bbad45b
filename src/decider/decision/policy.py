"""How to decide: the kind of policy, its strata, its price; loaded from TOML."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from decider.errors import InvalidInput, Violation
from decider_core import values

Kind = Literal["thompson", "ucb", "greedy", "cautious", "epsilon_greedy", "heuristic", "random"]

MAX_SET = 8
MODEL_FREE: tuple[Kind, ...] = ("heuristic", "random")
VALUED_AS: Final[Mapping[str, int]] = {
    "thompson": values.THOMPSON,
    "ucb": values.UCB,
    "greedy": values.GREEDY,
    "cautious": values.CAUTIOUS,
    "epsilon_greedy": values.GREEDY,
}
"""How the other kinds make values of a posterior."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy: a pure function of member, catalog, model, epoch and its own seed."""

    name: str
    """What requests call it."""
    kind: Kind
    """How a candidate is valued; `heuristic` uses rules and priority only, `random` only explores."""
    model: str = ""
    """Name of the uplift model in the registry; empty for the kinds that need none."""
    seed: int = 0
    """Key of all its randomness."""
    epoch_seconds: int = 86_400
    """Length of the decision window; within one epoch a member's draws do not change."""
    holdout: float = 0.0
    """Share of members that are never messaged; keyed without the epoch, so it lasts."""
    explore: float = 0.05
    """Probability of the explore stratum among the other members."""
    explore_counts: tuple[float, ...] = (0.25, 0.5, 0.25)
    """Probabilities of drawing 0, 1, 2, ... messages when exploring."""
    price: float = 0.0
    """Incrementality threshold per unit of cost, used where a run sets no volume; also its floor."""
    max_messages: int = 0
    """Most messages in one decision; 0 takes the catalog's cap."""
    kappa: float = 1.0
    """Standard deviations added (ucb) or taken off (cautious)."""
    epsilon: float = 0.1
    """Probability of a random set inside the exploit stratum (epsilon_greedy)."""
    propensity_draws: int = 200
    """Replayed draws behind the propensity of a Thompson set of several messages; 0 defers it."""
    propensity_floor: float = 1e-9
    """No explore propensity may be lower; checked against the catalog when the policy is bound."""

    @property
    def version(self) -> str:
        """Hash of the content: two policies of one version decide alike."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()
        return f"sha256:{digest[:16]}"

    @property
    def needs_model(self) -> bool:
        """Whether it values candidates by an uplift model."""
        return self.kind not in MODEL_FREE

    def epoch_of(self, time_micros: int) -> int:
        """The epoch that holds `time_micros`."""
        return time_micros // (self.epoch_seconds * 1_000_000)


class _PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    policy: list[Policy]
    default: str = ""


class PolicySet(msgspec.Struct, frozen=True):
    """The policies a service knows, and which one answers a request that names none."""

    policies: dict[str, Policy]
    default: str

    def get(self, name: str, field: str = "policy") -> Policy:
        """The policy called `name`; the default for an empty name.

        Raises
        ------
        InvalidInput
            When there is no such policy.
        """
        found = self.policies.get(name or self.default)
        if found is None:
            raise InvalidInput.of(field, f"must be one of {', '.join(sorted(self.policies))}", name)
        return found


def load_policies(path: Path) -> PolicySet:
    """Read policies from a TOML file with one ``[[policy]]`` table each.

    Raises
    ------
    InvalidInput
        Naming the field, the rule and the value found.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidInput.of("policies", f"must be a readable file ({error.strerror})", str(path)) from None
    return parse_policies(text, str(path))


def parse_policies(text: str, source: str = "policies") -> PolicySet:
    """Parse the text of a policies file; see :func:`load_policies`."""
    try:
        decoded = msgspec.toml.decode(text, type=_PolicyFile)
    except msgspec.DecodeError as error:
        raise InvalidInput([Violation("policy", f"{error} in {source}")]) from None
    return policy_set(decoded.policy, decoded.default)


def policy_set(policies: Sequence[Policy], default: str = "") -> PolicySet:
    """Check policies and put them together; the first one is the default where none is named."""
    if not policies:
        raise InvalidInput.of("policy", "must hold at least one policy", 0)
    violations = [violation for policy in policies for violation in _violations(policy)]
    names = [policy.name for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    violations += [Violation("policy.name", f"must be unique, got {name!r} twice") for name in twice]
    if default and default not in names:
        violations.append(Violation("default", f"must name a policy, got {default!r}"))
    if violations:
        raise InvalidInput(violations)
    return PolicySet({policy.name: policy for policy in policies}, default or names[0])


def _violations(policy: Policy) -> list[Violation]:
    place = f"policy[{policy.name!r}]"
    found: list[Violation] = []

    def rule(field: str, holds: bool, text: str, value: object) -> None:
        if not holds:
            found.append(Violation(f"{place}.{field}", f"{text}, got {value!r}"))

    rule("name", bool(policy.name.strip()), "must not be empty", policy.name)
    rule(
        "model",
        bool(policy.model) == policy.needs_model,
        "must be named by kinds that use a model, and only by them",
        policy.model,
    )
    rule("seed", 0 <= policy.seed < 2**63, "must be in [0, 2^63)", policy.seed)
    rule("epoch_seconds", policy.epoch_seconds > 0, "must be > 0", policy.epoch_seconds)
    for field in ("holdout", "explore", "epsilon"):
        share = getattr(policy, field)
        rule(field, 0.0 <= share <= 1.0, "must be in [0, 1]", share)
    shares = policy.explore_counts
    rule("explore_counts", 1 <= len(shares) <= MAX_SET + 1, f"must have 1 to {MAX_SET + 1} entries", shares)
    rule(
        "explore_counts",
        all(math.isfinite(q) and q >= 0.0 for q in shares) and abs(math.fsum(shares) - 1.0) < 1e-9,
        "must be probabilities that sum to 1 within 1e-9",
        shares,
    )
    rule(
        "price", math.isfinite(policy.price) and policy.price >= 0.0, "must be finite and >= 0", policy.price
    )
    rule(
        "max_messages", 0 <= policy.max_messages <= MAX_SET, f"must be in [0, {MAX_SET}]", policy.max_messages
    )
    rule(
        "kappa", math.isfinite(policy.kappa) and policy.kappa >= 0.0, "must be finite and >= 0", policy.kappa
    )
    rule(
        "propensity_draws",
        0 <= policy.propensity_draws <= 100_000,
        "must be in [0, 100000]",
        policy.propensity_draws,
    )
    rule(
        "propensity_floor", 0.0 < policy.propensity_floor < 1.0, "must be in (0, 1)", policy.propensity_floor
    )
    return found
