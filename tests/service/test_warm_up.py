"""Once a service has started, no request waits for a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# In a process of its own: in this one other tests have compiled whatever they needed.
PROGRAM = """
import sys
from pathlib import Path

from numba.core.dispatcher import Dispatcher

from decider.config import load_config
from decider.decision import budgets
from decider.decision.request import Budget, MemberRequest, RunRequest
from decider.decision.result_table import ResultTables
from decider.logbook.schema import EventRecord, EventType
from decider.service.start import open_service
from tests.decision.world import TIME
from tests.service.test_end_to_end import N_MEMBERS, write_world

composition, server = open_service(load_config(write_world(Path(sys.argv[1]))))
engine = composition.engine

def compiled():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("decider_core"):
            for attribute, value in vars(module).items():
                if isinstance(value, Dispatcher):
                    found[f"{value.py_func.__module__}.{attribute}"] = set(value.overloads)
    return found

budgets.FIRST = 500  # of four times as many members, most are looked at between two prices
before = compiled()
assert sum(map(len, before.values())) > 20, "nothing was warmed up, or this looks in the wrong place"
ids = [100 + 7 * place for place in range(N_MEMBERS)]
policies = sorted(engine.parts.policies.policies)
for turn, policy in enumerate(policies):
    for size in (1, 5, 300):
        requests = [
            MemberRequest(
                member_id=ids[(turn * 7 + place) % N_MEMBERS], request_id=f"{policy}-{size}-{place}",
                decision_time_micros=TIME + place, policy=policy, trace=place % 3 == 0,
                context={"plays": 3.0, "watched_1": True} if place % 50 == 4 else {},
                channels=("push",) if place % 10 == 1 else None,
            )
            for place in range(size)
        ]
        decided = [outcome.wait() for outcome in engine.decide_together(requests)]
        assert all(engine.explain(each.record.decision_id).reproduced for each in decided[:20])
    limits = {
        "volume": {"volume": 5_000}, "price": {"price": 0.01}, "own": {},
        "budgets": {"budgets": (Budget(channel="email", messages=4_000), Budget(channel="push", cost=4_000.0))},
    }
    for name, limit in limits.items():
        request = RunRequest(request_id=f"{policy}-{name}", decision_time_micros=TIME, policy=policy, **limit)
        run = engine.start_run(request, whole_snapshot=name == "own")
        if name != "own":
            run.add(ids)
        for chunk in run.finish():
            ResultTables(["a@b"] * 1000, run.run_id).batch(chunk)
out = EventRecord(
    event_id="out", type=EventType.UNSUBSCRIBED, event_time_micros=TIME, member_id=ids[0], candidate="picks@push"
)
engine.record_events([out])
late = {name: signatures - before.get(name, set()) for name, signatures in compiled().items()}
for name, signatures in late.items():
    for signature in signatures:
        print(name, signature)
server.stop(0.0)
composition.close()
"""


def test_no_request_waits_for_a_compiler(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    late = [line for line in done.stdout.splitlines() if line.startswith("decider_core")]
    assert late == [], "compiled, or loaded, inside a request"


def test_a_server_loads_nothing_that_only_learning_or_reports_need() -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    program = "import sys; import decider.cli.serve, decider.service.start; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "decider_core" in loaded
    assert loaded & {"lightgbm", "sklearn", "pandas", "altair", "onnxruntime", "statsmodels"} == set()
