"""Experiments in decisions: each member's cell names the policy, and one chunk may hold several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from decider.decision.chunks import decide_chunk
from decider.decision.parts import BoundExperiment, CellOf, Parts
from decider.decision.policy import Policy, PolicySet
from decider.decision.ports import Experiment
from decider.decision.request import RunRequest
from decider.decision.result import ResultChunk
from decider.decision.stages import Question
from decider.errors import InvalidInput
from decider.logbook.schema import RunCell, RunRecord


def with_holdouts(policies: PolicySet, experiments: Iterable[Experiment]) -> PolicySet:
    """Add the policies that never send, one for each experiment's holdout: so its decisions are like all others."""
    names = dict(policies.policies)
    for experiment in experiments:
        if experiment.name in names:
            raise InvalidInput.of("experiment.name", "must not be a policy's name", experiment.name)
        for field, wanted in _wanted(experiment).items():
            policies.get(wanted, field)
        lasting = {names[name].epoch_seconds for name in experiment.cell_policies[1:]}
        if len(lasting) > 1:
            rule = "must have one length of epoch for all cells"
            raise InvalidInput.of(f"experiment[{experiment.name!r}].cell.policy", rule, sorted(lasting))
        name = _holdout_of(experiment)
        names[name] = Policy(
            name=name, kind="random", holdout=1.0, explore_counts=(1.0,), epoch_seconds=lasting.pop()
        )
    return PolicySet(names, policies.default)


def bind_experiments(parts: Parts, experiments: Iterable[Experiment]) -> Parts:
    """Look up every cell's policy, and assign every member of the snapshot.

    Parameters
    ----------
    parts
        Bound to policies that :func:`with_holdouts` gave.
    experiments
        Those in force.
    """
    bound = {}
    for experiment in experiments:
        names = (_holdout_of(experiment), *experiment.cell_policies[1:])
        policies = tuple(
            replace(
                parts.policy(name),
                cell=CellOf(experiment.name, experiment.version, cell, experiment.is_evaluation),
            )
            for name, cell in zip(names, experiment.cell_names, strict=True)
        )
        codes = experiment.assign(parts.snapshot.keys)
        otherwise = parts.policy(experiment.otherwise) if experiment.otherwise else None
        times = experiment.start_micros, experiment.end_micros
        bound[experiment.name] = BoundExperiment(
            experiment.name, experiment.version, *times, otherwise, policies, codes
        )
    return replace(parts, experiments=bound)


def run_cells(experiment: BoundExperiment, request: RunRequest) -> list[RunCell]:
    """The cells of a run: each at its policy's price, at the run's, or without one while a volume's is not found."""
    price, is_priced = request.price, request.volume is None
    return [
        RunCell(
            name=bound.cell.cell,
            policy=bound.policy.name,
            policy_version=bound.policy_version,
            model_version=bound.model_version,
            propensity_draws=bound.policy.propensity_draws,
            theta=float(np.float32(bound.policy.price if price is None else price)) if is_priced else None,
            tie_cut=0 if is_priced else None,
        )
        for bound in experiment.bound
        if bound.cell is not None
    ]


def same_cells(some: Sequence[RunCell], others: Sequence[RunCell]) -> bool:
    """Whether cells are the same, whatever their prices."""

    def unpriced(cells: Sequence[RunCell]) -> list[RunCell]:
        return [msgspec.structs.replace(cell, theta=None, tie_cut=None) for cell in cells]

    return unpriced(some) == unpriced(others)


def cell_volumes(
    volume: int, n_cells: int, codes: NDArray[np.uint8], members: Iterable[NDArray[np.int64]]
) -> list[int | None]:
    """Each cell's part of a volume, rounded down, by the run's members in it; none where it sends to nobody.

    Parameters
    ----------
    volume
        Of the run.
    n_cells
        Cells in all, the holdout's counted.
    codes
        [N] cell of each member of the snapshot; cell 0 is never messaged and has no part.
    members
        Rows of the run's members, some at a time.
    """
    counts = np.zeros(n_cells, np.int64)
    for rows in members:
        counts += np.bincount(codes[rows], minlength=n_cells)
    total = int(counts[1:].sum())
    return [None, *(volume * int(n) // total if n else None for n in counts[1:])]


def decide_cells(
    question: Question, experiment: BoundExperiment, cells: Sequence[RunCell], first_ordinal: int
) -> ResultChunk:
    """Decide for the members of `question`, each under the policy of the cell; the question's own is not used."""
    codes = experiment.codes[question.rows]
    n_places = max(bound.max_messages for bound in experiment.bound)
    parts: list[tuple[NDArray[np.intp], ResultChunk]] = []
    for code in np.unique(codes).tolist():
        places = np.flatnonzero(codes == code)
        theta, tie_cut = cells[code].theta, cells[code].tie_cut
        assert theta is not None
        assert tie_cut is not None
        asked = replace(
            question,
            bound=experiment.bound[code],
            rows=question.rows[places],
            theta=np.float32(theta),
            tie_cut=np.uint64(tie_cut),
        )
        parts.append((places, padded(decide_chunk(asked, first_ordinal), n_places)))
    order = np.argsort(np.concatenate([places for places, _ in parts]))

    def together(name: str) -> Any:
        arrays = [getattr(chunk, name) for _, chunk in parts]
        return np.ascontiguousarray(np.concatenate(arrays, axis=-1)[..., order])

    return ResultChunk(
        first_ordinal=first_ordinal,
        member_ids=question.parts.snapshot.ids(question.rows),
        cells=codes,
        **{name: together(name) for name in ("rows", "stratum", "sets", "mean", "sd", "gains", "propensity",
                                             "propensity_hits", "expected", "history_sequence")},
    )  # fmt: skip


def padded(chunk: ResultChunk, n_places: int) -> ResultChunk:
    """The chunk with as many places as the widest policy has; the added ones are empty."""
    more = n_places - chunk.sets.shape[0]
    if more == 0:
        return chunk
    n_members = chunk.n_members
    nothing = np.full((more, n_members), np.nan, np.float32)
    wider: dict[str, Any] = {
        name: np.concatenate([getattr(chunk, name), nothing]) for name in ("mean", "sd", "gains")
    }
    return replace(
        chunk,
        sets=np.concatenate([chunk.sets, np.full((more, n_members), -1, np.int16)]),
        **wider,
    )


def split_run(run: RunRecord, frame: pl.DataFrame) -> list[tuple[RunRecord, pl.DataFrame]]:
    """A run of an experiment as runs of one policy each, to be made again; any other run as it is.

    Parameters
    ----------
    run, frame
        The run and one of its segments.
    """
    if not run.cells:
        return [(run, frame)]
    of_cells = [frame.filter(pl.col("cell") == code).drop("cell") for code in range(len(run.cells))]
    return [(one, mine) for one, mine in zip(runs_of(run), of_cells, strict=True) if mine.height]


def runs_of(run: RunRecord) -> list[RunRecord]:
    """A run of an experiment as one run for each cell, in the order of the cells; any other run alone."""
    fields = ("policy", "policy_version", "model_version", "propensity_draws", "theta", "tie_cut")
    of_cells = [
        msgspec.structs.replace(run, cells=[], **{name: getattr(cell, name) for name in fields})
        for cell in run.cells
    ]
    return of_cells or [run]


def _wanted(experiment: Experiment) -> dict[str, str]:
    place = f"experiment[{experiment.name!r}]"
    named = zip(experiment.cell_names[1:], experiment.cell_policies[1:], strict=True)
    wanted = {f"{place}.cell[{cell!r}].policy": policy for cell, policy in named}
    return wanted | ({f"{place}.otherwise": experiment.otherwise} if experiment.otherwise else {})


def _holdout_of(experiment: Experiment) -> str:
    return f"{experiment.name}/holdout"
