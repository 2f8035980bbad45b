"""What each policy would have earned on the half of the members that no model saw, at one volume."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decider.cli.demo.house import ARMS, TRAINING, House
from decider.decision.engine import Engine
from decider.decision.request import RunRequest
from decider.evaluation import Logged, PolicyEstimates, judge_policy
from decider.evaluation.policies import Target, constant
from decider.learning import Judging
from decider.service.compose import compose

POLICIES: Final = ("random", "correlational", "heuristic", "greedy", "decider")
ESTIMATORS: Final = ("ips", "snips", "dr")
N_RESAMPLES: Final = 500


class Judged(NamedTuple):
    """One policy, its share of members who are sent something, and what it is worth."""

    policy: str
    send_share: float
    found: PolicyEstimates


class Values(NamedTuple):
    """All policies, what they were judged on, and what each would do."""

    judging: Judging
    targets: dict[str, Target]
    judged: list[Judged]


def policy_values(house: House, share: float, time_micros: int) -> Values:
    """Value of every policy per member of the held-out half, by IPS, SNIPS and DR.

    The policies decide through the engine, in dry runs over the held-out members at `share` of their number:
    what is judged is what would be served.

    Parameters
    ----------
    house
        Made by :func:`build_house`.
    share
        Volume as a share of the members.
    time_micros
        Decision time.
    """
    held_out = msgspec.structs.replace(TRAINING, half="held-out")
    judging = Judging(house.feedback, held_out, ARMS)
    rows = judging.rows
    members = np.flatnonzero(judging.kept)
    targets = {"nobody": constant(rows, rows.control)}
    with compose(house.config) as composition:
        for policy in POLICIES:
            targets[policy] = _chosen(composition.engine, policy, members, rows, share, time_micros)
    targets["Mens to all"] = constant(rows, rows.arms.index("Mens E-Mail"))
    judged = [
        Judged(
            name,
            float(1.0 - target[:, rows.control].mean()),
            judge_policy(
                target,
                rows,
                judging.q_hat,
                estimators=ESTIMATORS,
                n_resamples=N_RESAMPLES,
                seed=TRAINING.seed,
            ),
        )
        for name, target in targets.items()
    ]
    return Values(judging, targets, judged)


def _chosen(
    engine: Engine, policy: str, members: NDArray[np.int64], rows: Logged, share: float, time_micros: int
) -> NDArray[np.float64]:
    """What the policy sends each member, as a certain arm: float64 [n, n_arms]."""
    # Drawing at random has its volume by its own counts; no price changes it.
    volume = None if policy == "random" else int(share * members.size)
    request = RunRequest(
        request_id=f"values-{policy}",
        decision_time_micros=time_micros,
        policy=policy,
        volume=volume,
        dry_run=True,
    )
    run = engine.start_run(request, whole_snapshot=False)
    chunks = run.add(members) + list(run.finish())
    sets = np.concatenate([chunk.sets[0] for chunk in chunks])
    arm_of = {message: rows.arms.index(arm) for arm, message in ARMS.items()}
    arms = np.array([arm_of[candidate.message] for candidate in engine.parts.catalog.candidates])
    chosen = np.where(sets >= 0, arms[sets], rows.control)
    target = np.zeros((members.size, rows.n_arms))
    target[np.arange(members.size), chosen] = 1.0
    return target
