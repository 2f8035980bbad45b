"""`decider simulate`: policies side by side in a world whose truth is known."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from decider.cli.options import examples
from decider.cli.output import Machine, emit, facts, progress, say, table
from decider.errors import InvalidInput
from decider.simulation.arrivals import REACHED, arrivals_frame, epochs_to_reach
from decider.simulation.contenders import contenders_named
from decider.simulation.metrics import summary_frame
from decider.simulation.plot import draw, save
from decider.simulation.run import simulate as run_simulation
from decider.simulation.spec import WORLDS
from decider.simulation.world import make_world

EXAMPLES = examples(
    "decider simulate",
    "decider simulate --members 100000 --epochs 30 --seeds 5 --json",
    "decider simulate --world proportional --policy causal --policy correlational",
    "decider simulate --members 20000 --out simulated",
)


_Run = dict[str, pl.DataFrame]


class WorldName(StrEnum):
    """The worlds that are ready."""

    DEFAULT = "default"
    PROPORTIONAL = "proportional"


def simulate(
    members: Annotated[int, typer.Option(help="Members of the world.")] = 20_000,
    epochs: Annotated[int, typer.Option(help="Epochs to live through, such as days.")] = 30,
    world: Annotated[WorldName, typer.Option(help="What the world is like.")] = WorldName.DEFAULT,
    volume: Annotated[float, typer.Option(help="Sends a member and epoch, for all but send_all.")] = 0.5,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this policy, beside the oracle; repeat it.  [default: all]"),
    ] = None,
    since: Annotated[
        int | None, typer.Option(help="First epoch of the summary.  [default: the middle one]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the world and of the policies.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Worlds to live through, with seeds from --seed on.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="DIRECTORY", help="Write Parquet and plots into this directory.")
    ] = None,
    machine: Machine = False,
) -> None:
    """Let policies live side by side with the same members, and count what each caused, by the truth.

    Incremental reward is against never messaging. All policies but send_all have the same volume.
    """
    first = epochs // 2 if since is None else since
    if not 0 <= first < max(epochs, 1):
        raise InvalidInput.of("since", f"must be an epoch, 0 to {epochs - 1}", first)
    contenders = contenders_named(policy or [])
    found: list[_Run] = []
    with progress(machine) as advance:
        for number in range(seeds):
            spec = WORLDS[world.value](members, epochs, seed + number)
            stage = f"world {number + 1} of {seeds}"
            say(f"{stage}: {members:,} members, {epochs} epochs, seed {spec.seed}", machine)
            made = make_world(spec)
            result = run_simulation(made, contenders, volume, partial(advance, stage))
            arrivals = arrivals_frame(result.messages, made.messages, epochs)
            found.append(
                {
                    "epochs": result.epochs,
                    "messages": result.messages,
                    "summary": summary_frame(result.epochs, first),
                    "arrivals": arrivals,
                    "reached": epochs_to_reach(arrivals),
                }
            )
    tables = {name: _with_seeds([run[name] for run in found], seed) for name in found[0]}
    written = _write(tables, out, f"{world.value} world, {members:,} members") if out is not None else []
    means = _over_seeds(tables["summary"])
    payload = {
        "world": world.value,
        "members": members,
        "epochs": epochs,
        "seeds": [seed + number for number in range(seeds)],
        "volume": volume,
        "since": first,
        "policies": means.to_dicts(),
        "per_seed": tables["summary"].to_dicts(),
        "per_epoch": tables["epochs"].to_dicts(),
        "arrivals": tables["reached"].to_dicts(),
        "files": [str(path) for path in written],
    }
    emit(payload, machine, *_drawn(means, tables["reached"], first, written))


def _with_seeds(frames: list[pl.DataFrame], seed: int) -> pl.DataFrame:
    numbered = [
        frame.select(pl.lit(seed + number, pl.Int64).alias("seed"), pl.all())
        for number, frame in enumerate(frames)
    ]
    return pl.concat(numbered)


def _over_seeds(summary: pl.DataFrame) -> pl.DataFrame:
    """One row a policy: means over seeds, and the range of its share of the oracle's incremental reward."""
    share = pl.col("share_of_oracle")
    return summary.group_by("policy", maintain_order=True).agg(
        pl.col("reward_per_1000", "incremental_per_1000", "regret_per_1000", "sends_per_member").mean(),
        pl.col("opt_outs", "complaints", "bounded").mean(),
        share_of_oracle=share.mean(),
        share_lowest=share.min(),
        share_highest=share.max(),
    )


def _write(tables: _Run, out: Path, title: str) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{name}.parquet" for name in tables]
    for frame, path in zip(tables.values(), paths, strict=True):
        frame.write_parquet(path)
    return [*paths, *save(draw(tables["epochs"], title), out)]


def _drawn(means: pl.DataFrame, reached: pl.DataFrame, since: int, written: list[Path]) -> list[Any]:
    rows = [
        (
            each["policy"],
            f"{each['incremental_per_1000']:.2f}",
            f"{each['share_of_oracle']:.1%}",
            f"{each['share_lowest']:.1%} .. {each['share_highest']:.1%}",
            f"{each['regret_per_1000']:.2f}",
            f"{each['reward_per_1000']:.1f}",
            f"{each['sends_per_member']:.3f}",
            f"{each['opt_outs']:,.0f}",
        )
        for each in means.to_dicts()
    ]
    header = (
        "policy", "incremental", "of oracle", "range over seeds", "regret", "reward", "sends a member", "opt-outs",
    )  # fmt: skip
    drawn = [
        table(f"Per 1,000 members and epoch, from epoch {since} on; opt-outs of all epochs", header, rows)
    ]
    if reached.height:
        learners = reached.filter(pl.col("policy").str.starts_with("causal"))
        new = learners.group_by("policy", "message", "appears", maintain_order=True).agg("epochs_to_reach")
        told = [
            (
                each["policy"],
                each["message"],
                each["appears"],
                ", ".join("never" if epochs is None else str(epochs) for epochs in each["epochs_to_reach"]),
            )
            for each in new.to_dicts()
        ]
        title = f"New messages: epochs until {REACHED:.0%} of the oracle's value, by seed"
        drawn.append(table(title, ("policy", "message", "appears at", "epochs"), told))
    if written:
        drawn.append(facts("Written", {path.name: str(path) for path in written}))
    return drawn
