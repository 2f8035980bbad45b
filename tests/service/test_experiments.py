"""Experiments in a service: in force from the folder, and refused when they change after their start."""

from __future__ import annotations

from pathlib import Path

import pytest

from decider.clock import ManualClock
from decider.config import load_config
from decider.decision.request import MemberRequest
from decider.errors import InvalidInput
from decider.service.compose import compose
from tests.cli.experiment_files import FEWER
from tests.cli.small_house import make_house

START = 1_767_571_200_000_000
DAY = 86_400_000_000


@pytest.fixture
def config(tmp_path: Path):
    path = make_house(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "fewer.toml").write_text(FEWER)
    return load_config(path)


def rewrite(config, name: str, old: str, new: str) -> None:
    path = Path(config.directory) / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_it_decides_and_is_not_changed_while_it_runs(config) -> None:
    clock = ManualClock(START - DAY)
    with compose(config, clock) as composition:
        engine = composition.engine
        version = engine.parts.experiments["fewer"].version
        # Before the start it may still change.
        rewrite(config, "experiments/fewer.toml", 'salt = "one"', 'salt = "two"')
        engine.reload()
        assert engine.parts.experiments["fewer"].version != version
        version = engine.parts.experiments["fewer"].version
        clock.advance(2 * DAY)
        engine.reload()
        member = engine.parts.snapshot.ids(engine.parts.snapshot.rows_of([1000, 1001]))[0]
        asked = MemberRequest(
            member_id=member, request_id="r", decision_time_micros=START + DAY, policy="fewer"
        )
        made = engine.decide(asked).record
        assert (made.experiment, made.experiment_version) == ("fewer", version)
        rewrite(config, "experiments/fewer.toml", "holdout = 0.1", "holdout = 0.2")
        rule = r"experiment\['fewer'\] must not be changed after its start"
        with pytest.raises(InvalidInput, match=rule):
            engine.reload()
        assert engine.parts.experiments["fewer"].version == version
        rewrite(config, "experiments/fewer.toml", "holdout = 0.2", "holdout = 0.1")
        rewrite(config, "policies.toml", 'kind = "heuristic"', 'kind = "heuristic"\nseed = 5')
        with pytest.raises(InvalidInput, match=rf"{rule}.* got 'another policy in cell today'"):
            engine.reload()
        rewrite(config, "policies.toml", "\nseed = 5", "")
        engine.reload()
    # A restart does not forget.
    rewrite(config, "experiments/fewer.toml", 'salt = "two"', 'salt = "three"')
    with pytest.raises(InvalidInput, match=rule), compose(config, clock):
        pass
