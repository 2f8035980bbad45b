"""What keeps the old model: a gate, or windows that are still open."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from decider.clock import SystemClock
from decider.config import load_config
from decider.errors import InvalidInput
from decider.loop.loop import live
from decider.loop.spec import LoopSpec
from decider.models import Registry
from tests.cli.small_house import run
from tests.loop.house import CATALOG, N_MEMBERS, build_house, crowd
from tests.loop.test_loop import Server


def test_the_old_model_stays_and_the_epoch_says_why(tmp_path: Path) -> None:
    directory = tmp_path / "house"
    spec = build_house(directory)
    config = load_config(directory / "decider.toml")
    registry = Registry(directory / "models")
    before = registry.current(spec.model)
    changed = msgspec.structs.replace
    window = changed(spec.reward, window_seconds=3 * spec.epoch_seconds)
    cases: list[tuple[LoopSpec, int, str]] = [
        (changed(spec, name="open", reward=window), 0, "no window has closed yet"),
        (changed(spec, name="rows", gates=changed(spec.gates, rows=N_MEMBERS + 1)), 1, "rows must be at least 401"),
        (changed(spec, name="wide", gates=changed(spec.gates, largest_sd=1e-9)), 1, "largest_sd must be at most"),
    ]  # fmt: skip
    server = Server(directory)
    try:
        for loop, n_closed, said in cases:
            epoch = next(
                live(loop, config, SystemClock(), 1, lambda c, n, of=loop: crowd(directory, of, c, n))
            )
            assert epoch.n_closed == n_closed
            assert epoch.published == ""
            assert said in epoch.refused
            assert registry.current(spec.model) == before
    finally:
        server.end()
    assert registry.versions(spec.model) == [before]


def test_a_catalog_without_what_was_learned_of_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "house"
    spec = build_house(directory)
    config = load_config(directory / "decider.toml")
    server = Server(directory)
    try:
        epoch = next(live(spec, config, SystemClock(), 1, lambda c, n: crowd(directory, spec, c, n)))
    finally:
        server.end()
    (directory / "catalog.toml").write_text(CATALOG.replace('"season"', '"other"'))
    server = Server(directory)
    try:
        said = r"candidates must hold all that have rows, missing, got \['season@email', 'season@push'\]"
        with pytest.raises(InvalidInput, match=said):
            list(live(spec, config, SystemClock(), 2))
    finally:
        server.end()
    assert Registry(directory / "models").current(spec.model) == epoch.published


def test_the_command_prints_a_line_an_epoch(tmp_path: Path) -> None:
    directory = tmp_path / "house"
    build_house(directory)
    options = ("--loop", directory / "loop.toml", "--config", directory / "decider.toml")
    server = Server(directory)
    try:
        as_data = run("loop", "run", *options, "--epochs", "2", "--json")
        as_text = run("loop", "run", *options, "--epochs", "3")
    finally:
        server.end()
    assert (as_data.code, as_data.err) == (0, "")
    epochs = [json.loads(line) for line in as_data.out.splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1]
    # Nobody came: there is nothing to learn from.
    assert all("reward" in epoch["refused"] for epoch in epochs)
    # The last epoch is told of again: nobody knows that its line was read.
    again, line = as_text.out.splitlines()
    assert again.startswith("epoch 1: decided before; ")
    assert line.startswith("epoch 2: ")
