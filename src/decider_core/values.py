"""What a policy ranks candidates by, made from the mean and sd of each candidate's uplift.

Epsilon-greedy is no value of its own: it is :data:`GREEDY` with an explore share of epsilon, so that its
random sets come from :func:`decider_core.explore.explore_sets` with their propensities.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.caps import LARGEST
from decider_core.compile import F32, INTERPRETED, U8, U64, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_output
from decider_core.draws import fill_values
from decider_core.splitmix import member_state

THOMPSON: Final = 0
UCB: Final = 1
GREEDY: Final = 2
CAUTIOUS: Final = 3


def policy_values(
    kind: int,
    mean: F32,
    sd: F32,
    kappa: float,
    stream: np.uint64,
    member_keys: U64,
    candidate_keys: U64,
    out: F32 | None = None,
) -> F32:
    """Return what the policy ranks candidates by, f32[n_candidates, n_members].

    Parameters
    ----------
    kind
        THOMPSON: ``mean + sd*z``, one normal draw z per pair; UCB: ``mean + kappa*sd``; GREEDY: ``mean``;
        CAUTIOUS: ``mean - kappa*sd``.
    mean, sd : f32[n_candidates, n_members]
        The posterior of each candidate's uplift; not read by the kinds that do not use it.
    kappa
        Standard deviations of optimism or caution; not negative.
    stream
        ``random.stream_key(seed, random.DRAW, epoch)``.
    member_keys : u64[n_members]
    candidate_keys : u64[n_candidates]
    out : f32[n_candidates, n_members], optional
        Where to write.

    Raises
    ------
    ContractError
        If the kind is unknown, or an array has another dtype or shape.
    """
    if kind not in (THOMPSON, UCB, GREEDY, CAUTIOUS):
        raise ContractError(f"kind must be THOMPSON, UCB, GREEDY or CAUTIOUS (0 to 3), got {kind}")
    kappa = check_number("kappa", kappa, 0.0, LARGEST)
    mean = check_array("mean", mean, np.float32, (None, None))
    sd = check_array("sd", sd, np.float32, mean.shape)
    member_keys = check_array("member_keys", member_keys, np.uint64, (mean.shape[1],))
    candidate_keys = check_array("candidate_keys", candidate_keys, np.uint64, (mean.shape[0],))
    out = check_output("out", out, np.float32, mean.shape)
    if kind == THOMPSON:
        states = np.empty(mean.shape[1], np.uint64)
        _thompson(mean, sd, np.uint64(stream), member_keys, candidate_keys, states, out)
    elif kind == GREEDY:
        out[:] = mean
    else:
        _shifted(mean, sd, np.float32(kappa if kind == UCB else -kappa), out)
    return out


def check_posterior(mean: F32, sd: F32, reason: U8) -> tuple[F32, F32, U8]:
    """Return mean, sd and reason of one shape: finite and sd not negative where eligible."""
    mean = check_array("mean", mean, np.float32, (None, None))
    sd = check_array("sd", sd, np.float32, mean.shape)
    reason = check_array("reason", reason, np.uint8, mean.shape)
    if not INTERPRETED and _usable(mean, sd, reason):
        return mean, sd, reason
    wrong = (reason == 0) & ~(np.isfinite(mean) & np.isfinite(sd) & (sd >= 0))
    if wrong.any():
        k, r = (int(i[0]) for i in np.nonzero(wrong))
        raise ContractError(
            "mean and sd must be finite and sd at least 0 where eligible, "
            f"got {mean[k, r]} and {sd[k, r]} at [{k}, {r}]"
        )
    return mean, sd, reason


@kernel
def _usable(mean: F32, sd: F32, reason: U8) -> bool:
    # x - x is 0 for every finite x, and nan for nan and the infinities.
    n_wrong = 0
    for k in range(len(mean)):
        for r in range(mean.shape[1]):
            finite = (mean[k, r] - mean[k, r] == 0) & (sd[k, r] - sd[k, r] == 0)
            n_wrong += (reason[k, r] == 0) & (not (finite & (sd[k, r] >= 0)))
    return n_wrong == 0


@kernel
def _thompson(
    mean: F32, sd: F32, stream: np.uint64, member_keys: U64, candidate_keys: U64, states: U64, out: F32
) -> None:
    for r in range(mean.shape[1]):
        states[r] = member_state(stream, member_keys[r])
    for k in range(len(mean)):
        fill_values(states, candidate_keys[k], mean[k], sd[k], out[k])


@kernel
def _shifted(mean: F32, sd: F32, kappa: np.float32, out: F32) -> None:
    for k in range(len(mean)):
        for r in range(mean.shape[1]):
            out[k, r] = mean[k, r] + kappa * sd[k, r]
