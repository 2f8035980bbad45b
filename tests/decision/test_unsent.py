"""Why members of a run were sent nothing, against the explanation of each."""

from __future__ import annotations

from collections import Counter

import pytest

from decider.decision.request import RunRequest
from decider.errors import NotFound
from tests.decision.world import TIME, World, build_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"), 400)


def naive_reason(engine: object, decision_id: str) -> str:
    explained = engine.explain(decision_id)
    if explained.decision.stratum == "holdout":
        return "holdout"
    if explained.decision.stratum == "explore":
        return "drawn"
    found = {entry.reason for entry in explained.trace}
    if "eligible" in found:
        return "price"
    return found.pop() if len(found) == 1 else "several_rules"


@pytest.mark.parametrize(("policy", "channels"), [("thompson", None), ("single", ("email",))])
def test_reasons_are_those_of_each_member(
    world: World, policy: str, channels: tuple[str, ...] | None
) -> None:
    with world.engine(f"unsent-{policy}") as (engine, _):
        request = RunRequest(
            request_id="run", decision_time_micros=TIME, policy=policy, volume=100, channels=channels
        )
        run = engine.start_run(request, whole_snapshot=True)
        chunks = list(run.finish())
        empty = [
            chunk.first_ordinal + place
            for chunk in chunks
            for place in range(chunk.n_members)
            if (chunk.sets[:, place] < 0).all()
        ]
        found = engine.unsent(run.run_id)
        assert sum(found.values()) == len(empty) == run.summary.n_members - run.summary.n_messaged
        # All strata, and whoever may not be mailed, are among the first ones.
        assert found == Counter(naive_reason(engine, f"{run.run_id}-{ordinal}") for ordinal in empty)
        assert found["price"] > 0
        assert found["drawn"] > 0
        with pytest.raises(NotFound, match="nothing"):
            engine.unsent("nothing")
